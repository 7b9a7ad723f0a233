"""What a prefetch key can bring: each told apart, each used or unknown with a reason, never fine."""

from __future__ import annotations

from datetime import date

import pytest

from cds_service.fhir.observations import Observations
from cds_service.fhir.reader import read_chart
from tests.fhir.conftest import BERLIN, EXPECTED, TODAY, raw

HCT = {"HCT", "PSA", "TT", "TSH"}


def gaps(chart):
    return [(gap.key, gap.kind, set(gap.covers)) for gap in chart.gaps]


def test_a_key_that_was_not_sent_leaves_what_it_covers_unknown(read):
    assert gaps(read(absent="labs")) == [("labs", "absent", HCT)]


def test_null_for_a_search_is_no_data_and_is_noted(read):
    chart = read(labs=None)
    assert gaps(chart) == [("labs", "null", set())]
    assert not chart.measurements


def test_null_for_the_patient_is_a_gap(read):
    assert gaps(read(patient=None)) == [("patient", "null", {"patient"})]


@pytest.mark.parametrize(
    "value",
    [
        b'"<html><body>Login</body></html>"', b"17", b"true", b"[]", b"[{}]", b"{}", b'{"resourceType": 5}',
        b'{"resourceType": null}', b'{"resourceType": ""}', b'{"entry": []}', b'{"resourceType": "<b>no</b>"}',
    ],
)  # fmt: skip
def test_what_is_no_fhir_is_a_gap(read, value):
    assert gaps(read(labs=value)) == [("labs", "not_fhir", HCT)]


def test_an_operation_outcome_as_value_is_a_gap(read, ehr):
    chart = read(labs=ehr.outcome())
    assert gaps(chart) == [("labs", "outcome", HCT)]
    assert "exception" in chart.gaps[0].detail
    assert (chart.resources_in, chart.resources_used) == (2, 1)


def test_even_a_harmless_outcome_is_a_gap_if_it_is_all_there_is(read, ehr):
    assert gaps(read(labs=ehr.outcome("information"))) == [("labs", "outcome", HCT)]


def test_the_text_of_an_outcome_is_not_repeated(read):
    outcome = {"issue": [{"severity": "error", "code": "Mrs Doe", "diagnostics": "Mrs Doe is not here"}]}
    assert "Doe" not in repr(read(labs={"resourceType": "OperationOutcome", **outcome}))


def test_a_bundle_without_entries_that_counts_some_is_cut_off(read):
    assert gaps(read(labs={"resourceType": "Bundle", "total": 3})) == [("labs", "truncated", HCT)]
    assert gaps(read(labs={"resourceType": "Bundle", "total": 0})) == []


def test_a_single_resource_in_place_of_a_bundle_is_used(read, ehr):
    chart = read(labs=ehr.observation())
    assert [str(m.value) for m in chart.measurements["HCT"]] == ["47.2"]
    assert not chart.gaps


def test_a_single_resource_of_another_type_is_a_gap(read, ehr):
    chart = read(labs=ehr.condition())
    assert gaps(chart) == [("labs", "wrong_type", HCT)]
    assert [r.reason for r in chart.refused] == ["not_asked_for"]
    assert not chart.conditions


@pytest.mark.parametrize(
    "bundle", [b'{"resourceType":"Bundle","total":0}', b'{"resourceType":"Bundle","entry":null}']
)
def test_a_bundle_without_entries_is_no_data(read, bundle):
    chart = read(labs=bundle)
    assert not chart.gaps
    assert not chart.measurements


def test_entries_of_other_types_are_refused(read, ehr):
    chart = read(labs=[ehr.condition(), ehr.observation()])
    assert [(r.source, r.reason, r.tell) for r in chart.refused] == [("Condition/c", "not_asked_for", False)]
    assert "HCT" in chart.measurements
    assert not chart.gaps


def test_a_bundle_inside_a_bundle_is_a_gap(read, ehr):
    assert gaps(read(labs=[ehr.bundle(ehr.observation())])) == [("labs", "wrong_type", HCT)]


