"""Patient: birth date, death, and the sex by which rules go (clinical reference 2.3, 0.4.22)."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

PARAMETER = "http://hl7.org/fhir/StructureDefinition/patient-sexParameterForClinicalUse"
BIRTH_SEX = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex"
IDENTITY = "http://hl7.org/fhir/StructureDefinition/patient-genderIdentity"
SPCU = "http://terminology.hl7.org/CodeSystem/sex-parameter-for-clinical-use"
SNOMED = "http://snomed.info/sct"


def concept(system, code):
    return {"coding": [{"system": system, "code": code}]}


def parameter(code, **period):
    parts = [{"url": "value", "valueCodeableConcept": concept(SPCU, code)}]
    if period:
        parts.append({"url": "period", "valuePeriod": period})
    return {"url": PARAMETER, "extension": parts}


def birth_sex(code):
    return {"url": BIRTH_SEX, "valueCode": code}


def identity(code, system=SNOMED, url=IDENTITY):
    return {"url": url, "valueCodeableConcept": concept(system, code)}


@pytest.fixture
def patient(read, ehr):
    return lambda *extensions, **elements: read(patient=ehr.patient(extension=list(extensions), **elements)).patient


def test_who_it_is(patient):
    found = patient(name=[{"family": "Brandt"}])
    assert (found.id, found.sex, found.sex_source, found.recorded_gender) == (
        "p",
        "male",
        "recorded gender",
        "male",
    )
    assert (found.birth.day, found.deceased) == (date(1970, 5, 1), False)
    assert "Brandt" not in repr(found)


@pytest.mark.parametrize(
    ("birth_date", "day", "last_day"),
    [
        ("1970", date(1970, 1, 1), date(1970, 12, 31)),
        ("1970-05", date(1970, 5, 1), date(1970, 5, 31)),
        ("1970-05-01", date(1970, 5, 1), date(1970, 5, 1)),
    ],
)
def test_a_partial_birth_date_is_a_span(patient, birth_date, day, last_day):
    birth = patient(birthDate=birth_date).birth
    assert (birth.day, birth.last_day) == (day, last_day)


@pytest.mark.parametrize("birth_date", [None, "", "Invalid date", "01.05.1970"])
def test_no_birth_date_is_none(patient, birth_date):
    assert patient(birthDate=birth_date).birth is None


@pytest.mark.parametrize(
    ("elements", "deceased"),
    [
        ({"deceasedBoolean": True}, True),
        ({"deceasedBoolean": False}, False),
        ({"deceasedDateTime": "2026-01-01"}, True),
        ({"deceasedDateTime": "unknown"}, True),
        ({"deceasedDateTime": ""}, False),
    ],
)
def test_death(patient, elements, deceased):
    assert patient(**elements).deceased is deceased


@pytest.mark.parametrize(
    ("extensions", "gender", "sex", "source"),
    [
        ([parameter("female-typical"), birth_sex("M")], "male", "female", "sex parameter for clinical use"),
        ([parameter("male-typical")], "female", "male", "sex parameter for clinical use"),
        # a parameter that is neither leaves the sex unknown: it says that the usual values do not fit
        ([parameter("specified"), birth_sex("M")], "male", None, "sex parameter for clinical use"),
        ([parameter("unknown")], "male", None, "sex parameter for clinical use"),
        ([parameter("male-typical"), parameter("female-typical")], "male", None, "sex parameter for clinical use"),
        ([parameter("female-typical", end="2026-11-21")], "male", "male", "recorded gender"),
        ([parameter("female-typical", end="2026-11-22")], "male", "female", "sex parameter for clinical use"),
        ([parameter("female-typical", start="2026-11-23")], "male", "male", "recorded gender"),
        ([parameter("female-typical", start="2026-11-22")], "male", "female", "sex parameter for clinical use"),
        ([birth_sex("F")], "male", "female", "birth sex"),
        ([birth_sex("M")], "female", "male", "birth sex"),
        ([birth_sex("UNK")], "female", "female", "recorded gender"),
        ([birth_sex("OTH")], "other", None, ""),
        ([], "female", "female", "recorded gender"),
        ([], "other", None, ""),
        ([], "unknown", None, ""),
        ([], None, None, ""),
        ([], "Male", None, ""),
    ],
)
def test_the_sex_rule(patient, extensions, gender, sex, source):
    found = patient(*extensions, gender=gender)
    assert (found.sex, found.sex_source, found.recorded_gender) == (sex, source, gender or "")


@pytest.mark.parametrize(
    ("extension", "direction"),
    [
        (identity("446151000124109"), "male"),
        (identity("446141000124107"), "female"),
        (
            identity(
                "446141000124107", url="http://hl7.org/fhir/us/core/StructureDefinition/us-core-genderIdentity"
            ),
            "female",
        ),
        (identity("female", "http://hl7.org/fhir/gender-identity"), "female"),
        (identity("transgender-male", "http://hl7.org/fhir/gender-identity"), "male"),
        (identity("33791000087105"), None),
        (identity("446141000124107", "urn:local"), None),
        ({"url": IDENTITY, "valueCodeableConcept": {"text": "female"}}, None),
        (
            {
                "url": "http://hl7.org/fhir/StructureDefinition/individual-genderIdentity",
                "extension": [{"url": "value", "valueCodeableConcept": concept(SNOMED, "446141000124107")}],
            },
            "female",
        ),
    ],
)
def test_a_gender_identity_points_in_a_direction(patient, extension, direction):
    found = patient(extension)
    assert found.gender_identity == direction
    assert found.sex == "male"


def test_a_parameter_of_another_system_is_not_understood(patient):
    value = {"url": "value", "valueCodeableConcept": concept("urn:local", "female-typical")}
    assert patient({"url": PARAMETER, "extension": [value]}).sex is None


def test_two_identities_point_nowhere(patient):
    assert patient(identity("446151000124109"), identity("446141000124107")).gender_identity is None


def test_other_extensions_do_no_harm(patient):
    race = {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race", "extension": [{"url": "text"}]}
    assert patient(race, {}, {"url": "x", "valueInteger": 5}).sex == "male"


# -- another patient, or none ------------------------------------------------------------------------


def test_another_patient_is_not_used(read, ehr):
    chart = read(patient=ehr.patient(id="q", gender="female"))
    assert (chart.patient.id, chart.patient.sex, chart.patient.birth) == ("p", None, None)
    assert [(g.key, g.kind, set(g.covers)) for g in chart.gaps] == [("patient", "other_patient", {"patient"})]
    assert [(r.source, r.reason, r.tell) for r in chart.refused] == [("Patient/q", "other_patient", True)]


def test_the_codes_of_gender_identities_are_those_of_the_knowledge(read, ehr, knowledge):
    codes = {(SNOMED, "446151000124109"): "female"}  # turned round, so that no other list can be at work
    site = msgspec.structs.replace(knowledge, gender_identities=codes)
    his, hers = (ehr.patient(extension=[identity(code)]) for code in ("446151000124109", "446141000124107"))
    assert read(patient=his, site=site).patient.gender_identity == "female"
    assert read(patient=hers, site=site).patient.gender_identity is None


def test_the_right_one_of_two_patients_is_used(read, ehr):
    chart = read(patient=[ehr.patient(id="q"), ehr.patient(gender="female")])
    assert chart.patient.sex == "female"
    assert not chart.gaps
    assert [r.reason for r in chart.refused] == ["other_patient"]


def test_a_search_for_the_patient_is_read(read, ehr):
    assert read(patient=[ehr.patient(gender="female")]).patient.sex == "female"


def test_a_search_that_found_no_patient_is_a_gap(read):
    assert [(g.kind, set(g.covers)) for g in read(patient=[]).gaps] == [("null", {"patient"})]


def test_an_unreadable_patient_is_a_gap(read, ehr):
    chart = read(patient=ehr.patient(birthDate=1970))
    assert [(g.kind, set(g.covers)) for g in chart.gaps] == [("unreadable", {"patient"})]
    assert chart.patient.sex is None


def test_a_patient_without_id_is_the_one_that_was_asked_for(read, ehr):
    assert read(patient=ehr.patient(id=None)).patient.sex == "male"


def test_the_id_of_context_may_be_a_reference(read, ehr):
    chart = read(patient_id="Patient/p", labs=[ehr.observation()])
    assert (chart.patient.id, chart.patient.sex, len(chart.measurements)) == ("p", "male", 1)
