"""The site overlay: what it changes, what it cannot change, when it ends, and that every mistake has its line."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from jsonschema import Draft202012Validator

from cds_service.fhir.reader import read_chart
from cds_service.hooks.prefetch import build_expected
from cds_service.hooks.suggestions import draft_order
from cds_service.knowledge import loader, protocols, terminology
from cds_service.knowledge.difference import differences
from cds_service.knowledge.limits import limits_of
from cds_service.knowledge.loader import load
from cds_service.knowledge.model import Knowledge, Rule
from cds_service.knowledge.overlay import SECTIONS
from cds_service.knowledge.protocols import compile_protocols
from cds_service.knowledge.review import warnings
from cds_service.knowledge.terminology import compile_terms
from cds_service.knowledge.yaml_file import SCHEMAS, KnowledgeError, Problem
from tests.rules.conftest import TODAY, card, judge, measurement, on_testosterone, outcome, result_of

LAST = date(2027, 6, 30)
HEAD = f"who: Drug committee\n    why: agreed in October\n    until: {LAST}"


@pytest.fixture(scope="module")
def files() -> tuple[Any, Any]:
    """What the loader makes of the shipped files, made once."""
    problems: list[Problem] = []
    terms = compile_terms(Path(loader.__file__).parent, problems)
    assert terms is not None
    return terms, compile_protocols(Path(loader.__file__).parent, terms, problems)


@pytest.fixture(autouse=True)
def _read_once(files: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminology, "compile_terms", lambda *_: files[0])
    monkeypatch.setattr(protocols, "compile_protocols", lambda *_: files[1])


@pytest.fixture(scope="module")
def shipped() -> Knowledge:
    return load(today=TODAY)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """An overlay whose one change is `text`, or whose changes are all that follows `changes:`."""

    def do(text: str) -> Path:
        path = tmp_path / "overlay.yaml"
        whole = text if text.startswith("changes:") else f"changes:\n  - {HEAD}\n    {text}\n"
        path.write_text(whole, encoding="utf-8")
        return path

    return do


@pytest.fixture
def at_site(write: Callable[[str], Path]) -> Callable[..., Knowledge]:
    def do(text: str, **options: Any) -> Knowledge:
        return load(overlay=write(text), **({"today": TODAY} | options))

    return do


@pytest.fixture
def refused(at_site: Callable[..., Knowledge]) -> Callable[..., tuple[Problem, ...]]:
    def do(text: str, **options: Any) -> tuple[Problem, ...]:
        with pytest.raises(KnowledgeError) as caught:
            at_site(text, **options)
        return caught.value.problems

    return do


def rule_of(knowledge: Knowledge, name: str) -> Rule:
    return next(rule for rule in knowledge.rules if rule.id == name)


# -- what it changes -----------------------------------------------------------------------------------


def test_a_limit_of_a_rule(at_site: Callable[..., Knowledge], shipped: Knowledge) -> None:
    site = at_site('rules: {HCT-2: {limits: {above: "51.0"}}}')
    chart = on_testosterone(measurement("HCT", "51.5", 10))
    assert result_of(chart, shipped, "HCT-2") == "fine"
    found = outcome(chart, site, "HCT-2")
    assert found.result == "finding"
    assert found.finding
    assert found.finding.limit == Decimal("51.0")


def test_the_card_says_that_the_limit_is_the_sites(at_site: Callable[..., Knowledge]) -> None:
    site = at_site('rules: {HCT-2: {limits: {above: "51.0"}}}')
    evaluation = judge(on_testosterone(measurement("HCT", "51.5", 10)), site)
    texts = [line.text for line in card(evaluation, "HCT-2").lines if line.text]
    assert texts == ["The limit of 51.0 % is this site's own; the shipped one is 52.0 %."]


def test_the_default_where_the_laboratory_gives_no_range(at_site: Callable[..., Knowledge]) -> None:
    site = at_site('rules: {E2M-1: {limits: {above.default: "50.0"}}}')
    assert result_of(on_testosterone(measurement("E2", "49.0", 10)), site, "E2M-1") == "fine"
    own = measurement("E2", "49.0", 10, reference_high=Decimal("45.0"))
    assert result_of(on_testosterone(own), site, "E2M-1") == "finding"


def test_one_side_of_a_range(at_site: Callable[..., Knowledge]) -> None:
    text = 'rules: {TT-SEED: {limits: {"outside[1]": "650"}}}\n    switches: {tt_target: seed}'
    site = at_site(text)
    found = [limit.value for limit in limits_of(rule_of(site, "TT-SEED"))]
    assert found == ["450", "650"]


def test_a_rule_is_switched_off(at_site: Callable[..., Knowledge], shipped: Knowledge) -> None:
    site = at_site("rules: {LDL-1: {status: retired}}")
    chart = on_testosterone(measurement("LDL", "200", 10))
    assert "LDL-1" in {one.rule for one in judge(chart, shipped).outcomes}
    assert "LDL-1" not in {one.rule for one in judge(chart, site).outcomes}


def test_switches_of_every_type(at_site: Callable[..., Knowledge]) -> None:
    text = 'switches: {hct_stop: "53.0", trend: false, psa_max_age: 70, tt_target: seed, psa_min_age: 50}'
    switches = at_site(text).switches
    assert switches["hct_stop"] == Decimal("53.0")
    assert (switches["trend"], switches["psa_max_age"], switches["tt_target"]) == (False, 70, "seed")


def test_a_switch_that_can_be_empty(at_site: Callable[..., Knowledge]) -> None:
    assert at_site("switches: {psa_max_age: null}").switches["psa_max_age"] is None


def test_a_switch_that_is_a_limit_is_told_on_the_card(at_site: Callable[..., Knowledge]) -> None:
    site = at_site('switches: {hct_stop: "53.0"}')
    finding = judge(on_testosterone(measurement("HCT", "53.5", 10)), site).findings[0]
    assert finding.rule.id == "HCT-1"
    assert "The limit of 53.0 % is this site's own; the shipped one is 54.0 %." in {
        line.text for line in finding.lines
    }


@pytest.mark.parametrize("way", ["overlay", "argument"])
def test_the_guideline(at_site: Callable[..., Knowledge], way: str, shipped: Knowledge) -> None:
    text = "guideline: aua2018" if way == "overlay" else "switches: {trend: false}"
    site = at_site(text, guideline="" if way == "overlay" else "aua2018")
    assert site.switches["guideline"] == "aua2018"
    assert shipped.switches["guideline"] == "seed"


def test_a_switch_of_the_site_wins_over_what_its_guideline_brings(at_site: Callable[..., Knowledge]) -> None:
    brought = at_site("guideline: es2018").switches["psa_min_age"]
    own = at_site("guideline: es2018\n    switches: {psa_min_age: 45}").switches["psa_min_age"]
    assert (brought, own) == (55, 45)


def test_override_reasons_get_other_words_and_keep_their_code(
    at_site: Callable[..., Knowledge], shipped: Knowledge
) -> None:
    reason = at_site("reasons: {will_monitor: {display: We keep an eye on it}}").reasons["will_monitor"]
    assert reason.display == "We keep an eye on it"
    assert msgspec.structs.replace(reason, display="") == msgspec.structs.replace(
        shipped.reasons["will_monitor"], display=""
    )


def test_nothing_else_changes(at_site: Callable[..., Knowledge], shipped: Knowledge) -> None:
    site = at_site('rules: {HCT-2: {limits: {above: "51.0"}}}')
    same = [rule.id for rule, other in zip(site.rules, shipped.rules, strict=True) if rule == other]
    assert len(same) == len(shipped.rules) - 1
    assert site.switches == shipped.switches
    assert site.codes == shipped.codes


# -- codes of the site ---------------------------------------------------------------------------------

LABORATORY = "urn:oid:1.2.3"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ATC = "http://www.whocc.no/atc"


def observation(code: str, value: float, unit: str = "") -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": code,
        "status": "final",
        "code": {"coding": [{"system": LABORATORY, "code": code}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2026-11-12",
        "valueQuantity": {"value": value, **({"unit": unit} if unit else {})},
    }


def read(knowledge: Knowledge, key: str, *resources: dict[str, Any], drafts: Any = None) -> Any:
    """The chart from one prefetch key that holds these resources."""
    expected = tuple(one for one in build_expected(knowledge, "patient-view") if one.key == key)
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": one} for one in resources]}
    return read_chart(
        {key: msgspec.Raw(msgspec.json.encode(bundle))},
        expected,
        patient_id="p",
        knowledge=knowledge,
        as_of=TODAY,
        zone=ZoneInfo("UTC"),
        draft_orders=drafts,
    )


def test_a_local_result_code(at_site: Callable[..., Knowledge], shipped: Knowledge) -> None:
    text = f"results: [{{system: '{LABORATORY}', code: HKT, marker: HCT, name: Haematokrit}}]"
    site, result = at_site(text), observation("HKT", 0.55, "L/L")
    assert read(shipped, "labs1", result).measurements == {}
    (found,) = read(site, "labs1", result).measurements["HCT"]
    assert found.value == Decimal("55")


def test_the_unit_of_a_local_code_holds_for_results_without_one(at_site: Callable[..., Knowledge]) -> None:
    text = f"results: [{{system: '{LABORATORY}', code: TST, marker: TT, name: Testosteron, unit: nmol/L}}]"
    site = at_site(text)
    (bare,) = read(site, "labs1", observation("TST", 10)).measurements["TT"]
    assert (bare.value, bare.problem) == (Decimal("288.42"), "")  # 10 nmol/L x 28.842
    (own,) = read(site, "labs1", observation("TST", 500, "ng/dL")).measurements["TT"]
    assert own.value == Decimal("500")


def test_without_a_unit_of_its_own_a_bare_result_stays_unknown(at_site: Callable[..., Knowledge]) -> None:
    text = f"results: [{{system: '{LABORATORY}', code: TST, marker: TT, name: Testosteron}}]"
    (found,) = read(at_site(text), "labs1", observation("TST", 10)).measurements["TT"]
    assert (found.value, found.problem) == (None, "no_unit")


def test_a_local_code_is_asked_for(at_site: Callable[..., Knowledge]) -> None:
    text = f"results: [{{system: '{LABORATORY}', code: HKT, marker: HCT, name: Haematokrit}}]"
    templates = [one.template for one in build_expected(at_site(text), "patient-view")]
    assert sum(f"{LABORATORY}|HKT" in template for template in templates) == 1


def test_a_local_order_code_counts_and_is_suggested(at_site: Callable[..., Knowledge]) -> None:
    site = at_site(f"orders: [{{system: '{LABORATORY}', code: BB, test: CBC, display: Blutbild}}]")
    order = {
        "resourceType": "ServiceRequest",
        "id": "o",
        "status": "active",
        "intent": "order",
        "code": {"coding": [{"system": LABORATORY, "code": "BB"}]},
        "subject": {"reference": "Patient/p"},
        "authoredOn": "2026-11-20",
    }
    (found,) = read(site, "serviceRequests", order).orders
    assert found.markers == site.tests["CBC"].brings
    codings = draft_order(site.tests["CBC"])["code"]["coding"]
    assert [coding["code"] for coding in codings] == ["58410-2", "BB"]


def test_a_spelling_of_a_unit(at_site: Callable[..., Knowledge], shipped: Knowledge) -> None:
    site = at_site('units: {"%": [Vol.-%]}')
    text = f"results: [{{system: '{LABORATORY}', code: HKT, marker: HCT, name: Haematokrit}}]"
    (unread,) = read(at_site(text), "labs1", observation("HKT", 55, "Vol.-%")).measurements["HCT"]
    assert unread.problem == "unknown_unit"
    assert "vol.-%" not in shipped.spellings
    assert site.spellings["vol.-%"] == "%"


def prescription(concept: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest",
        "id": "m",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p"},
        "authoredOn": "2026-05-01",
        "medicationCodeableConcept": concept,
    }


@pytest.mark.parametrize(
    ("line", "concept", "recognised"),
    [
        (
            f"{{system: '{LABORATORY}', code: T200, keys: [TESTOSTERONE], "
            "agent: testosterone cypionate, form: injection}",
            {"coding": [{"system": LABORATORY, "code": "T200"}]},
            "local drug code T200",
        ),
        (
            "{system: 'http://www.nlm.nih.gov/research/umls/rxnorm', code: '999999', keys: [TESTOSTERONE], "
            "agent: testosterone cypionate, form: injection}",
            {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "999999"}]},
            "RxNorm product 999999",
        ),
        (
            "{match: [testocream, 'test comp'], key: TESTOSTERONE, agent: testosterone cypionate, form: injection}",
            {"text": "TESTOCREAM 2 %, compounded"},
            'free text "testocream"',
        ),
    ],
)
def test_a_drug_of_the_site(
    at_site: Callable[..., Knowledge], shipped: Knowledge, line: str, concept: dict[str, Any], recognised: str
) -> None:
    entry = prescription(concept)
    assert read(shipped, "medicationRequests", entry).therapies == ()
    (course,) = read(at_site(f"drugs: [{line}]"), "medicationRequests", entry).therapies
    assert (course.key, course.agent, course.form) == ("TESTOSTERONE", "testosterone cypionate", "injection")
    assert course.recognised == recognised


def test_a_drug_that_starts_nothing(at_site: Callable[..., Knowledge]) -> None:
    site = at_site(f"drugs: [{{system: '{LABORATORY}', code: LAB, keys: [], agent: testosterone test kit}}]")
    concept = {"coding": [{"system": LABORATORY, "code": "LAB"}], "text": "testosterone test kit"}
    chart = read(site, "medicationRequests", prescription(concept))
    assert chart.therapies == ()
    assert [refused.reason for refused in chart.refused] == ["not_monitored"]


def test_words_of_the_site_go_before_the_shipped_ones(at_site: Callable[..., Knowledge]) -> None:
    site = at_site("drugs: [{match: [testosterone cream], key: TESTOSTERONE, agent: testosterone, form: topical}]")
    (course,) = read(site, "medicationRequests", prescription({"text": "Testosterone cream 2 %"})).therapies
    assert course.form == "topical"


def test_a_code_of_the_sites_own_for_an_atc_group(at_site: Callable[..., Knowledge]) -> None:
    site = at_site(
        "drugs: [{system: 'http://www.whocc.no/atc', code: A99ZZ99, keys: [ANDROGEN_OTHER], agent: house product}]"
    )
    lengths = [len(code) for code, _ in site.atc]
    assert lengths == sorted(lengths, reverse=True)
    assert dict(site.atc)["A99ZZ99"].agent == "house product"


def test_codes_for_a_concept_that_only_the_site_can_fill(
    at_site: Callable[..., Knowledge], shipped: Knowledge
) -> None:
    site = at_site('concepts: {cpap: {snomed: {"1234567890": CPAP}, icd10: [Z99]}}')
    assert not shipped.concepts["cpap"].snomed
    assert site.concepts["cpap"].snomed == {"1234567890"}
    assert site.concepts["cpap"].icd10 == ("Z99",)


def test_a_route(at_site: Callable[..., Knowledge]) -> None:
    site = at_site(f"routes: [{{system: '{LABORATORY}', code: IM, form: injection}}]")
    assert site.routes[LABORATORY, "IM"] == "injection"


# -- until when ----------------------------------------------------------------------------------------


def test_a_change_holds_on_its_last_day(at_site: Callable[..., Knowledge]) -> None:
    text = 'rules: {HCT-2: {limits: {above: "51.0"}}}'
    assert [limit.value for limit in limits_of(rule_of(at_site(text, today=LAST), "HCT-2"))] == ["51.0"]


def test_a_change_that_has_ended_is_not_applied_and_told(at_site: Callable[..., Knowledge]) -> None:
    after = LAST + timedelta(days=1)
    site = at_site('rules: {HCT-2: {limits: {above: "51.0"}}}\n    guideline: aua2018', today=after)
    assert [limit.value for limit in limits_of(rule_of(site, "HCT-2"))] == ["52.0"]
    assert site.switches["guideline"] == "seed"
    (change,) = site.changes
    assert change.expired
    told = [text for text in warnings(site, after) if "overlay.yaml:2" in text]
    what = "overlay.yaml:2: rules HCT-2; guideline aua2018"
    assert told == [f"{what}: ended on 2027-06-30 (Drug committee); what was shipped holds"]


def test_a_change_that_ends_soon_is_told(at_site: Callable[..., Knowledge]) -> None:
    site = at_site("rules: {LDL-1: {status: retired}}")
    assert [text for text in warnings(site, date(2027, 5, 31)) if "LDL-1" in text] == []
    (told,) = [text for text in warnings(site, date(2027, 6, 1)) if "LDL-1" in text]
    assert "ends on 2027-06-30" in told


def test_what_has_ended_is_not_judged_any_more(at_site: Callable[..., Knowledge]) -> None:
    site = at_site("rules: {GONE-1: {status: retired}}", today=LAST + timedelta(days=1))
    assert site.changes[0].expired


def test_lapsed_reviews_are_told_by_the_day_that_is_given(shipped: Knowledge) -> None:
    rule = shipped.rules[0]
    lapsed = f"{rule.id}: review was due by {rule.review_by}"
    assert lapsed not in warnings(shipped, rule.review_by)
    assert lapsed in warnings(shipped, rule.review_by + timedelta(days=1))


def test_words_that_still_say_the_shipped_number_are_told(at_site: Callable[..., Knowledge]) -> None:
    site = at_site('switches: {psa_limit: "3.50"}')
    told = [text for text in warnings(site, TODAY) if text.startswith("PSA-1: its title")]
    assert told == ["PSA-1: its title says the shipped 4.00; overlay.yaml:5 has made switch psa_limit 3.50"]


# -- who and why ---------------------------------------------------------------------------------------


def test_each_change_keeps_who_why_until_and_where(at_site: Callable[..., Knowledge], shipped: Knowledge) -> None:
    site = at_site('rules: {HCT-2: {limits: {above: "51.0"}}}')
    (one,) = differences(shipped, site)
    assert (one.what, one.shipped, one.here) == ("rule HCT-2: above", "52.0", "51.0")
    assert (one.who, one.why, one.until, one.place) == (
        "Drug committee",
        "agreed in October",
        "2027-06-30",
        "overlay.yaml:5",
    )


def test_what_a_guideline_brings_is_told_too(shipped: Knowledge) -> None:
    site = load(today=TODAY, guideline="es2018")
    told = {one.what: (one.shipped, one.here) for one in differences(shipped, site)}
    assert told["guideline"] == ("seed", "es2018")
    assert told["switch psa_min_age"] == ("40", "55")


def test_the_version_tells_sites_apart(at_site: Callable[..., Knowledge], shipped: Knowledge) -> None:
    one = at_site('rules: {HCT-2: {limits: {above: "51.0"}}}').version
    other = at_site('rules: {HCT-2: {limits: {above: "51.5"}}}').version
    ended = at_site('rules: {HCT-2: {limits: {above: "51.5"}}}', today=date(2028, 1, 1)).version
    assert len({shipped.version, one, other, ended}) == 4
    assert all(version.startswith(shipped.version) for version in (one, other, ended))


RESULT = "results: [{{system: 'urn:oid:1.2', code: TESTO, marker: TT, name: T, {}}}]"
DRUG = "drugs: [{{system: 'urn:oid:1.3', code: T200, keys: [TESTOSTERONE], agent: {}}}]"
WORDS = "drugs: [{{match: [testobrand], key: TESTOSTERONE, {}}}]"


@pytest.mark.parametrize(
    ("form", "contents", "shown"),
    [
        (RESULT, ("unit: ng/dL", "unit: nmol/L"), ("TT, ng/dL", "TT, nmol/L")),
        (
            DRUG,
            ("testosterone cypionate, form: injection", "testosterone, form: topical"),
            ("TESTOSTERONE, testosterone cypionate, injection", "TESTOSTERONE, testosterone, topical"),
        ),
        (
            WORDS,
            ("agent: testosterone", "agent: testosterone, systemic: true"),
            ("TESTOSTERONE, testosterone", "TESTOSTERONE, testosterone, systemic"),
        ),
        (
            WORDS,
            ("agent: testosterone, unless: [cream]", "agent: testosterone, unless: [gel]"),
            ("TESTOSTERONE, testosterone, unless cream", "TESTOSTERONE, testosterone, unless gel"),
        ),
    ],
)
def test_the_version_and_the_differences_tell_what_a_code_means(
    at_site: Callable[..., Knowledge],
    shipped: Knowledge,
    form: str,
    contents: tuple[str, str],
    shown: tuple[str, str],
) -> None:
    one, other = (at_site(form.format(content)) for content in contents)
    assert one.version != other.version
    assert tuple(differences(shipped, site)[0].here for site in (one, other)) == shown


def test_the_version_stays_while_the_meaning_does(write: Callable[[str], Path]) -> None:
    """Who decided it, why and until when, and where it stands in the file, change no judgement."""
    path = write('rules: {HCT-2: {limits: {above: "51.0"}}}')
    version = load(overlay=path, today=TODAY).version
    text = path.read_text(encoding="utf-8").replace("Drug committee", "Board").replace("October", "November")
    path.write_text("# moved down\n" + text.replace(str(LAST), "2027-07-31"), encoding="utf-8")
    assert load(overlay=path, today=TODAY).version == version


# -- what it cannot do ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("guideline: es1999", "changes[0].guideline", "one of seed"),
        ("switches: {guideline: aua2018}", "changes[0].switches.guideline", "`guideline: WORD`"),
        ("switches: {hct: 1}", "changes[0].switches.hct", "a switch of switches.yaml"),
        ("switches: {hct_stop: 53}", "changes[0].switches.hct_stop", "in quotes"),
        ('switches: {hct_stop: "530"}', "changes[0].switches.hct_stop", "plausible limit of hematocrit"),
        ('switches: {hct_stop: "."}', "changes[0].switches.hct_stop", "in quotes"),
        ("switches: {trend: 1}", "changes[0].switches.trend", "true or false"),
        ("switches: {psa_min_age: -1}", "changes[0].switches.psa_min_age", "a whole number"),
        ("switches: {psa_min_age: true}", "changes[0].switches.psa_min_age", "a whole number"),
        ("switches: {min_age: 200}", "changes[0].switches.min_age", "plausible limit of age"),
        ("switches: {tt_target: high}", "changes[0].switches.tt_target", "one of off, seed"),
        ("switches: {trend: null}", "changes[0].switches.trend", "not null"),
        ("rules: {HCT-9: {status: retired}}", "changes[0].rules.HCT-9", "the id of a rule"),
        ("rules: {HCT-1: {status: retired}}", "changes[0].rules.HCT-1.status", "cannot be switched off"),
        ("rules: {C-T-1: {status: retired}}", "changes[0].rules.C-T-1.status", "cannot be switched off"),
        ("rules: {C-T-PREG: {status: retired}}", "changes[0].rules.C-T-PREG.status", "cannot be switched off"),
        ("rules: {UNKNOWN: {status: retired}}", "changes[0].rules.UNKNOWN.status", "cannot be switched off"),
        ("rules: {HCT-2: {status: draft}}", "changes[0].rules.HCT-2.status", "retired"),
        ("rules: {HCT-2: {indicator: info}}", "changes[0].rules.HCT-2.indicator", "a known field"),
        ('rules: {HCT-2: {limits: {above: "510"}}}', "changes[0].rules.HCT-2.limits.above", "plausible limit"),
        ("rules: {HCT-2: {limits: {above: 51.0}}}", "changes[0].rules.HCT-2.limits.above", "in quotes"),
        ('rules: {HCT-2: {limits: {below: "51.0"}}}', "changes[0].rules.HCT-2.limits.below", "(above)"),
        ('rules: {HCT-1: {limits: {above: "51.0"}}}', "changes[0].rules.HCT-1.limits.above", "the switch hct_stop"),
        ('rules: {E2M-1: {limits: {above: "51.0"}}}', "changes[0].rules.E2M-1.limits.above", "the laboratory's"),
        (
            "rules: {HCT-2: {fields: {max_age_days: 90}}}",
            "changes[0].rules.HCT-2.fields.max_age_days",
            "opens (none)",
        ),
        ("silent: true", "changes[0].silent", "a known field"),
        (
            "results: [{system: 'urn:x:y', code: A, marker: XX, name: X}]",
            "changes[0].results[0].marker",
            "a marker",
        ),
        (
            "results: [{system: 'urn:x:y', code: A, marker: HCT, name: X, unit: mg/dL}]",
            "changes[0].results[0].unit",
            "a unit that converts for hematocrit",
        ),
        (
            "results: [{system: 'http://loinc.org', code: 4544-3, marker: HGB, name: X}]",
            "changes[0].results[0].code",
            "4544-3 is hematocrit",
        ),
        (
            "results: [{system: 'http://loinc.org', code: 4544-4, marker: HCT, name: X}]",
            "changes[0].results[0].code",
            "check digit",
        ),
        (
            "results: [{system: 'http://loinc.org', code: 14635-7, marker: TT, name: X}]",
            "changes[0].results[0].code",
            "25-hydroxyvitamin D",
        ),
        (
            "results: [{system: 'http://loinc.org', code: 58410-2, marker: HCT, name: X}]",
            "changes[0].results[0].code",
            "the panel",
        ),
        ("results: [{system: local, code: A, marker: HCT, name: X}]", "changes[0].results[0].system", "uri"),
        ("orders: [{system: 'urn:x:y', code: A, test: XX, display: X}]", "changes[0].orders[0].test", "a test"),
        (
            "orders: [{system: 'http://loinc.org', code: 58410-2, test: TT, display: X}]",
            "changes[0].orders[0].code",
            "not known yet",
        ),
        ('units: {"furlong": [f]}', "changes[0].units.furlong", "a unit of units.yaml"),
        ('units: {"%": [g/L]}', "changes[0].units.%[0]", "'g/L' is g/L"),
        (
            "drugs: [{system: 'urn:x:y', code: A, keys: [TT], agent: x}]",
            "changes[0].drugs[0]",
            "therapy keys",
        ),
        (
            f"drugs: [{{system: '{RXNORM}', code: '835840', keys: [HCG], agent: x}}]",
            "changes[0].drugs[0].code",
            "not known yet",
        ),
        (
            f"drugs: [{{system: '{RXNORM}', code: T200, keys: [HCG], agent: x}}]",
            "changes[0].drugs[0].code",
            "a number as RxCUI",
        ),
        (
            f"drugs: [{{system: '{ATC}', code: G03BA03, keys: [HCG], agent: x}}]",
            "changes[0].drugs[0].code",
            "not known yet",
        ),
        (
            f"drugs: [{{system: '{ATC}', code: testo, keys: [HCG], agent: x}}]",
            "changes[0].drugs[0].code",
            "an ATC code",
        ),
        ("drugs: [{match: ['a('], key: HCG, agent: x}]", "changes[0].drugs[0].match", "regular expressions"),
        ("drugs: [{match: [Testosterone], key: HCG, agent: x}]", "changes[0].drugs[0].match", "is TESTOSTERONE"),
        ("drugs: [{match: ['.*'], key: HCG, agent: x}]", "changes[0].drugs[0].match", "match everything"),
        ("drugs: [{match: [a], agent: x}]", "changes[0].drugs[0]", ""),
        ("concepts: {cpap: {}}", "changes[0].concepts.cpap", ""),
        ("concepts: {cpup: {icd10: [Z99]}}", "changes[0].concepts.cpup", "a concept of conditions.yaml"),
        (
            "concepts: {prostate_cancer: {icd10: [C61]}}",
            "changes[0].concepts.prostate_cancer.icd10",
            "not have yet",
        ),
        ("concepts: {cpap: {icd10: [Z99.8]}}", "changes[0].concepts.cpap.icd10[0]", "without dot"),
        ("reasons: {whatever: {display: x}}", "changes[0].reasons.whatever", "a reason of reasons.yaml"),
        ("reasons: {will_monitor: {display: ''}}", "changes[0].reasons.will_monitor.display", "Short label"),
    ],
)
def test_a_mistake(refused: Callable[..., tuple[Problem, ...]], text: str, field: str, expected: str) -> None:
    problems = refused(text)
    found = [problem for problem in problems if problem.field == field and expected in problem.expected]
    assert found, "\n".join(map(str, problems))
    assert found[0].file == "overlay.yaml"
    assert found[0].line == 5


@pytest.mark.parametrize("missing", ["who", "why", "until"])
def test_each_change_says_who_why_and_until_when(refused: Callable[..., tuple[Problem, ...]], missing: str) -> None:
    lines = [line for line in HEAD.split("\n    ") if not line.startswith(missing)]
    text = "changes:\n  - " + "\n    ".join([*lines, "rules: {LDL-1: {status: retired}}"]) + "\n"
    (problem,) = [one for one in refused(text) if missing in one.expected]
    assert problem.field == "changes[0]"


@pytest.mark.parametrize("day", ["2027-02-30", "30.06.2027", "soon", "''"])
def test_until_is_a_day(refused: Callable[..., tuple[Problem, ...]], day: str) -> None:
    text = f"changes:\n  - who: x\n    why: y\n    until: {day}\n    rules: {{LDL-1: {{status: retired}}}}\n"
    assert [problem.field for problem in refused(text)] == ["changes[0].until"]


def test_a_change_of_nothing(refused: Callable[..., tuple[Problem, ...]]) -> None:
    assert [one.field for one in refused(f"changes:\n  - {HEAD}\n")] == ["changes[0]"]


def test_two_changes_of_one_thing(refused: Callable[..., tuple[Problem, ...]]) -> None:
    one = f'  - {HEAD}\n    rules: {{HCT-2: {{limits: {{above: "51.0"}}}}}}\n'
    (problem,) = refused("changes:\n" + one + one)
    assert problem.field == "changes[1].rules.HCT-2.limits.above"
    assert "overlay.yaml:5 has it already" in problem.expected


def test_one_after_the_other_is_no_contradiction(at_site: Callable[..., Knowledge]) -> None:
    one = '  - {who: x, why: y, until: 2026-10-01, rules: {HCT-2: {limits: {above: "51.0"}}}}\n'
    two = '  - {who: x, why: y, until: 2027-10-01, rules: {HCT-2: {limits: {above: "51.5"}}}}\n'
    site = at_site("changes:\n" + one + two)
    assert [limit.value for limit in limits_of(rule_of(site, "HCT-2"))] == ["51.5"]


def test_settings_and_overlay_name_one_guideline(refused: Callable[..., tuple[Problem, ...]]) -> None:
    (problem,) = refused("guideline: aua2018", guideline="es2018")
    assert "the settings say es2018, the overlay aua2018" in problem.expected


def test_a_guideline_of_the_settings_that_is_none() -> None:
    with pytest.raises(KnowledgeError, match="one of seed"):
        load(guideline="es1999")


def test_all_mistakes_are_told_at_once(refused: Callable[..., tuple[Problem, ...]]) -> None:
    text = (
        "rules: {HCT-1: {status: retired}, HCT-9: {status: retired}}\n    switches: {hct: 1, trend: 1}\n"
        "    reasons: {whatever: {display: x}}\n    concepts: {cpup: {icd10: [Z99]}}"
    )
    assert {problem.line for problem in refused(text)} == {5, 6, 7, 8}
    assert len(refused(text)) == 6


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError, match=r"^overlay.yaml: cannot be read .*a readable file"):
        load(overlay=tmp_path / "overlay.yaml")


def test_a_guideline_that_is_not_there_is_told_once_by_whoever_names_it(
    refused: Callable[..., tuple[Problem, ...]],
) -> None:
    (problem,) = refused("guideline: es1999")
    assert str(problem).startswith("overlay.yaml:5: changes[0].guideline: one of seed, es2018")
    with pytest.raises(KnowledgeError, match=r"^knowledge.guideline: one of seed, es2018.* not 'es1999'$"):
        load(guideline="es1999")


def test_words_of_a_compound_may_name_a_drug_that_is_known(at_site: Callable[..., Knowledge]) -> None:
    words = "drugs: [{match: [testosterone/anastrozole pellet], key: AROMATASE_INHIBITOR, agent: anastrozole}]"
    assert at_site(words).patterns[0].key == "AROMATASE_INHIBITOR"


# -- what a rule opens ---------------------------------------------------------------------------------


def test_what_a_rule_opens_unless_it_says_so_itself(shipped: Knowledge) -> None:
    for rule in shipped.rules:
        urgencies = {rule.indicator, *(one["indicator"] for one in rule.spec.get("indicator_when", ()))}
        if "critical" in urgencies or rule.kind == "quality":
            assert "status" not in rule.site_may, rule.id
    assert rule_of(shipped, "HCT-2").site_may == {"limits", "status"}


def test_a_rule_opens_a_whole_number(write: Callable[[str], Path], shipped: Knowledge) -> None:
    from cds_service.knowledge.overlay import apply
    from cds_service.knowledge.yaml_file import read as read_yaml

    problems: list[Problem] = []
    document = read_yaml(write("rules: {TREND-HCT: {fields: {within_days: 60}}}"), "overlay", problems)
    assert document
    trend = msgspec.structs.replace(rule_of(shipped, "TREND-HCT"), site_may=frozenset(["within_days"]))
    rules = tuple(trend if rule.id == trend.id else rule for rule in shipped.rules)
    site = apply(msgspec.structs.replace(shipped, rules=rules), document, TODAY, problems)
    assert problems == []
    assert rule_of(site, "TREND-HCT").spec["within_days"] == 60


def test_the_schema_describes_every_field() -> None:
    schema = msgspec.json.decode((SCHEMAS / "overlay.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    change = schema["$defs"]["change"]["properties"]
    assert change.keys() == SECTIONS.keys() | {"who", "why", "until"}
    for name, part in schema["$defs"].items():
        assert part["description"], name
        for field, content in part.get("properties", {}).items():
            assert "description" in content or "$ref" in content, f"{name}/{field}"


def test_the_example_of_the_documentation_loads(at_site: Callable[..., Knowledge]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "site-overlay.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    site = at_site("changes:" + example.partition("changes:")[2])
    assert {change.who for change in site.changes} == {"Drug committee", "Central laboratory", "Pharmacy"}
    for field in SECTIONS:
        assert f"`{field}`" in text or f"`{field}:" in text, field
