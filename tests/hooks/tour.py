"""A tour of charts on which the rules say every sentence that they know, at least once.

A stop is a name, a chart, a hook and the site's switches. Text that a chart may hold comes from `text`: plain words
for the tests of wording, hostile ones for the tests of escaping.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, get_args

import msgspec

from cds_service.chart import Chart, Gap, GapKind, Measurement, Past, Refused, SetAside, When
from cds_service.hooks.cards import Renderer, make_renderer
from cds_service.hooks.words import Words
from cds_service.knowledge.model import Knowledge
from cds_service.rules.outcome import Evaluation
from tests.rules.conftest import (
    back,
    chart,
    condition,
    course,
    draft,
    gap,
    judge,
    measurement,
    month,
    on_testosterone,
    order,
    supply,
    switched,
    when,
)

VIEW, SIGN = "patient-view", "order-sign"
GAPS = get_args(GapKind)
ISSUED = msgspec.structs.replace(when(10), issued=True)


class Stop(msgspec.Struct, frozen=True):
    """One evaluation of the tour."""

    name: str
    chart: Chart
    hook: str = VIEW
    switches: dict[str, Any] = {}
    past: Past = Past()

    def evaluation(self, knowledge: Knowledge) -> Evaluation:
        return judge(self.chart, switched(knowledge, **self.switches), self.hook, past=self.past)

    def cards(self, knowledge: Knowledge, profile: str = "generic") -> list[dict[str, Any]]:
        """The cards of this stop, with numbered uuids."""
        return renderer(knowledge, profile)(self.evaluation(knowledge), self.chart, numbered())


_RENDERERS: dict[tuple[int, str], tuple[Knowledge, Renderer]] = {}


def renderer(knowledge: Knowledge, profile: str = "generic") -> Renderer:
    """The renderer of this knowledge, compiled once. (The knowledge is kept, so that its id stays its own.)"""
    if (id(knowledge), profile) not in _RENDERERS:
        _RENDERERS[id(knowledge), profile] = (knowledge, make_renderer(knowledge, profile))
    return _RENDERERS[id(knowledge), profile][1]


def numbered() -> Callable[[], str]:
    """uuid 1, uuid 2, …"""
    count = iter(range(1000))
    return lambda: f"00000000-0000-4000-8000-{next(count):012d}"


def stops(text: str = "as in the chart") -> list[Stop]:
    """All stops; `text` stands wherever a chart may hold words of others."""
    return [*_results(text), *_monitoring(text), *_ordering(text), *_quality(text), *_rises(text)]


def result(marker: str, value: str | None, on: Any = 10, text: str = "", **fields: Any) -> Measurement:
    """A result that the laboratory wrote as `text`."""
    wording = {"reported": text, "reported_unit": text} if text else {}
    return measurement(marker, value, on, **(wording | fields))


def _results(text: str) -> list[Stop]:
    odd = result(
        "HCT",
        "55.0",
        text=text,
        when=ISSUED,
        unit_inferred=True,
        traits=frozenset(["estimated", "calculated"]),
        conflict=True,
        interpretation="HH",
    )
    later = result("HCT", None, 3, text, problem="text")
    blurred = result("HCT", "53.0", text=text, when=month(date(2026, 10, 1)), interpretation=text)
    testo, gel = supply("injection", text, 500), supply("topical", text, 5)
    words: dict[str, Any] = {"supplies": [testo], "recognised": text, "from_text": True}
    estradiol = result("E2", "45", text=text, reference_high=measurement("E2", "38").value)
    return [
        Stop("odd result", on_testosterone(odd, later, result("HCT", "51", 100, text), start=500)),
        Stop("month", chart(blurred, therapies=[course(start=500, on_hold=True, **words)])),
        Stop("changed since", chart(odd, therapies=[course(supplies=[gel, testo], dose_changed=back(5))])),
        Stop("start unknown", on_testosterone(odd, start=None)),
        Stop("route unknown", _on_estradiol(text)),
        Stop(
            "last dose long ago",
            chart(odd, therapies=[course(start=300, end=100, unsure=True, given=(when(100),))]),
        ),
        Stop(
            "set aside long ago",
            on_testosterone(result("HCT", "51.0", 40, text), start=500),
            past=Past({"HCT-3": (SetAside(back(40), "will_monitor", "info"),)}),
        ),
        Stop("the laboratory's own limit", on_testosterone(estradiol, start=500)),
        Stop("target", on_testosterone(result("TT", "1100", text=text), start=500), switches={"tt_target": "seed"}),
        Stop("trend", on_testosterone(*_series("46", "49", "51.9", text=text), start=300)),
        Stop("trend alone", on_testosterone(*_series("42", "46", "50", text=text), start=300)),
        Stop("bound", on_testosterone(result("HCT", ">53", text=text), start=500)),
    ]


def _series(*values: str, text: str = "") -> list[Measurement]:
    return [result("HCT", value, 200 - 90 * place, text) for place, value in enumerate(values)]


def _monitoring(text: str) -> list[Stop]:
    both = [result("TT", "1100", 20, text, time="09:30"), result("SHBG", "30", 20, text)]
    with_albumin = [result("ALB", "4.5", 20, text), result("FT", "200", 20, text)]
    waiting = result("HCT", "45", 1, text, status="preliminary")
    return [
        Stop("calculated", on_testosterone(*both, start=60)),
        Stop("calculated and measured", on_testosterone(*both, *with_albumin, start=60)),
        Stop(
            "one test set aside",
            on_testosterone(result("TT", "480", 190, text), start=130),
            past=Past(
                {
                    "MISS-male_trt": (
                        SetAside(back(5), "patient_declined", "warning", frozenset(["E2", "HCT_OR_HGB", "CBC"])),
                    )
                }
            ),
        ),
        Stop("3 months", on_testosterone(result("TT", "480", 190, text), start=130)),
        Stop(
            "ordered",
            on_testosterone(waiting, start=80, orders=[order("E2", authored=3), order("PSA", drafted=True)]),
        ),
        Stop("late baseline", on_testosterone(result("PSA", "1.1", 2, text), start=20)),
        Stop("yearly", on_testosterone(result("TT", "480", 380, text), start=None)),
        Stop(
            "data missing",
            on_testosterone(start=20, gaps=[Gap("labs1", "absent", text, frozenset(["HCT", "PSA"]))]),
        ),
    ]


def _rises(text: str) -> list[Stop]:
    def drug(start: int, end: int | None = None) -> Any:
        return course("FIVE_ARI", start, end, supplies=[supply("oral", text, start, end)])

    high, low = result("PSA", "5.0", 10, text), result("PSA", "<0.1", 310, text)
    return [
        Stop("rise", on_testosterone(result("PSA", "2.6", 10, text), result("PSA", "1.0", 310, text), start=300)),
        Stop("rise from below detection", on_testosterone(result("PSA", "2.6", 10, text), low, start=300)),
        Stop("rise beside a limit", on_testosterone(high, result("PSA", "1.0", 310, text), start=300)),
        Stop("doubled", on_testosterone(high, start=500, therapies=[drug(400)])),
        Stop("doubled, start unknown", on_testosterone(high, start=500, therapies=[_unknown_start(drug(400))])),
        Stop("falling", on_testosterone(high, result("PSA", "1.0", 310, text), start=300, therapies=[drug(130)])),
        Stop("washed out", on_testosterone(high, start=500, therapies=[drug(400, 100)])),
    ]


def _unknown_start(drug: Any) -> Any:
    return msgspec.structs.replace(drug, start=None)


def _ordering(text: str) -> list[Stop]:
    def named(concept: str, **fields: Any) -> Any:
        return condition(concept, **({"name": text, "code": f"code {text}"} | fields))

    written = draft(name=text, agent=text, recognised=text, from_text=True)
    recorded = when(30)
    many = [
        named("mi", onset=month(date(2026, 7, 1)), uncertain=True),
        named("stroke", recorded=recorded),
        named("vte", active=False),
        named("prostate_cancer", onset=date(2024, 3, 2)),
        named("fertility_wish"),
    ]
    pair = [result("TT", "400", 310, text, time="12:00"), result("TT", "410", 100, text)]
    values = [result("HCT", "55", 100, text), result("PSA", "8", 100, text)]
    return [
        Stop("a first order", chart(drafts=[written]), SIGN),
        Stop("an order with reasons against it", chart(*pair, *values, drafts=[written], conditions=many), SIGN),
        Stop("at 66", chart(drafts=[written], birth=date(1960, 1, 1)), SIGN),
        Stop("undated", chart(drafts=[written], conditions=[named("mi")]), SIGN),
        Stop("end not dated", chart(drafts=[written], conditions=[named("heart_failure", end_unknown=True)]), SIGN),
        Stop("date of record", chart(drafts=[written], conditions=[named("mi", recorded=recorded)]), SIGN),
        Stop("estradiol drafted on levothyroxine", _drafting_estradiol(text), SIGN),
        Stop("year of birth only", chart(drafts=[written], birth=_year(1961)), SIGN),
        Stop("minor", chart(drafts=[written], birth=date(2012, 1, 1)), SIGN),
        Stop("no sex", chart(drafts=[written], sex=None), SIGN),
        Stop("no birth date", on_testosterone(start=500, birth=None)),
    ]


def _on_estradiol(text: str) -> Chart:
    """A woman with high triglycerides on estradiol of which nobody knows how she takes it."""
    estradiol = course("ESTRADIOL", 100, form="unknown", agent=text)
    return chart(result("TRIG", "1200", text=text), therapies=[estradiol], sex="female", birth=date(1970, 1, 1))


def _drafting_estradiol(text: str) -> Chart:
    """A woman on levothyroxine for whom estradiol is drafted, and not how she will take it."""
    estradiol = draft("ESTRADIOL", form="unknown", agent=text)
    return chart(therapies=[course("LEVOTHYROXINE", 400)], drafts=[estradiol], sex="female", birth=date(1970, 1, 1))


def _year(number: int) -> When:
    return When(date(number, 1, 1), date(number, 12, 31), "year")


def _quality(text: str) -> list[Stop]:
    problems = ("no_unit", "unknown_unit", "implausible", "text", "range", "no_value", "future", "panel")
    refused = Refused("Observation/1", "unreadable", text, frozenset(["PSA", "E2"]), tell=True)
    undated = result("TT", None, 10, text, problem="undated", when=None)
    conflict = result("LH", "5", 10, text, conflict=True)
    return [
        *(
            Stop(
                problem,
                on_testosterone(result("TT", None, -5 if problem == "future" else 10, text, problem=problem)),
            )
            for problem in problems
        ),
        Stop("undated", on_testosterone(undated)),
        Stop("conflict", on_testosterone(conflict, start=20)),
        Stop("refused", on_testosterone(start=200, refused=[refused])),
        *(Stop(f"gap {kind}", on_testosterone(gaps=[_gap(kind, text)])) for kind in GAPS),
        Stop(
            "a doubt beside a value",
            on_testosterone(result("HCT", "55", text=text), gaps=[_gap("absent", text, "HCT")]),
        ),
        Stop("not every list", chart(drafts=[draft()], gaps=[gap("conditions", "orders", kind="null")]), SIGN),
    ]


def _gap(kind: str, text: str, *covers: str) -> Gap:
    covered = covers or ("TT", "E2", "medications", "patient")
    return Gap(text, kind, text, frozenset(covered), back(50) if kind == "truncated" else None)  # type: ignore[arg-type]


def spoken(knowledge: Knowledge, monkeypatch: Any) -> dict[str, set[str]]:
    """Message -> names of the stops whose cards say it."""
    said: dict[str, set[str]] = {}
    current = ""
    plain_say = Words.say

    def say(words: Words, message: str, /, **values: Any) -> Any:
        said.setdefault(message, set()).add(current)
        return plain_say(words, message, **values)

    monkeypatch.setattr(Words, "say", say)
    make_renderer(knowledge)  # which words the suggestions of all tests
    for stop in stops():
        current = stop.name
        stop.cards(knowledge)
    return said
