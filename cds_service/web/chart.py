"""The chart page: the road of a call, walked up to the picture of it.

    GET   /chart?patient=…&as_of=…&years=…   an example patient, beside the workbench and under its law
    POST  /chart                             the chart that is open in the workbench: a form with `request`, the
                                             hook request that it would send, `as_of` and `years`

`smart.py` serves the same page to EHRs. What both show is made here, of what a patient-view call would bring; what
makes it is loaded when somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
from flask import Blueprint, Response, request

from cds_service.chart import Chart
from cds_service.fhir.expected import Expected
from cds_service.hooks.body import read_body
from cds_service.hooks.errors import HookError
from cds_service.hooks.request import read_request
from cds_service.hooks.routes import Desk, chart_of
from cds_service.metrics import Watch
from cds_service.rules.engine import evaluate
from cds_service.web import pages
from cds_service.web.visitors import refuse_strangers
from cds_service.web.workbench import Example, Tools, near

if TYPE_CHECKING:
    from cds_service.web.chart_data import ChartData

HOOK = "patient-view"
EVERYTHING = "all"
YEAR_DAYS = 365

View = Callable[[Chart, date], "ChartData"]
"""From a chart and a day to what the page shows."""


def make_view(desk: Desk) -> View:
    """The road as calls go it."""
    # What is judged in silence is not seen in a picture either.
    silent = {rule.id for rule in desk.knowledge.rules} if desk.silent_all else desk.silent

    def view(chart: Chart, as_of: date) -> ChartData:
        from cds_service.web.chart_data import chart_data

        evaluation = evaluate(chart, desk.knowledge, as_of=as_of, hook=HOOK, silent=frozenset(silent), traced=True)
        heard = tuple(outcome for outcome in evaluation.outcomes if outcome.rule not in silent)
        evaluation = msgspec.structs.replace(evaluation, outcomes=heard)
        if desk.silent_all:
            return msgspec.structs.replace(chart_data(chart, evaluation, desk.words), silent=True, unknown=())
        cards = desk.render(evaluation, chart, lambda: str(uuid4()))
        return chart_data(chart, evaluation, desk.words, cards)

    return view


def expected_of(desk: Desk) -> tuple[Expected, ...]:
    """What the chart page is drawn of: the data of a patient-view call."""
    return next(expected for service, expected in desk.services.values() if service.hook == HOOK)


def drawn(data: ChartData, years: str) -> dict[str, Any]:
    """The values of `chart_body.html`; `years` as in the words: a number of years before today, or `all`."""
    from cds_service.web.chart_drawing import drawing

    since = data.as_of - timedelta(days=YEAR_DAYS * int(years)) if years != EVERYTHING else None
    return {"data": data, "drawing": drawing(data, since=since)}


def spans() -> Mapping[str, str]:
    """The choices of the time that is shown, with their words."""
    choices: Mapping[str, str] = pages.words()["chart"]["years"]
    return choices


def make_blueprint(desk: Desk, tools: Tools) -> Blueprint:
    """The page for the example patients."""
    blueprint = Blueprint("chart", __name__)
    blueprint.before_request(refuse_strangers)
    view, expected = make_view(desk), expected_of(desk)

    @lru_cache(maxsize=1)
    def examples(day: date) -> dict[str, Example]:
        return {each.id: each for each in tools.examples(desk.knowledge, day)}

    @blueprint.get("/chart")
    @blueprint.post("/chart")
    def page() -> Response:
        request.max_form_memory_size = None  # the body is bounded as any other
        if request.method == "POST":
            request.environ["wsgi.input"] = BytesIO(read_body(desk.patience))  # where Flask takes forms from
        today = desk.clock().astimezone(desk.zone).date()
        listed, words = examples(today), pages.words()["chart"]
        opened = request.form.get("request", "")
        chosen = request.values.get("patient") or next(iter(listed))
        years = request.values.get("years", EVERYTHING)
        years = years if years in spans() else EVERYTHING
        as_of, problem, shown = today, "", {}
        try:
            as_of = near(date.fromisoformat(request.values.get("as_of") or today.isoformat()), today)
        except (ValueError, HookError):
            problem = words["bad_date"]
        if not opened and chosen not in listed:
            problem = words["no_example"]
        if not problem:
            call = (
                read_request(opened.encode(), HOOK)
                if opened
                else read_request(listed[chosen].request, listed[chosen].hook)
            )
            reading = chart_of(call, expected, desk, as_of, Watch())
            shown = drawn(view(reading.chart, as_of), years)
        response = pages.render(
            "chart.html",
            posts=bool(opened),
            examples=listed.values(),
            opened=opened,
            chosen=chosen,
            as_of=as_of,
            years=years,
            problem=problem,
            **shown,
        )
        response.status_code = 400 if problem else 200
        return response

    return blueprint
