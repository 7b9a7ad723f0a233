"""The chart page: the road of a call, walked up to the picture of it.

    GET  /chart?patient=…&as_of=…&years=…   an example patient, beside the workbench and under its law

`smart.py` serves the same page to EHRs. What both show is made here, of what a patient-view call would bring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import cache, lru_cache
from typing import Any
from uuid import uuid4

import msgspec
from flask import Blueprint, Response, request
from msgspec import Raw

from cds_service.fhir.reader import read_chart
from cds_service.hooks.errors import HookError
from cds_service.hooks.request import read_request
from cds_service.hooks.routes import Desk
from cds_service.hooks.words import Words
from cds_service.rules.engine import evaluate
from cds_service.web import pages
from cds_service.web.chart_data import ChartData, chart_data
from cds_service.web.chart_drawing import drawing
from cds_service.web.visitors import refuse_strangers
from cds_service.web.workbench import Example, Tools, near

HOOK = "patient-view"
EVERYTHING = "all"
YEAR_DAYS = 365

View = Callable[[str, Mapping[str, Raw], date], ChartData]
"""From a patient's id, the answers to the prefetch templates and a day to what the page shows."""


def make_view(desk: Desk) -> View:
    """The road as calls go it, with the words compiled when the first page asks for them."""
    _, expected = next(entry for entry in desk.services.values() if entry[0].hook == HOOK)

    # What is judged in silence is not seen in a picture either.
    silent = {rule.id for rule in desk.knowledge.rules} if desk.silent_all else desk.silent

    @cache
    def words() -> Words:
        return Words(desk.knowledge, desk.wording)

    def view(patient_id: str, prefetch: Mapping[str, Raw], as_of: date) -> ChartData:
        chart = read_chart(
            prefetch, expected, patient_id=patient_id, knowledge=desk.knowledge, as_of=as_of, zone=desk.zone
        )
        evaluation = evaluate(chart, desk.knowledge, as_of=as_of, hook=HOOK, silent=frozenset(silent), traced=True)
        heard = tuple(outcome for outcome in evaluation.outcomes if outcome.rule not in silent)
        evaluation = msgspec.structs.replace(evaluation, outcomes=heard)
        if desk.silent_all:
            return msgspec.structs.replace(chart_data(chart, evaluation, words()), silent=True, unknown=())
        cards = desk.render(evaluation, chart, lambda: str(uuid4()))
        return chart_data(chart, evaluation, words(), cards)

    return view


def drawn(data: ChartData, years: str) -> dict[str, Any]:
    """The values of `chart_body.html`; `years` as in the words: a number of years before today, or `all`."""
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
    view = make_view(desk)

    @lru_cache(maxsize=1)
    def examples(day: date) -> dict[str, Example]:
        return {each.id: each for each in tools.examples(desk.knowledge, day)}

    @blueprint.get("/chart")
    def page() -> Response:
        today = desk.clock().astimezone(desk.zone).date()
        listed, words = examples(today), pages.words()["chart"]
        chosen = request.args.get("patient") or next(iter(listed))
        years = request.args.get("years", EVERYTHING)
        years = years if years in spans() else EVERYTHING
        as_of, problem, shown = today, "", {}
        try:
            as_of = near(date.fromisoformat(request.args.get("as_of") or today.isoformat()), today)
        except (ValueError, HookError):
            problem = words["bad_date"]
        if chosen not in listed:
            problem = words["no_example"]
        if not problem:
            call = read_request(listed[chosen].request, listed[chosen].hook)
            shown = drawn(view(call.patient_id, call.prefetch, as_of), years)
        response = pages.render(
            "chart.html",
            examples=listed.values(),
            chosen=chosen,
            as_of=as_of,
            years=years,
            problem=problem,
            **shown,
        )
        response.status_code = 400 if problem else 200
        return response

    return blueprint
