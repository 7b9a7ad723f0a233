"""Which drug it is: the order of attempts, and what a form is known by (clinical reference 2.2, 0.4.13)."""

from __future__ import annotations

import pytest

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ATC = "http://www.whocc.no/atc"
NDC = "http://hl7.org/fhir/sid/ndc"
SNOMED = "http://snomed.info/sct"


def concept(*codings, text=None):
    coding = [{"system": system, "code": code} for system, code in codings]
    return {"coding": coding, **({"text": text} if text else {})}


@pytest.fixture
def therapy(read, ehr):
    """The only course of one prescription, or the reason why there is none."""

    def call(drug=None, also=(), **elements):
        chart = read(medications=[ehr.request(medicationCodeableConcept=drug, **elements), *also])
        if chart.therapies:
            (found,) = chart.therapies
            return found
        return chart.refused[0].reason

    return call


# -- codes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "key", "agent", "form", "how"),
    [
        ("835829", "TESTOSTERONE", "testosterone cypionate", "injection", "RxNorm product 835829"),
        ("835831", "TESTOSTERONE", "testosterone cypionate", "injection", "RxNorm product 835831"),
        ("313233", "TESTOSTERONE", "testosterone", "patch", "RxNorm product 313233"),
        ("2609597", "TESTOSTERONE", "testosterone undecanoate", "oral", "RxNorm product 2609597"),
        ("10379", "TESTOSTERONE", "testosterone", "unknown", "RxNorm ingredient 10379"),
        ("848328", "ESTRADIOL", "estradiol", "vaginal", "RxNorm product 848328"),
        ("199224", "AROMATASE_INHIBITOR", "anastrozole", "oral", "RxNorm product 199224"),
    ],
)
def test_rxnorm(therapy, code, key, agent, form, how):
    found = therapy(concept((RXNORM, code)))
    assert (found.key, found.agent, found.form, found.recognised, found.from_text) == (key, agent, form, how, False)


def test_the_code_goes_before_the_words(therapy):
    assert therapy(concept((RXNORM, "835829"), text="Estradiol patch")).key == "TESTOSTERONE"


def test_rxnorm_goes_before_atc(therapy):
    assert therapy(concept((ATC, "L02BG03"), (RXNORM, "835829"))).key == "TESTOSTERONE"


def test_a_product_tells_more_than_its_ingredient(therapy):
    found = therapy(concept((RXNORM, "10379"), (RXNORM, "835829")))
    assert (found.form, found.recognised) == ("injection", "RxNorm product 835829")


def test_a_product_with_two_keys_is_two_therapies(read, ehr):
    chart = read(medications=[ehr.request(rxnorm="238006")])  # esterified estrogens and methyltestosterone
    assert {found.key for found in chart.therapies} == {"ANDROGEN_OTHER", "CEE"}


@pytest.mark.parametrize("code", ["4124", "994203", "2371763", "2556806"])
def test_a_product_that_starts_nothing_ends_the_search(therapy, code):
    # Its name would match norethindrone or estradiol.
    assert therapy(concept((RXNORM, code), text="Estradiol / norethindrone")) == "not_monitored"


def test_a_product_that_starts_nothing_wins_over_its_ingredients(therapy):
    assert therapy(concept((RXNORM, "7514"), (RXNORM, "4124"))) == "not_monitored"


@pytest.mark.parametrize("code", ["314076", "0", "835829x", ""])
def test_other_codes_are_unknown_and_silent(read, ehr, code):
    drug = concept((RXNORM, code), text="Lisinopril 10 MG Oral Tablet")
    (found,) = read(medications=[ehr.request(medicationCodeableConcept=drug)]).refused
    assert (found.reason, found.tell) == ("unknown_drug", False)


def test_a_code_that_is_not_in_the_map_leaves_the_next_steps(therapy):
    assert therapy(concept((RXNORM, "1"), (ATC, "G03BA03"))).recognised == "ATC G03BA03"
    assert therapy(concept((RXNORM, "1"), text="Androgel 1.62 %")).recognised == 'free text "androgel"'


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("G03BA03", "TESTOSTERONE"), ("G03CA03", "ESTRADIOL"), ("G03FA01", "E_P_COMBO"),
        ("L02BG03", "AROMATASE_INHIBITOR"), ("H01CC54", "not_monitored"), ("G03AB08", "not_monitored"),
        ("G03", "unknown_drug"), ("C09AA03", "unknown_drug"),
    ],
)  # fmt: skip
def test_atc_matches_by_prefix(therapy, code, expected):
    found = therapy(concept((ATC, code)))
    assert (found if isinstance(found, str) else found.key) == expected
    assert isinstance(found, str) or found.recognised == f"ATC {code}"


@pytest.mark.parametrize("system", [NDC, SNOMED, None])
def test_codes_of_other_systems_are_passed_over(therapy, system):
    assert therapy(concept((system, "835829"))) == "unknown_drug"
    assert therapy(concept((system, "835829"), text="Testosterone")).recognised == 'free text "testosterone"'