@pytest.mark.parametrize("mode", ["outcome", "match", None])
@pytest.mark.parametrize(
    ("severity", "unknown"),
    [("fatal", True), ("error", True), ("warning", False), ("information", False), ("x", True)],
)
def test_an_outcome_among_the_results(read, ehr, mode, severity, unknown):
    entry = {"resource": ehr.outcome(severity), **({"search": {"mode": mode}} if mode else {})}
    chart = read(labs={"resourceType": "Bundle", "entry": [entry, {"resource": ehr.observation()}]})
    assert gaps(chart) == ([("labs", "outcome", HCT)] if unknown else [])
    assert [(r.reason, r.tell) for r in chart.refused] == [("outcome", False)]
    assert "HCT" in chart.measurements


def test_an_included_resource_is_not_a_result(read, ehr):
    bundle = {"resourceType": "Bundle", "entry": [{"resource": ehr.observation(), "search": {"mode": "include"}}]}
    chart = read(labs=bundle)
    assert not chart.measurements
    assert [r.reason for r in chart.refused] == ["included"]


@pytest.mark.parametrize(
    "entry", ["null", "5", '"x"', "{}", '{"fullUrl": "urn:uuid:1"}', '{"resource": null}', "[]"]
)
def test_an_entry_without_a_resource_makes_the_key_unknown(read, ehr, entry):
    value = b'{"resourceType":"Bundle","entry":[%s,{"resource":{"resourceType":"Observation"}}]}' % entry.encode()
    assert ("labs", "unreadable", HCT) in gaps(read(labs=value))


@pytest.mark.parametrize(
    "resource", ["5", '"x"', "[]", "{}", '{"resourceType": 7}', '{"id": "1"}', '{"resourceType":""}']
)
def test_a_resource_that_is_none_is_told_and_counted(read, resource):
    chart = read(labs=b'{"resourceType":"Bundle","entry":[{"resource":%s}]}' % resource.encode())
    assert [(r.source, r.reason, r.tell, set(r.covers)) for r in chart.refused] == [
        ("labs[0]", "unreadable", True, HCT)
    ]
    assert chart.resources_in == 2


@pytest.mark.parametrize("entries", ["5", '"x"', '{"a": 1}'])
def test_entries_that_are_no_list(read, entries):
    chart = read(labs=b'{"resourceType":"Bundle","entry":%s}' % entries.encode())
    assert [(key, kind) for key, kind, _ in gaps(chart)] == [("labs", "unreadable")]


def test_one_entry_without_a_list_is_read(read, ehr):
    assert "HCT" in read(labs={"resourceType": "Bundle", "entry": {"resource": ehr.observation()}}).measurements


def test_odd_members_of_an_entry_do_not_cost_the_resource(read, ehr):
    entry = {"fullUrl": 5, "search": "match", "resource": ehr.observation()}
    assert "HCT" in read(labs={"resourceType": "Bundle", "entry": [entry]}).measurements


# -- truncated ---------------------------------------------------------------------------------------

NEXT = [{"relation": "self", "url": "u"}, {"relation": "next", "url": "v"}]


def series(ehr, *days):
    return [ehr.observation(f"o{n}", on=day) for n, day in enumerate(days)]


@pytest.mark.parametrize("extra", [{"link": NEXT}, {"total": 3}, {"link": NEXT, "total": 9}])
def test_a_first_page_is_complete_down_to_the_day_after_its_last_entry(read, ehr, extra):
    # More results of 2026-05-04 itself may stand on the next page.
    chart = read(labs=ehr.bundle(*series(ehr, "2026-11-02", "2026-05-04"), **extra))
    (gap,) = chart.gaps
    assert (gap.kind, set(gap.covers), gap.complete_since) == ("truncated", HCT, date(2026, 5, 5))


@pytest.mark.parametrize("extra", [{}, {"total": 2}, {"total": 1}, {"link": [{"relation": "self", "url": "u"}]}])
def test_a_whole_result_is_not_truncated(read, ehr, extra):
    assert not read(labs=ehr.bundle(*series(ehr, "2026-11-02", "2026-05-04"), **extra)).gaps


@pytest.mark.parametrize(
    "days", [("2026-05-04", "2026-11-02"), ("2026-11-02", None), ("2026-11-02", "Invalid date"), ()]
)
def test_a_first_page_out_of_order_is_complete_from_no_day_on(read, ehr, days):
    (gap,) = read(labs=ehr.bundle(*series(ehr, *days), link=NEXT)).gaps
    assert (gap.kind, gap.complete_since) == ("truncated", None)


