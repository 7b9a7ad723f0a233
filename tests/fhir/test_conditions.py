"""Diagnoses, procedures and devices by concept (clinical reference 2.4)."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from cds_service.fhir.terms import Match, Terms, terms_of

SNOMED = "http://snomed.info/sct"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"


def status(code, system=CLINICAL):
    return {"coding": [{"system": system, "code": code}]}


@pytest.fixture
def condition(read, ehr):
    def call(*args, **elements):
        chart = read(conditions=[ehr.condition(*args, **elements)])
        return chart.conditions[0] if chart.conditions else chart.refused[0].reason

    return call


@pytest.mark.parametrize(
    ("code", "concept"),
    [
        ("C61", "prostate_cancer"), ("C61.9", "prostate_cancer"), ("c61", "prostate_cancer"),
        ("D07.5", "prostate_cancer"),
        ("I26.99", "vte"), ("I8240", "vte"), ("G47.33", "sleep_apnoea"), ("E29.1", "male_hypogonadism"),
        ("Z90.710", "hysterectomy"), ("Z90.711", "hysterectomy"), ("O09.9", "pregnancy"), ("Z34", "pregnancy"),
    ],
)  # fmt: skip
def test_icd_10_matches_by_prefix(condition, code, concept):
    found = condition(code)
    assert found.code == code
    assert concept in found.concepts


@pytest.mark.parametrize("code", ["D07.4", "Z90.712", "Z90.71", "X", "61C", "XC61"])
def test_other_codes_are_silent(condition, code):
    assert condition(code) == "unknown_code"


@pytest.mark.parametrize("code", [None, {"text": "Prostate cancer"}, {"coding": [{"code": "C61"}]}, {"coding": []}])
def test_a_diagnosis_without_a_code_is_told(read, ehr, code):
    (found,) = read(conditions=[{**ehr.condition("C61"), "code": code}]).refused
    assert (found.reason, found.tell, found.covers) == ("no_code", True, {"conditions"})
    refuted = {**ehr.condition("C61", verificationStatus=status("refuted", VERIFICATION)), "code": code}
    assert not read(conditions=[refuted]).refused[0].tell


def test_one_code_may_belong_to_several_concepts(condition):
    assert condition("C61").concepts == {"prostate_cancer", "malignancy"}


def test_icd_10_of_other_countries_counts_and_other_systems_do_not(condition):
    assert condition("C61", system="http://hl7.org/fhir/sid/icd-10").concepts
    assert condition("C61", system="http://hl7.org/fhir/sid/icd-9-cm") == "unknown_code"
    assert condition("C61", system=SNOMED) == "unknown_code"


def test_snomed_codes_match_exactly(condition):
    assert "prostate_cancer" in condition("399068003", system=SNOMED).concepts
    assert condition("39906800", system=SNOMED) == "unknown_code"
    assert condition("248911005", system=SNOMED) == "unknown_code"  # cervix absent, the uterus is there


def test_all_codings_of_one_condition_count(condition):
    codings = [{"system": SNOMED, "code": "1"}, {"system": SNOMED, "code": "22298006"}]
    codings.append({"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "I50.9", "display": "Heart failure"})
    found = condition(code={"coding": codings})
    assert {"mi", "heart_failure"} <= found.concepts
    assert found.code == "22298006"


def test_a_prefix_may_leave_out_a_part_of_its_codes(knowledge):
    """The uterus is absent by Z90.71, but not by Z90.712."""
    base = knowledge.concepts["hysterectomy"]
    concept = msgspec.structs.replace(base, icd10=("Z9071",), not_icd10=("Z90712",))
    terms = Terms(msgspec.structs.replace(knowledge, concepts={"hysterectomy": concept}))
    icd10 = "http://hl7.org/fhir/sid/icd-10-cm"
    assert terms.diagnosis(icd10, "Z90.710") == Match(frozenset({"hysterectomy"}), past=False)
    assert terms.diagnosis(icd10, "Z90.712") is None


@pytest.mark.parametrize(
    ("clinical", "active"),
    [
        (None, True), (status("active"), True), (status("recurrence"), True), (status("relapse"), True),
        (status("inactive"), False), (status("remission"), False), (status("resolved"), False),
        ("resolved", False), ("active", True), ({"text": "Resolved"}, False), ({}, True), (status("unknown"), True),
        ([status("resolved")], False),
    ],
)  # fmt: skip
def test_the_clinical_status(condition, clinical, active):
    assert condition(clinicalStatus=clinical).active is active


@pytest.mark.parametrize(("code", "active"), [("Z85.46", False), ("C61", True), ("I25.2", False), ("I21.4", True)])
def test_a_rubric_that_is_past_is_not_active(condition, code, active):
    found = condition(code, clinicalStatus=status("active"))
    assert (found.active, found.past) == (active, not active)


@pytest.mark.parametrize(
    ("ended", "clinical", "active"),
    [
        ("2026-11-21", None, False), ("2026-11-22", None, False), ("2026-11-23", None, True),
        ("2026-11-21", status("active"), True), ("?", None, True),
    ],
)  # fmt: skip
def test_an_end_counts_where_the_status_is_missing(condition, ended, clinical, active):
    assert condition(abatementDateTime=ended, clinicalStatus=clinical).active is active


@pytest.mark.parametrize(
    ("end", "active", "unknown"),
    [
        ({"abatementPeriod": {"start": "2026-10-01", "end": "2026-11-22"}}, False, False),
        ({"abatementPeriod": {"start": "2026-10-01", "end": "2026-11-23"}}, True, True),
        ({"abatementPeriod": {"start": "2026-10-01"}}, True, True),
        ({"abatementPeriod": {"start": "2026-11-23", "end": "2026-12-01"}}, True, False),
        ({"abatementPeriod": {"end": "2026-10-01"}}, True, True),
        ({"abatementPeriod": 2020}, True, True),
        ({"abatementDateTime": "2026"}, True, True),
        ({"abatementDateTime": "2025"}, False, False),
        ({"abatementDateTime": 2025}, True, True),
        ({"abatementDateTime": None}, True, False),
        ({"abatementAge": {"value": 50, "unit": "a"}}, True, True),
        ({"abatementRange": {"low": {"value": 50, "unit": "a"}}}, True, True),
        ({"abatementString": "after the birth"}, True, True),
        ({"abatementBoolean": True}, False, False),
        ({"abatementBoolean": False}, True, False),
        ({"abatementBoolean": "yes"}, True, True),
    ],
)
def test_an_end_that_cannot_be_placed_leaves_open_whether_it_is_over(condition, end, active, unknown):
    found = condition("O09.9", **end)
    assert (found.active, found.end_unknown) == (active, unknown)
    for clinical, status_says in (("active", True), ("resolved", False)):
        stated = condition("O09.9", clinicalStatus=status(clinical), **end)
        assert (stated.active, stated.end_unknown) == (status_says, False)


def test_a_rubric_that_is_past_needs_no_end(condition):
    found = condition("Z85.46", abatementString="long ago")
    assert (found.active, found.end_unknown) == (False, False)


def test_the_period_in_which_it_ended(condition):
    ended = condition(abatementPeriod={"start": "2016-03-01", "end": "2016-05-31"}).abated
    assert (ended.day, ended.last_day) == (date(2016, 3, 1), date(2016, 5, 31))


def test_the_day_on_which_it_ended(condition):
    ended = condition(abatementDateTime="2016-03-01").abated
    assert ended is not None
    assert ended.day == date(2016, 3, 1)
    assert condition().abated is None


@pytest.mark.parametrize(
    ("verification", "expected"),
    [
        (None, False), (status("confirmed", VERIFICATION), False), (status("provisional", VERIFICATION), True),
        (status("differential", VERIFICATION), True), (status("unconfirmed", VERIFICATION), True),
        (status("refuted", VERIFICATION), "ruled_out"), (status("entered-in-error", VERIFICATION), "ruled_out"),
        ("refuted", "ruled_out"), ("provisional", True),
    ],
)  # fmt: skip
def test_the_verification_status(condition, verification, expected):
    found = condition(verificationStatus=verification)
    assert (found if isinstance(found, str) else found.uncertain) == expected


@pytest.mark.parametrize(
    ("elements", "onset"),
    [
        ({"onsetDateTime": "2026-06"}, (date(2026, 6, 1), date(2026, 6, 30))),
        ({"onsetDateTime": "2026"}, (date(2026, 1, 1), date(2026, 12, 31))),
        # Some day of a period (FHIR R4, Condition.onset[x]); without an end it had begun when it was recorded.
        ({"onsetPeriod": {"start": "2026-06-02", "end": "2026-07-01"}}, (date(2026, 6, 2), date(2026, 7, 1))),
        ({"onsetPeriod": {"start": "2026-06-02"}}, (date(2026, 6, 2), date(2026, 7, 3))),
        ({"onsetPeriod": {"start": "2026-06", "end": "2026-06"}}, (date(2026, 6, 1), date(2026, 6, 30))),
        ({"onsetPeriod": {"end": "2026-07-01"}}, None),
        ({"onsetAge": {"value": 50}}, None),
        ({"onsetString": "in spring"}, None),
        ({"onsetDateTime": "in spring"}, None),
    ],
)
def test_the_onset(condition, elements, onset):
    found = condition(recordedDate="2026-07-03", **elements)
    assert (found.onset and (found.onset.day, found.onset.last_day)) == onset
    assert found.recorded.day == date(2026, 7, 3)


def test_the_name_is_that_of_the_chart(condition):
    coding = {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "C61", "display": "Malignant neoplasm"}
    assert condition(code={"coding": [coding], "text": "Prostate <b>cancer</b>"}).name == "Prostate <b>cancer</b>"
    assert condition(code={"coding": [coding]}).name == "Malignant neoplasm"
    assert condition("C61").name == "C61"


def test_a_condition_of_somebody_else_is_told(read, ehr):
    chart = read(conditions=[ehr.condition(subject={"reference": "Patient/q"})])
    assert not chart.conditions
    assert [(r.reason, r.tell, set(r.covers)) for r in chart.refused] == [("other_patient", True, {"conditions"})]


@pytest.mark.parametrize("elements", [{"code": 5}, {"clinicalStatus": 5}, {"subject": "p"}])
def test_an_unreadable_condition_is_told(read, ehr, elements):
    (found,) = read(conditions=[ehr.condition(**elements)]).refused
    assert (found.reason, found.tell, found.covers) == ("unreadable", True, {"conditions"})


# -- procedures and devices --------------------------------------------------------------------------


def procedure(code="236886002", **elements):
    base = {"resourceType": "Procedure", "id": "x", "status": "completed", "subject": {"reference": "Patient/p"}}
    if isinstance(code, str):
        code = {"coding": [{"system": SNOMED, "code": code}], "text": "Hysterectomy"}
    return {**base, "code": code, **elements}


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        ("completed", True), ("in-progress", True), ("not-done", False), ("entered-in-error", False),
        ("preparation", False), ("stopped", False), ("unknown", False), (None, False),
    ],
)  # fmt: skip
def test_procedures_that_were_done(read, state, counts):
    chart = read(procedures=[procedure(status=state)])
    assert [p.concepts for p in chart.procedures] == ([{"hysterectomy"}] if counts else [])
    assert [(r.reason, r.tell) for r in chart.refused] == ([] if counts else [("not_done", False)])


@pytest.mark.parametrize(
    "elements",
    [
        {"performedDateTime": "2020-03-04"}, {"performedPeriod": {"start": "2020-03-04"}},
        {"performedPeriod": {"end": "2020-03-04"}}, {"occurrenceDateTime": "2020-03-04"},
    ],
)  # fmt: skip
def test_when_it_was_done(read, elements):
    (found,) = read(procedures=[procedure(**elements)]).procedures
    assert (found.when.day, found.name, found.source) == (date(2020, 3, 4), "Hysterectomy", "Procedure/x")


@pytest.mark.parametrize(
    "code",
    [
        {"coding": [{"system": SNOMED, "code": "80146002"}], "text": "Appendectomy"},
        {"text": "Colonoscopy"},
        {"text": "Hysteroscopy"},
        {"text": "Removal of copper IUD"},
    ],
)
def test_other_procedures_are_silent(read, code):
    assert [(r.reason, r.tell) for r in read(procedures=[procedure(code=code)]).refused] == [
        ("unknown_code", False)
    ]


CPT = "http://www.ama-assn.org/go/cpt"


@pytest.mark.parametrize(
    "code",
    [
        {"text": "Hysterectomy"},
        {"coding": [{"system": SNOMED, "code": "116140006", "display": "Total HYSTERECTOMY"}]},
        {"coding": [{"system": CPT, "code": "58571"}], "text": "Laparoscopic hysterectomy, total"},
    ],
)
def test_what_is_named_without_a_known_code_is_told(read, ehr, code):
    (done,) = read(procedures=[procedure(code=code)]).refused
    assert (done.reason, done.tell, done.covers) == ("named_only", True, {"hysterectomy"})
    (other,) = read(procedures=[procedure(code=code, status="not-done")]).refused
    assert not other.tell
    if "coding" in code:
        (known,) = read(conditions=[ehr.condition(code=code)]).refused
        assert (known.reason, known.tell, known.covers) == ("named_only", True, {"hysterectomy"})


@pytest.mark.parametrize(
    "words",
    ["Insertion of Mirena IUD", "LILETTA", "levonorgestrel (IUD)", "Levonorgestrel 52 mg intrauterine device"],
)
def test_an_intrauterine_device_counts_by_its_name(read, words):
    (found,) = read(procedures=[procedure(code={"text": words})]).procedures
    assert (found.concepts, found.name) == ({"progestogen_iud"}, words)
    device = {
        "resourceType": "Device",
        "id": "d",
        "status": "active",
        "type": {"text": words},
        "patient": {"reference": "Patient/p"},
    }
    assert [p.concepts for p in read(procedures=[device]).procedures] == [{"progestogen_iud"}]


@pytest.mark.parametrize("words", ["Insertion of copper IUD", "Mirena declined", "levonorgestrel 1.5 mg tablet"])
def test_another_device_is_none(read, words):
    assert not read(procedures=[procedure(code={"text": words})]).procedures


@pytest.mark.parametrize("first", ["procedures", "conditions"])
def test_what_a_display_names_is_remembered_apart_for_words_that_count(read, ehr, knowledge, first):
    terms_of(knowledge).words.clear()
    code = {"coding": [{"system": CPT, "code": "58300", "display": "Insertion of Mirena"}]}
    read(**{first: [procedure(code=code) if first == "procedures" else ehr.condition(code=code)]})
    for _ in range(2):
        chart = read(procedures=[procedure(code=code)], conditions=[ehr.condition(code=code)])
        assert [p.concepts for p in chart.procedures] == [{"progestogen_iud"}]
        assert [(r.source, r.reason) for r in chart.refused] == [("Condition/c", "unknown_code")]


def test_what_people_write_themselves_is_not_remembered(read, knowledge):
    words = terms_of(knowledge).words
    words.clear()
    code = {
        "coding": [{"system": CPT, "code": "58571", "display": "Hysterectomy"}],
        "text": "hysterectomy, as she asked",
    }
    read(procedures=[procedure(code=code)])
    assert {text for text, _ in words} == {"Hysterectomy"}


def iud(words, on, id_):
    return procedure(code={"text": words}, performedDateTime=on, id=id_)


@pytest.mark.parametrize(
    ("put", "taken", "in_place"),
    [
        ("2020-03-04", "2024-03-03", False),
        ("2020-03-04", "2020-03-04", False),
        ("2020-03-04", "2020-03-03", True),  # a new one after the old
        ("2020-03-04", None, False),
        (None, "2024-03-03", False),
    ],
)
def test_a_device_that_was_taken_out_may_be_gone(read, put, taken, in_place):
    chart = read(procedures=[iud("Mirena insertion", put, "in"), iud("Removal of Mirena", taken, "out")])
    assert bool(chart.procedures) is in_place
    told = [(r.source, r.reason, r.covers) for r in chart.refused if r.tell]
    assert told == ([] if in_place else [("Procedure/in", "taken_out", {"progestogen_iud"})])


@pytest.mark.parametrize(("state", "counts"), [("active", 1), (None, 1), ("inactive", 0), ("entered-in-error", 0)])
def test_devices(read, state, counts):
    kind = {"coding": [{"system": SNOMED, "code": "236886002"}]}
    device = {
        "resourceType": "Device",
        "id": "d",
        "status": state,
        "type": kind,
        "patient": {"reference": "Patient/p"},
    }
    assert len(read(procedures=[device]).procedures) == counts
