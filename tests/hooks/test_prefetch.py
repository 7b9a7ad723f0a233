"""The templates keep to what EHRs and the Sandbox can fill, and ask for all that the rules need and no more."""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec
import pytest

from cds_service.chart import Chart, Draft, Gap, Measurement, Order, Patient
from cds_service.hooks.errors import HookError
from cds_service.hooks.prefetch import build_expected, require_enough
from cds_service.knowledge.needs import markers_needed

HOOKS = ["patient-view", "order-select", "order-sign"]
LOINC = "http://loinc.org"
# FHIR R4: search parameters of each type that are used here, and those by which it can be sorted.
R4 = {
    "Observation": ({"patient", "code"}, {"date"}),
    "MedicationRequest": ({"patient"}, {"authoredon"}),
    "MedicationStatement": ({"patient"}, {"effective"}),
    "Condition": ({"patient"}, {"recorded-date"}),
    "Procedure": ({"patient"}, {"date"}),
    "ServiceRequest": ({"patient", "status"}, {"authored"}),
    "MedicationAdministration": ({"patient"}, {"effective-time"}),
}
CONTROL = {"_sort", "_count", "_include"}
INCLUDES = {
    "MedicationRequest": "MedicationRequest:medication",
    "MedicationStatement": "MedicationStatement:medication",
    "MedicationAdministration": "MedicationAdministration:medication",
}


@pytest.fixture(scope="module")
def expected(knowledge):
    return build_expected(knowledge, "patient-view")


@pytest.fixture(scope="module")
def searches(expected):
    """(type, [(parameter, value)]) of each search template."""
    found = []
    for item in expected:
        if "?" in item.template:
            kind, _, query = item.template.partition("?")
            found.append((kind, [tuple(pair.split("=", 1)) for pair in query.split("&")]))
    return found


def labs(items):
    return [item for item in items if item.template.startswith("Observation?")]


def codes_of(item):
    return item.template.partition("&code=")[2].partition("&")[0].split(",")


# -- the form (P-1 to P-19) --------------------------------------------------------------------------


def test_every_hook_has_the_same_templates(knowledge, expected):
    assert all(build_expected(knowledge, hook) == expected for hook in HOOKS)
    with pytest.raises(ValueError, match="encounter-start"):
        build_expected(knowledge, "encounter-start")


def test_patient_is_read_and_everything_else_searched(expected, searches):
    assert expected[0].template == "Patient/{{context.patientId}}"
    assert len(searches) == len(expected) - 1


def test_only_token_is_the_patient_of_the_context(expected):
    for item in expected:
        assert re.findall(r"\{\{.*?\}\}", item.template) == ["{{context.patientId}}"]
        assert not re.search(r"[{}]", item.template.replace("{{context.patientId}}", ""))


def test_parameters_are_those_of_r4_and_stand_once(searches):
    for kind, pairs in searches:
        names = [name for name, _ in pairs]
        parameters, sortable = R4[kind]
        assert set(names) <= parameters | CONTROL
        assert len(set(names)) == len(names)
        values = dict(pairs)
        assert values["patient"] == "{{context.patientId}}"
        assert values["_sort"].removeprefix("-") in sortable
        assert values.get("_include") == INCLUDES.get(kind)
        assert 100 <= int(values["_count"]) <= 200


def test_no_modifiers_prefixes_or_chains(searches):
    names = [name for _, pairs in searches for name, _ in pairs]
    assert not any(re.search(r"[:.]", name) for name in names)


def test_medications_are_not_filtered_by_status(searches):
    for kind, pairs in searches:
        assert ("status" in dict(pairs)) is (kind == "ServiceRequest")


def test_templates_are_valid_addresses(expected):
    for item in expected:
        url = item.template.replace("{{context.patientId}}", "123")
        # "|" stands in the examples of the specification; clients encode it.
        assert re.fullmatch(r"[A-Za-z]+[/?][A-Za-z0-9\-._~:/?&=,|%]*", url)
        assert len(quote(item.template, safe="?&=")) < 2000


