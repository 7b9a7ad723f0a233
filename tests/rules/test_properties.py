"""What holds for every chart: the order of lists, markers that nobody needs, and law 1, never a false all-clear."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cds_service.chart import Chart
from cds_service.rules.outcome import Evaluation, Result
from tests.rules.conftest import (
    chart,
    condition,
    course,
    draft,
    gap,
    judge,
    measurement,
    messages,
    order,
    procedure,
)

HOOKS = ["patient-view", "order-select", "order-sign"]


def words(evaluation: Evaluation) -> dict[str, str]:
    return {o.rule: o.result for o in evaluation.outcomes}


VALUES = {
    "HCT": st.sampled_from(["45", "50.1", "52.1", "54.0", "54.1", ">50", "<54"]),
    "HGB": st.sampled_from(["14", "18.1"]),
    "PSA": st.sampled_from(["<0.1", "1.0", "2.1", "4.5"]),
    "TT": st.sampled_from(["200", "300", "500", "700", "950", "1200"]),
    "SHBG": st.sampled_from(["20", "45"]),
    "E2": st.sampled_from(["20", "60"]),
    "ALB": st.just("4.0"),
    "LDL": st.sampled_from(["100", "190"]),
    "HCG": st.sampled_from(["5", "30"]),
}
RESULT = st.sampled_from(sorted(VALUES)).flatmap(
    lambda marker: st.builds(
        measurement,
        st.just(marker),
        VALUES[marker],
        st.integers(0, 500),
        problem=st.sampled_from(["", "", "", "implausible", "text"]),
        status=st.sampled_from(["final", "final", "preliminary"]),
    )
)
COURSES = st.tuples(
    st.sampled_from([(), (course(start=400),), (course(start=None),), (course(start=70, form="topical"),)]),
    st.sampled_from(
        [(), (course("FIVE_ARI", start=300, form="oral"),), (course("FIVE_ARI", start=100, form="oral"),)]
    ),
    st.sampled_from([(), (course("FIVE_ARI", start=900, end=420, form="oral"),)]),
    st.sampled_from([(), (course("HCG", start=90),)]),
).map(lambda groups: [one for group in groups for one in group])
CONDITIONS = st.lists(
    st.sampled_from(
        [
            condition("prostate_cancer"),
            condition("prostate_cancer", uncertain=True, source="Condition/maybe"),
            condition("mi", onset=100),
            condition("vte", active=False),
            condition("pregnancy", uncertain=True),
            condition("fertility_wish"),
        ]
    ),
    unique=True,
)
PARTS: dict[str, st.SearchStrategy[Any]] = {
    "therapies": COURSES,
    "conditions": CONDITIONS,
    "orders": st.lists(st.sampled_from([order("TT"), order("HCT", "HGB"), order("PSA", authored=91)]), unique=True),
    "drafts": st.lists(
        st.sampled_from([draft(), draft(source="MedicationRequest/2", from_text=True), draft("FIVE_ARI")]),
        unique=True,
    ),
    "procedures": st.lists(st.just(procedure("cpap")), max_size=1),
    "gaps": st.lists(
        st.sampled_from([gap("HCT"), gap("conditions"), gap("TT", kind="truncated", complete_since=90)]),
        unique=True,
    ),
}
CHARTS = st.builds(
    lambda results, parts: chart(*results, **parts), st.lists(RESULT, max_size=12), st.fixed_dictionaries(PARTS)
)


def gist(evaluation: Evaluation) -> Any:
    """All that a card is made of, without the order of facts that mean the same."""
    findings = [
        (
            f.rule.id,
            f.indicator,
            f.marker,
            f.result,
            f.value,
            f.limit,
            f.due,
            f.tests,
            sorted(test for test, _ in f.ordered),
            sorted(messages(f)),
            sorted(map(repr, f.facts)),
        )
        for f in evaluation.findings
    ]
    outcomes = [(o.rule, o.result, o.reason, o.next_due) for o in evaluation.outcomes]
    return findings, outcomes, sorted(map(repr, (doubt.key() for doubt in evaluation.doubts)))


@settings(max_examples=80, deadline=None)
@given(patient=CHARTS, hook=st.sampled_from(HOOKS), data=st.data())
def test_the_order_of_the_lists_changes_nothing(knowledge, patient: Chart, hook, data):
    shuffled = {name: tuple(data.draw(st.permutations(getattr(patient, name)))) for name in PARTS}
    other = msgspec.structs.replace(patient, **shuffled)
    assert gist(judge(other, knowledge, hook)) == gist(judge(patient, knowledge, hook))


@settings(max_examples=60, deadline=None)
@given(
    patient=CHARTS, hook=st.sampled_from(HOOKS), age=st.integers(0, 500), problem=st.sampled_from(["", "no_unit"])
)
def test_results_of_markers_that_nobody_needs_change_nothing(knowledge, patient: Chart, hook, age, problem):
    extra = {
        key: (measurement(key, "1", age, problem=problem),) for key in ("TSH", "PRL", "AMH", "IGF1", "K", "NHDL")
    }
    other = msgspec.structs.replace(patient, measurements={**patient.measurements, **extra})
    before, after = judge(patient, knowledge, hook), judge(other, knowledge, hook)
    assert (after.findings, after.doubts) == (before.findings, before.doubts)


@settings(max_examples=80, deadline=None)
@given(patient=CHARTS, hook=st.sampled_from(HOOKS))
def test_no_chart_makes_a_rule_fail(knowledge, patient: Chart, hook):
    evaluation = judge(patient, knowledge, hook)
    assert [(o.rule, o.failed) for o in evaluation.outcomes if o.failed] == []
    assert {o.result for o in evaluation.outcomes} <= set(get_args(Result))
    assert len(evaluation.findings) == len({f.rule.id for f in evaluation.findings})


@settings(max_examples=60, deadline=None)
@given(
    patient=CHARTS,
    hook=st.sampled_from(HOOKS),
    area=st.sampled_from(["HCT", "PSA", "TT", "conditions", "medications"]),
)
def test_missing_data_never_turn_unknown_into_fine(knowledge, patient: Chart, hook, area):
    """More of it unknown: what was unknown or a finding may not become fine."""
    other = msgspec.structs.replace(patient, gaps=(*patient.gaps, gap(area)))
    before, after = words(judge(patient, knowledge, hook)), words(judge(other, knowledge, hook))
    calmed = {rule for rule, word in after.items() if word == "fine" and before[rule] in ("unknown", "finding")}
    assert calmed == set()


# Only the drug, which halves the value, makes this PSA a finding.
DOUBLED = chart(
    measurement("PSA", "2.1", 5),
    therapies=[course(start=200), course("FIVE_ARI", start=300, form="oral")],
)


def without(patient: Chart, area: str) -> Chart:
    """The same chart as an EHR sends it that leaves out one list, but for the course of testosterone."""
    hidden: dict[str, Any] = {"gaps": (*patient.gaps, gap(area))}
    if area == "medications":
        hidden["therapies"] = tuple(t for t in patient.therapies if t.key == "TESTOSTERONE")
    elif area == "conditions":
        hidden["conditions"] = ()
    else:
        hidden["measurements"] = {key: found for key, found in patient.measurements.items() if key != area}
    return msgspec.structs.replace(patient, **hidden)


@settings(max_examples=150, deadline=None)
@given(
    patient=CHARTS,
    hook=st.sampled_from(HOOKS),
    area=st.sampled_from([*sorted(VALUES), "conditions", "medications"]),
)
@example(patient=DOUBLED, hook="patient-view", area="medications")
@example(
    patient=msgspec.structs.replace(DOUBLED, drafts=(draft(),), therapies=DOUBLED.therapies[1:]),
    hook="order-sign",
    area="medications",
)
def test_no_list_that_is_left_out_makes_a_false_all_clear(knowledge, patient: Chart, hook, area):
    """Law 1: what is found in the whole chart may become unknown, but not fine, when a part of it is not sent."""
    whole, cut = words(judge(patient, knowledge, hook)), words(judge(without(patient, area), knowledge, hook))
    assert {rule for rule, word in cut.items() if word == "fine" and whole[rule] == "finding"} == set()