def test_entries_of_one_day_are_in_order(read, ehr):
    (gap,) = read(labs=ehr.bundle(*series(ehr, "2026-11-02", "2026-11-02", "2026-05-04"), link=NEXT)).gaps
    assert gap.complete_since == date(2026, 5, 5)


def test_a_month_counts_to_its_end(read, ehr):
    (gap,) = read(labs=ehr.bundle(*series(ehr, "2026-11-02", "2026-05"), link=NEXT)).gaps
    assert gap.complete_since == date(2026, 6, 1)


def test_a_key_without_order_is_complete_from_no_day_on(read, ehr):
    (gap,) = read(medications=ehr.bundle(ehr.request(), link=NEXT)).gaps
    assert (gap.key, gap.kind, gap.complete_since) == ("medications", "truncated", None)


def test_an_unreadable_entry_hides_the_order(read, ehr):
    bundle = ehr.bundle(*series(ehr, "2026-11-02", "2026-05-04"), ehr.observation("x", status=5), link=NEXT)
    assert [gap.complete_since for gap in read(labs=bundle).gaps] == [None]


def test_included_resources_do_not_count_for_the_total(read, ehr):
    bundle = ehr.bundle(*series(ehr, "2026-11-02"), total=2)
    bundle["entry"].append({"resource": {"resourceType": "Practitioner"}, "search": {"mode": "include"}})
    assert [gap.kind for gap in read(labs=bundle).gaps] == ["truncated"]


def test_keys_that_were_not_asked_for_are_not_looked_at(read, ehr):
    chart = read(surprise=[ehr.observation()])
    assert not chart.measurements
    assert chart.resources_in == 1


# -- hostile -----------------------------------------------------------------------------------------


def test_nesting_without_end_is_unreadable(read):
    deep = b"[" * 100_000 + b"]" * 100_000
    value = b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Observation","x":%s}}]}' % deep
    assert gaps(read(labs=value)) == [("labs", "unreadable", HCT)]


def test_a_name_of_a_type_does_not_reach_people_unless_it_is_a_word(read):
    value = b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"<img src=x>"}}]}'
    assert "<img" not in repr(read(labs=value))


def test_an_entry_that_needs_a_second_look_changes_nothing_for_the_others(read, ehr):
    """A page of good Observations is read at one go, any other one entry by entry."""
    results = [ehr.observation(f"o{number}", on=f"2026-0{number}-02") for number in (1, 2, 3)]
    whole = read(labs=ehr.bundle(*results))
    assert [str(m.value) for m in whole.measurements["HCT"]] == ["47.2"] * 3
    for odd in (ehr.outcome("information"), ehr.observation("odd", status=5), ehr.patient(), {"resourceType": 5}):
        for page in ([odd, *results], [*results, odd]):
            assert read(labs=ehr.bundle(*page)).measurements == whole.measurements


@pytest.mark.parametrize("mode", ["match", "outcome"])  # read at one go with its page, and on its own
def test_a_fault_of_ours_in_one_resource_is_told_and_costs_only_itself(knowledge, ehr, monkeypatch, mode):
    read = Observations.read

    def faulty(self, observation, entry):
        if observation.id == "bad":
            raise ZeroDivisionError
        return read(self, observation, entry)

    monkeypatch.setattr(Observations, "read", faulty)
    entries = [{"resource": ehr.observation(id_), "search": {"mode": mode}} for id_ in ("bad", "good")]
    labs = raw({"resourceType": "Bundle", "entry": entries})
    expected = EXPECTED[1:2]
    chart = read_chart({"labs": labs}, expected, patient_id="p", knowledge=knowledge, as_of=TODAY, zone=BERLIN)
    assert [m.source for m in chart.measurements["HCT"]] == ["Observation/good"]
    assert [(each.source, each.reason, each.covers, each.tell) for each in chart.refused] == [
        ("Observation/bad", "failed", frozenset(HCT), True)
    ]
    assert (chart.resources_in, chart.resources_used) == (2, 1)