def test_there_are_few_keys_and_their_names_are_plain(expected):
    keys = [item.key for item in expected]
    assert len(keys) <= 10
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch(r"[a-z][A-Za-z0-9]*", key) for key in keys)


def test_lists_come_newest_first(expected, searches):
    assert not expected[0].newest_first
    assert all(item.newest_first for item in expected[1:])
    assert all(dict(pairs)["_sort"].startswith("-") for _, pairs in searches)


def test_types_under_a_key(expected):
    types = {item.key: item.types for item in expected}
    assert types["patient"] == {"Patient"}
    assert types["medicationRequests"] == {"MedicationRequest", "Medication"}
    assert types["medicationStatements"] == {"MedicationStatement", "Medication"}
    assert types["labs1"] == {"Observation"}


def test_areas_that_the_other_keys_cover(expected):
    covers = {item.key: set(item.covers) for item in expected if not item.key.startswith("labs")}
    assert covers == {
        "patient": {"patient"},
        "medicationRequests": {"medications"},
        "medicationStatements": {"medications"},
        "conditions": {"conditions"},
        "procedures": {"procedures"},
        "serviceRequests": {"orders"},
        "medicationAdministrations": set(),
    }


def test_doses_are_asked_for_while_a_rule_asks_for_them(knowledge):
    others = tuple(rule for rule in knowledge.rules if rule.id != "INT-PEAK")
    keys = [item.key for item in build_expected(msgspec.structs.replace(knowledge, rules=others), "patient-view")]
    assert "medicationAdministrations" not in keys


# -- the codes ---------------------------------------------------------------------------------------