# -- words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "word"),
    [
        ("Testosterone cyp 200 mg/mL", "TESTOSTERONE", "testosterone"),
        ("DEPO-TESTOSTERONE", "TESTOSTERONE", "testosterone"),
        ("(Xyosted)", "TESTOSTERONE", "xyosted"),
        ("estradiol,patch", "ESTRADIOL", "estradiol"),
        ("Armour-Thyroid 60mg", "THYROID_DESICCATED", "armour thyroid"),
        ("thyroid (USP) 60 mg", "THYROID_DESICCATED", "thyroid (usp)"),
        ("L-T4 50", "LEVOTHYROXINE", "l-t4"),
        ("MK 677", "GH_SECRETAGOGUE", "mk 677"),
        ("spironolactone", "ANTIANDROGEN_MRA", "spironolactone"),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER T}estosterone", "TESTOSTERONE", "testosterone"),
    ],
)
def test_words(therapy, text, key, word):
    found = therapy({"text": text})
    assert (found.key, found.from_text) == (key, True)
    assert found.recognised.startswith('free text "')
    assert word in found.recognised


@pytest.mark.parametrize(
    "text",
    [
        "methyltestosteronex", "testosterone level", "Testosterone lab", "ethinyl estradiol",
        "ethinylestradiol 20 mcg", "hydroxyprogesterone", "hCG test", "DHEA-S",
        "antitestosterones", "lisinopril", "x" * 100_000,
    ],
)  # fmt: skip
def test_words_that_name_no_drug(therapy, text):
    assert therapy({"text": text}) == "unknown_drug"


def test_displays_are_words_too(therapy):
    assert (
        therapy({"coding": [{"system": NDC, "code": "1", "display": "Arimidex 1 MG"}]}).key == "AROMATASE_INHIBITOR"
    )


def test_two_names_in_one_text_are_two_therapies(read, ehr):
    chart = read(medications=[ehr.request(medicationCodeableConcept={"text": "estradiol / progesterone"})])
    assert {found.key for found in chart.therapies} == {"ESTRADIOL", "PROGESTOGEN"}


# -- references --------------------------------------------------------------------------------------


def medication(id_="x", code="835829", **elements):
    return {"resourceType": "Medication", "id": id_, "code": concept((RXNORM, code)), **elements}


@pytest.mark.parametrize(
    "reference", ["Medication/x", "http://ehr.example/fhir/Medication/x", "Medication/x/_history/2"]
)
def test_a_bundled_medication(therapy, reference):
    found = therapy(None, also=[medication()], medicationReference={"reference": reference})
    assert found.recognised == "RxNorm product 835829"


def test_an_included_medication_of_another_key(read, ehr):
    included = {"fullUrl": "urn:uuid:9", "resource": medication(None), "search": {"mode": "include"}}
    request = ehr.request(medicationCodeableConcept=None, medicationReference={"reference": "urn:uuid:9"})
    chart = read(medications=[request], labs={"resourceType": "Bundle", "entry": [included]})
    assert [found.key for found in chart.therapies] == ["TESTOSTERONE"]
    assert not chart.refused
    assert chart.resources_used == 3


def test_a_contained_medication(therapy):
    found = therapy(
        None, contained=[medication("y", "197659"), medication()], medicationReference={"reference": "#x"}
    )
    assert found.key == "TESTOSTERONE"


@pytest.mark.parametrize("broken", [5, {"resourceType": "?"}, {"resourceType": "Medication", "id": 7, "code": []}])
def test_a_contained_resource_that_cannot_be_read_does_not_hide_the_right_one(therapy, broken):
    found = therapy(None, contained=[broken, medication()], medicationReference={"reference": "#x"})
    assert found.key == "TESTOSTERONE"


def test_ingredients_speak_where_the_code_does_not(therapy):
    parts = [{"itemCodeableConcept": concept((RXNORM, "10379"))}, {"itemCodeableConcept": concept((RXNORM, "1"))}]
    whole = medication(code="1", ingredient=parts)
    found = therapy(None, also=[whole], medicationReference={"reference": "Medication/x"})
    assert found.recognised == "RxNorm ingredient 10379"


def test_the_text_of_a_medication(therapy):
    whole = {**medication(), "code": {"text": "Testopel 75 mg pellet"}}
    found = therapy(None, also=[whole], medicationReference={"reference": "Medication/x"})
    assert (found.key, found.form, found.from_text) == ("TESTOSTERONE", "implant", True)


def test_the_display_of_a_reference_is_words(therapy):
    reference = {"reference": "Medication/gone", "display": "testosterone gel"}
    assert therapy(None, medicationReference=reference).recognised == 'free text "testosterone"'


