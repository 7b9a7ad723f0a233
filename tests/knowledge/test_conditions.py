from __future__ import annotations

import pytest

from cds_service.knowledge.model import Terms


def concepts_of(terms: Terms, icd10: str) -> set[str]:
    plain = icd10.replace(".", "")
    return {
        key
        for key, concept in terms.concepts.items()
        if plain.startswith(concept.icd10) and not plain.startswith(concept.not_icd10 or ("-",))
    }


@pytest.mark.parametrize(
    ("code", "concepts"),
    [
        ("C61", {"prostate_cancer", "malignancy"}),
        ("D07.5", {"prostate_cancer"}),
        ("Z85.46", {"prostate_cancer"}),
        ("C50.911", {"breast_cancer", "malignancy"}),
        ("C55", {"estrogen_cancer", "malignancy"}),
        ("C73", {"thyroid_cancer", "malignancy"}),
        ("C96.9", {"malignancy"}),
        ("C97", set()),
        ("I26.99", {"vte"}),
        ("I82.401", {"vte"}),
        ("Z86.718", {"vte"}),
        ("D68.51", {"thrombophilia"}),
        ("I21.4", {"mi"}),
        ("I25.2", {"mi"}),
        ("I25.10", set()),
        ("I63.9", {"stroke"}),
        ("I64", {"stroke"}),
        ("I69.354", {"stroke"}),
        ("I67.9", set()),
        ("Z86.73", {"stroke"}),
        ("Z86.79", set()),
        ("G45.9", {"tia"}),
        ("I50.22", {"heart_failure"}),
        ("G47.33", {"sleep_apnoea", "obstructive_sleep_apnoea"}),
        ("G47.30", set()),
        ("D75.1", {"erythrocytosis"}),
        ("D45", {"erythrocytosis"}),
        ("N40.1", {"bph"}),
        ("N40.0", set()),
        ("N92.1", {"genital_bleeding"}),
        ("N95.0", {"genital_bleeding"}),
        ("N95.1", {"menopause"}),
        ("E28.310", {"menopause"}),
        ("K76.0", {"liver_disease"}),
        ("B18.2", {"liver_disease"}),
        ("E80.20", {"porphyria"}),
        ("O09.90", {"pregnancy"}),
        ("O9A.211", {"pregnancy"}),
        ("Z33.1", {"pregnancy"}),
        ("Z33.2", set()),
        ("Z34.01", {"pregnancy"}),
        ("Z90.710", {"hysterectomy"}),
        ("Z90.711", {"hysterectomy"}),
        ("Z90.712", set()),
        ("Z90.79", {"prostate_absent"}),
        ("E29.1", {"male_hypogonadism"}),
        ("E23.0", {"male_hypogonadism", "hypothyroidism", "central_hypothyroidism"}),
        ("E03.9", {"hypothyroidism"}),
        ("E03.8", {"hypothyroidism", "central_hypothyroidism"}),
        ("Z31.69", {"fertility_wish"}),
        ("F64.0", {"gender_incongruence"}),
        ("Z87.890", {"gender_incongruence"}),
        ("D35.2", {"pituitary_adenoma"}),
        ("E22.1", {"hyperprolactinaemia"}),
    ],
)
def test_icd10(terms: Terms, code: str, concepts: set[str]) -> None:
    assert concepts_of(terms, code) == concepts


@pytest.mark.parametrize(
    ("code", "concepts"),
    [
        ("399068003", {"prostate_cancer"}),
        ("254837009", {"breast_cancer"}),
        ("128053003", {"vte"}),
        ("78275009", {"sleep_apnoea", "obstructive_sleep_apnoea"}),
        ("73430006", {"sleep_apnoea"}),
        ("236886002", {"hysterectomy"}),
        ("248911005", set()),  # cervix absent, the uterus is there
        ("77386006", {"pregnancy"}),
        ("134209002", {"prolactinoma"}),
    ],
)
def test_snomed(terms: Terms, code: str, concepts: set[str]) -> None:
    assert {key for key, concept in terms.concepts.items() if code in concept.snomed} == concepts


def test_where_the_past_counts(terms: Terms) -> None:
    history = {key for key, concept in terms.concepts.items() if concept.history_counts}
    cancers = {"prostate_cancer", "breast_cancer", "estrogen_cancer", "thyroid_cancer"}
    assert history == cancers | {"vte", "mi", "stroke", "tia"}


def test_rubrics_that_are_past_by_themselves(terms: Terms) -> None:
    past = {code for concept in terms.concepts.values() for code in concept.history_icd10}
    assert past == {"Z8546", "Z853", "Z8542", "Z85850", "Z86711", "Z86718", "I252", "I69", "Z8673"}
    for concept in terms.concepts.values():
        assert set(concept.history_icd10) <= set(concept.icd10)


def test_concepts_for_the_site(terms: Terms) -> None:
    site = {key for key, concept in terms.concepts.items() if concept.site_only}
    assert {"cpap", "prostate_cancer_high_risk", "ipss"} <= site
    for key in site:
        concept = terms.concepts[key]
        assert (concept.icd10, concept.snomed, concept.observations) == ((), frozenset(), {})


def test_pregnancy_status(terms: Terms) -> None:
    assert terms.concepts["pregnancy"].observations == {
        ("http://loinc.org", "82810-3"): frozenset({("http://snomed.info/sct", "77386006")})
    }