def check_digit(digits: str) -> str:
    """The last digit of a LOINC code (modulus 10, doubling from the right)."""
    doubled = (int(digit) * (2 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits)))
    return str(-sum(value // 10 + value % 10 for value in doubled) % 10)


def test_check_digit_itself():
    assert check_digit("4544") == "3"
    assert check_digit("2986") == "8"


def test_codes_are_loinc_with_their_system(expected):
    for token in (token for item in labs(expected) for token in codes_of(item)):
        system, code = token.split("|")
        number, digit = code.split("-")
        assert system == LOINC
        assert digit == check_digit(number)


def test_every_code_of_every_needed_marker_is_asked_for_once(knowledge, expected):
    tokens = [token for item in labs(expected) for token in codes_of(item)]
    needed = markers_needed(knowledge)
    wanted = {f"{system}|{code}" for (system, code), entry in knowledge.codes.items() if entry.marker in needed}
    assert len(set(tokens)) == len(tokens)
    assert wanted <= set(tokens)
    assert needed
    assert needed == set().union(*(item.covers for item in labs(expected)))


def test_a_marker_is_covered_by_the_key_that_asks_for_it(knowledge, expected):
    for item in labs(expected):
        codes = {tuple(token.split("|")) for token in codes_of(item)}
        assert {knowledge.codes[code].marker for code in codes if code in knowledge.codes} <= item.covers


def test_panels_are_asked_for_where_their_members_are(expected):
    (home,) = [item for item in labs(expected) if f"{LOINC}|58410-2" in codes_of(item)]
    assert f"{LOINC}|4544-3" in codes_of(home)


def test_reports_are_asked_for_where_the_site_counts_them(knowledge, expected):
    site = msgspec.structs.replace(knowledge, switches={**knowledge.switches, "panel_counts_as_done": True})
    asked = build_expected(site, "patient-view")
    (more,) = [item for item in asked if item not in expected]
    assert (more.key, set(more.types), set(more.covers)) == ("diagnosticReports", {"DiagnosticReport"}, set())
    assert set(codes_of(more)) == {f"{system}|{code}" for system, code in knowledge.panels}
    assert [item.key for item in expected if item not in asked] == ["medicationAdministrations"]
    assert len(asked) <= 10  # EHRs take no more templates a service
    assert len(quote(more.template, safe="?&=")) < 2000


def test_results_that_mean_a_condition_are_asked_for(knowledge, expected):
    tokens = {token for item in labs(expected) for token in codes_of(item)}
    observed = {f"{s}|{c}" for concept in knowledge.concepts.values() for s, c in concept.observations}
    assert observed <= tokens


def test_a_marker_that_no_rule_reads_is_not_asked_for(knowledge):
    silent = msgspec.structs.replace(knowledge, rules=(), protocols=())
    tokens = [token for item in labs(build_expected(silent, "patient-view")) for token in codes_of(item)]
    assert not any(tuple(token.split("|")) in knowledge.codes for token in tokens)


def test_a_site_with_very_many_codes_gets_more_keys(knowledge):
    local = {("urn:oid:1.2.3", f"HCT & {number}"): knowledge.codes[LOINC, "4544-3"] for number in range(200)}
    full = msgspec.structs.replace(knowledge, codes={**knowledge.codes, **local})
    items = labs(build_expected(full, "patient-view"))
    tokens = [token for item in items for token in codes_of(item)]
    assert {f"urn:oid:1.2.3|HCT%20%26%20{number}" for number in range(200)} <= set(tokens)
    assert all(len(quote(item.template, safe="?&=")) < 2000 for item in items)
    assert all("HCT" in item.covers for item in items if "urn:oid" in item.template)


# -- is what came enough? ----------------------------------------------------------------------------


def chart(expected, kinds, **parts):
    """A chart whose keys failed as `kinds` says; the last kind goes on to the end."""
    padded = [*kinds, *[kinds[-1]] * (len(expected) - len(kinds))]
    gaps = tuple(
        Gap(item.key, kind, "words of the EHR", item.covers)
        for item, kind in zip(expected, padded, strict=True)
        if kind
    )
    return msgspec.structs.replace(Chart(Patient("p1"), gaps=gaps), **parts)


DRAFT = Draft("TESTOSTERONE", "testosterone", "injection", "MedicationRequest/1", True, "RxNorm product 1")
RESULT = Measurement("HCT", None, None, "final", "Observation/1", "4544-3")


def test_no_usable_key_is_refused_with_the_reason_for_each(expected):
    kinds = ["absent", "outcome", "not_fhir", "wrong_type", "unreadable", "other_patient", "absent"]
    with pytest.raises(HookError) as caught:
        require_enough(chart(expected, kinds), expected, "patient-view")
    problems = caught.value.problems
    assert caught.value.status == 412
    assert [problem.expression for problem in problems] == [f"prefetch.{item.key}" for item in expected]
    assert [problem.code for problem in problems][:3] == ["required", "incomplete", "structure"]
    assert "words of the EHR" not in repr(problems)


@pytest.mark.parametrize("kind", ["", "null", "truncated"])
def test_one_answered_key_is_enough(expected, kind):
    require_enough(chart(expected, ["absent", kind, "absent"]), expected, "patient-view")


def test_keys_that_failed_in_part_are_enough(expected):
    order = Order(frozenset({"HCT"}), "CBC", "ServiceRequest/1", drafted=False)
    for parts in (
        {"measurements": {"HCT": (RESULT,)}},
        {"orders": (order,)},
        {"patient": Patient("p1", sex="male")},
    ):
        require_enough(chart(expected, ["outcome"], **parts), expected, "patient-view")


def test_what_is_drafted_is_not_data(expected):
    order = Order(frozenset({"HCT"}), "CBC", "ServiceRequest/1", drafted=True)
    with pytest.raises(HookError):
        require_enough(chart(expected, ["absent"], drafts=(DRAFT,), orders=(order,)), expected, "order-sign")


@pytest.mark.parametrize("hook", ["order-select", "order-sign"])
def test_orders_need_data_only_for_a_therapy_that_the_service_knows(expected, hook):
    require_enough(chart(expected, ["absent"]), expected, hook)
    with pytest.raises(HookError):
        require_enough(chart(expected, ["absent"], drafts=(DRAFT,)), expected, hook)
