"""What the rules share: comparisons that are noted, doubts with their values, what shows that a test was done."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cds_service.chart import Order, Past, Refused
from cds_service.rules.outcome import Compared, Doubt
from tests.rules.conftest import back, chart, ctx, gap, measurement, switched, when

LIMIT = Decimal("54.0")

# -- what is noted for `explain` ---------------------------------------------------------------------


def test_a_comparison_is_about_the_marker_of_the_result_else_of_the_rule(knowledge):
    """A rule of the hematocrit may judge a hemoglobin; without a result it is about its own marker."""
    seen, holder, value = ctx(chart(), knowledge), {"marker": "HCT"}, Decimal(55)
    seen.steps = []
    other = measurement("HGB", "18.1")
    assert seen.compared(holder, "above", value, ">", LIMIT, True, other) is True
    assert seen.compared(holder, "above", value, ">", LIMIT, True) is True
    assert seen.compared(holder, "above", value, ">", LIMIT, None, subject="age") is None
    assert seen.steps == [
        Compared(holder, "above", "HGB", value, ">", LIMIT, True, other),
        Compared(holder, "above", "HCT", value, ">", LIMIT, True),
        Compared(holder, "above", "age", value, ">", LIMIT, None),
    ]


# -- doubts ------------------------------------------------------------------------------------------


def test_each_hole_of_an_area_is_a_doubt_of_its_own(knowledge):
    """The first list reaches far enough back; the second did not come, and a third resource was unreadable."""
    odd = Refused("Observation/1", "unreadable", "no number", frozenset(["HCT"]), tell=True)
    holes = [gap("HCT", kind="truncated", complete_since=400), gap("HCT")]
    seen = ctx(chart(gaps=holes, refused=[odd]), knowledge)
    assert seen.doubts("HCT", back(395)) == (
        Doubt("gap_absent", "HCT", {"key": "key", "detail": ""}),
        Doubt("refused", "HCT", {"source": "Observation/1", "detail": "no number"}),
    )


# -- what shows that a test was done -----------------------------------------------------------------


@pytest.mark.parametrize(("panel_ago", "result_ago"), [(5, 20), (20, 5)])
def test_a_panel_stands_among_the_results_by_its_day(knowledge, panel_ago, result_ago):
    site = switched(knowledge, panel_counts_as_done=True)
    panel = measurement("HCT", None, panel_ago, problem="panel")
    seen = ctx(chart(panel, measurement("HCT", "45", result_ago)), site)
    assert [m.day for m in seen.done("HCT")] == [back(5), back(20)]


def test_a_site_that_counts_panels_counts_nothing_else_that_was_not_performed(knowledge):
    site = switched(knowledge, panel_counts_as_done=True)
    undated = measurement("HCT", None, when=None, problem="panel")
    odd = measurement("HCT", "400", 5, problem="implausible")
    panel = measurement("HCT", None, 20, problem="panel")
    assert ctx(chart(odd, panel, undated), site).done("HCT") == (panel,)


# -- what was accepted (0.4.24) ----------------------------------------------------------------------


@pytest.mark.parametrize(("ago", "counts"), [(0, True), (14, True), (15, False)])
def test_a_suggestion_that_was_accepted_counts_as_an_order_for_as_long_as_the_site_says(knowledge, ago, counts):
    site = switched(knowledge, accepted_counts_days=14)
    seen = ctx(chart(), site, past=Past(accepted={"CBC": back(ago)}))
    ordered = seen.already_ordered(knowledge.tests["CBC"])
    taken = Order(
        frozenset(["HCT"]), knowledge.tests["CBC"].name, "", drafted=False, authored=when(ago), accepted=True
    )
    assert ordered == (taken if counts else None)
    assert seen.already_ordered(knowledge.tests["PSA"]) is None