@pytest.mark.parametrize(
    ("reference", "reason", "tell"),
    [
        ({"reference": "Medication/gone"}, "medication_missing", True),
        ({"reference": "#gone"}, "medication_missing", True),
        ({"reference": "Medication/gone", "display": "Lisinopril"}, "unknown_drug", False),
        ({}, "no_drug", True),
        ({"display": "Lisinopril"}, "unknown_drug", False),
    ],
)
def test_a_medication_that_did_not_come(read, ehr, reference, reason, tell):
    (found,) = read(
        medications=[ehr.request(medicationCodeableConcept=None, medicationReference=reference)]
    ).refused
    assert (found.reason, found.tell) == (reason, tell)
    assert found.covers == ({"medications"} if tell else frozenset())


def test_a_medication_that_nobody_refers_to_is_refused(read, ehr):
    chart = read(medications=[ehr.request(), medication()])
    assert [(r.source, r.reason, r.tell) for r in chart.refused] == [("Medication/x", "not_referenced", False)]


def test_a_codeable_reference_of_r5(therapy):
    assert therapy(None, medication={"concept": concept((RXNORM, "835829"))}).key == "TESTOSTERONE"
    found = therapy(None, also=[medication()], medication={"reference": {"reference": "Medication/x"}})
    assert found.key == "TESTOSTERONE"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("levonorgestrel 52 mg intrauterine device", "PROGESTOGEN"),
        ("Levonorgestrel-releasing intrauterine system (52 mg)", "PROGESTOGEN"),
        ("levonorgestrel 1.5 mg tablet", None),
    ],
)
def test_an_intrauterine_device_as_a_drug(read, ehr, name, key):
    found = read(medications=[ehr.request(medicationCodeableConcept={"text": name})]).therapies
    assert [each.key for each in found] == ([key] if key else [])


def test_nebido_is_the_long_acting_injection(therapy):
    assert therapy({"text": "Nebido 1000 mg/4 mL"}).agent == "testosterone undecanoate"


# -- form --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drug", "route", "form"),
    [
        (concept((RXNORM, "835829")), {"text": "oral"}, "injection"),  # the product says it
        (concept((RXNORM, "10379")), {"text": "intramuscular"}, "injection"),
        (concept((RXNORM, "10379")), {"coding": [{"code": "6064005", "display": "Topical route"}]}, "topical"),
        (concept((RXNORM, "10379"), text="testosterone 1 % gel"), None, "topical"),
        (concept((RXNORM, "4083"), text="estradiol 10 mcg tablet"), {"text": "vaginal"}, "vaginal"),
        (concept((RXNORM, "4083"), text="estradiol patch"), {"text": "transdermal"}, "patch"),
        (concept((RXNORM, "4083"), text="estradiol gel"), {"text": "transdermal"}, "topical"),
        (concept((RXNORM, "10379")), None, "unknown"),
        ({"text": "Vivelle 0.1"}, None, "patch"),
        ({"text": "Nebido 1000 mg/4 mL"}, None, "injection"),
        ({"text": "estradiol 1 mg tab"}, None, "oral"),
        ({"text": "Estradiol 2 MG Caps"}, None, "oral"),
        ({"text": "estradiol tablature"}, None, "unknown"),
        ({"text": "estradiol 0.01 % VA crea"}, None, "vaginal"),
        ({"text": "estradiol 10 mcg VA tabs"}, None, "vaginal"),
        ({"text": "estradiol 1 mg tablet, VA formulary"}, None, "oral"),
        ({"text": "estradiol valerate 20 mg/mL inj"}, None, "injection"),
        ({"text": "estradiol valerate 20 mg/mL vial"}, None, "injection"),
        ({"text": "estradiol"}, {"text": "VA"}, "vaginal"),
        ({"text": "Testogel 16.2 mg/g"}, None, "topical"),
        ({"text": "Tostran 2 %"}, None, "topical"),
    ],
)  # fmt: skip
def test_the_form(therapy, drug, route, form):
    assert therapy(drug, dosageInstruction=[{"route": route}] if route else None).form == form


@pytest.mark.parametrize(
    ("name", "sentence", "form"),
    [
        ("estradiol 1 mg", "Take 1 tablet by mouth daily", "oral"),
        ("estradiol 1 mg", "1 PO qd", "oral"),
        ("estradiol 1 mg", "Take daily", "unknown"),
        ("estradiol 1 mg", "Take daily; call for vaginal bleeding", "unknown"),  # it says not where it is put
        ("estradiol 1 mg", "1 tablet by mouth or vaginally", "unknown"),
        ("estradiol 10 mcg tab", "Insert 1 tab vaginally twice a week", "vaginal"),
        ("estradiol 0.05 mg patch", "Apply to skin twice a week", "patch"),
        ("estradiol valerate 20 mg/mL", "Inject 0.2 mL IM weekly", "injection"),
        ("testosterone 1 %", "Apply to the skin of the shoulder", "topical"),
    ],
)
def test_the_form_from_the_sentence_of_a_dosage(therapy, name, sentence, form):
    assert therapy({"text": name}, dosageInstruction=[{"text": sentence}]).form == form


def test_a_route_stands_before_the_sentence(therapy):
    dosage = {"route": {"text": "vaginal"}, "text": "Take 1 tablet by mouth"}
    assert therapy({"text": "estradiol"}, dosageInstruction=[dosage]).form == "vaginal"
