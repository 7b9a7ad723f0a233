"""The workbench: a page that plays the EHR, so that people can see, try and question the service.

    GET   /                         the page
    GET   /workbench/examples/{id}  the hook request for one example patient, its dates rolled to today
    POST  /workbench/call           {service, as_of, request, sitting}: the road of every call, on another day
    POST  /workbench/feedback       {service, as_of, request, sitting}: what the user did with its cards
    POST  /workbench/explain        {as_of, request, sitting}: how each rule ended, and why

On the day of today the page calls the service itself, as an EHR would. What is done on other days is kept apart, in
memory, for the sitting that it belongs to (`walks.py`). The page is served on a loopback host only, and only to
pages of its own: a name that an attacker points at this machine (DNS rebinding), a page of another origin
and a proxy that lets others in are refused.

The examples and the explanations are made on higher floors; whoever starts the service hands them in as `Tools`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from functools import cache, lru_cache
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from flask import Blueprint, Response, request

from cds_service.feedback.entries import keep
from cds_service.fhir.expected import Expected
from cds_service.hooks.body import Patience, read_body
from cds_service.hooks.current import this_call
from cds_service.hooks.discovery import Service
from cds_service.hooks.errors import HookError, Problem
from cds_service.hooks.feedback import read_feedback
from cds_service.hooks.request import check_media, read_request
from cds_service.hooks.routes import Desk, answer
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.systems import RXNORM
from cds_service.metrics import Watch
from cds_service.settings import Settings
from cds_service.web import pages
from cds_service.web.visitors import LOOPBACK_SERVERS, refuse_strangers
from cds_service.web.walks import Walks

_T = TypeVar("_T")

FARTHEST = timedelta(days=3660)
"""How far from today time may be moved."""

Explainer = Callable[[bytes, date, Desk], dict[str, Any]]
"""From a hook request, a day and the desk of that day to what `/workbench/explain` answers; ValueError if there is
no such request."""
Sitting = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f\-]{0,36}$")]
"""Names the visit of one page; '': nothing is remembered of other days."""


class Example(msgspec.Struct, frozen=True):
    """One example patient."""

    id: str
    title: str
    hook: str
    """The hook that shows what the example is about."""
    request: bytes
    """The hook request as JSON."""


class Tools(msgspec.Struct, frozen=True):
    """What the workbench needs of higher floors."""

    examples: Callable[[Knowledge, date], Sequence[Example]]
    """The example patients as they would stand on a day."""
    explainer: Callable[[Desk, Settings], Explainer]
    """The explanation of an answer over the desk of the service."""


class _Question(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    as_of: date
    request: msgspec.Raw
    sitting: Sitting = ""


class _Call(_Question, kw_only=True):
    service: str


def make_blueprint(desk: Desk, settings: Settings, tools: Tools) -> Blueprint:
    """The workbench over the same desk as the service itself."""
    blueprint = Blueprint("workbench", __name__)
    blueprint.before_request(refuse_strangers)
    drugs = drug_list(desk.knowledge)
    csp = pages.policy(connect=_fhir_origins(settings))
    walks = Walks(desk.store)

    @cache
    def explainer() -> Explainer:
        return tools.explainer(desk, settings)

    @lru_cache(maxsize=1)
    def examples(day: date) -> dict[str, Example]:
        return {example.id: example for example in tools.examples(desk.knowledge, day)}

    def today() -> date:
        return desk.clock().astimezone(desk.zone).date()

    @blueprint.get("/")
    def page() -> Response:
        day = today()
        listed = [{"id": each.id, "title": each.title, "hook": each.hook} for each in examples(day).values()]
        told = {"today": day.isoformat(), "examples": listed, "drugs": drugs, "rxnorm": RXNORM}
        seen = {"told": told, "examples": listed, "all_silent": desk.silent_all}
        return pages.render("workbench.html", csp=csp, posts=True, **seen)

    @blueprint.get("/workbench/examples/<name>")
    def example(name: str) -> Response:
        found = examples(today()).get(name)
        if found is None:
            raise HookError(404, [Problem("not-found", "no example of this name")])
        return Response(found.request, mimetype="application/json")

    @blueprint.post("/workbench/call")
    def call() -> Response:
        asked = _body(_Call, desk.patience)
        service, expected = _service_of(asked, desk)
        on_that_day = _desk_on(near(asked.as_of, today()), asked.sitting, desk, walks)
        cards = answer(read_request(bytes(asked.request), service.hook), expected, on_that_day, {}, Watch())
        if on_that_day.records:
            on_that_day.store.recorder.drain()
        return Response(msgspec.json.encode({"cards": cards}), mimetype="application/json")

    @blueprint.post("/workbench/feedback")
    def feedback() -> Response:
        asked = _body(_Call, desk.patience)
        service, _ = _service_of(asked, desk)
        if not asked.sitting:
            raise HookError(400, [Problem("required", "sitting: missing", "sitting")])
        there = _desk_on(near(asked.as_of, today()), asked.sitting, desk, walks)
        entries = read_feedback(bytes(asked.request))
        keep(there.store.engine, entries, client=this_call().client, service=service.id, now=there.clock())
        return Response(b"{}", mimetype="application/json")

    @blueprint.post("/workbench/explain")
    def explain() -> Response:
        asked = _body(_Question, desk.patience)
        on_that_day = _desk_on(near(asked.as_of, today()), asked.sitting, desk, walks)
        try:
            told = explainer()(bytes(asked.request), asked.as_of, on_that_day)
        except ValueError as error:
            raise HookError(400, [Problem("invalid", f"request: {error}", "request")]) from error
        return Response(msgspec.json.encode(told), mimetype="application/json")

    return blueprint


def _desk_on(day: date, sitting: str, desk: Desk, walks: Walks) -> Desk:
    """The desk as it is on a day.

    A walk through time is no call of an EHR: it is kept apart, and what it found is neither logged nor counted.
    """
    noon = datetime.combine(day, time(12), tzinfo=desk.zone)
    store = walks.of(sitting) if sitting else desk.store
    return msgspec.structs.replace(desk, clock=lambda: noon, store=store, records=bool(sitting))


def _service_of(asked: _Call, desk: Desk) -> tuple[Service, tuple[Expected, ...]]:
    """The service that a call is for, and its data. Raises HookError (404)."""
    if asked.service not in desk.services:
        raise HookError(404, [Problem("not-found", "service: no service of this id", "service")])
    this_call().facts["service"] = asked.service
    return desk.services[asked.service]


def drug_list(knowledge: Knowledge) -> list[dict[str, str]]:
    """One product of each agent and form that the knowledge knows, the one with the shortest name.

    Each has `group` (name of the therapy), `agent`, `form`, `code` (RxCUI) and `name`; sorted by group and name.
    """
    shortest: dict[tuple[str, ...], Any] = {}
    for product in knowledge.products.values():
        if product.keys and product.tty == "SCD":
            kind = (*product.keys, product.agent, product.form)
            other = shortest.get(kind)
            if other is None or (len(product.name), product.name) < (len(other.name), other.name):
                shortest[kind] = product
    found = [
        {
            "group": knowledge.therapies[product.keys[0]].name,
            "agent": product.agent,
            "form": product.form,
            "code": product.code,
            "name": product.name,
        }
        for product in shortest.values()
    ]
    return sorted(found, key=lambda drug: (drug["group"].lower(), drug["name"].lower()))


def _fhir_origins(settings: Settings) -> Sequence[str]:
    """Where the page may read FHIR from: the listed servers, else those on loopback."""
    listed = dict.fromkeys(urlsplit(server.url)[:2] for server in settings.fhir_servers)
    return tuple(f"{scheme}://{place}" for scheme, place in listed) or LOOPBACK_SERVERS


def near(as_of: date, today: date) -> date:
    """The day, if it is one to which time may be moved. Raises HookError (400)."""
    if abs(as_of - today) > FARTHEST:
        text = f"as_of: expected a day within {FARTHEST.days} days of today"
        raise HookError(400, [Problem("value", text, "as_of")])
    return as_of


def _body(kind: type[_T], patience: Patience) -> _T:
    """The JSON body of the current call. Raises HookError (400, 408, 413, 415)."""
    check_media(request.headers.get("Content-Type", ""), request.headers.get("Content-Encoding", ""))
    try:
        return msgspec.json.decode(read_body(patience), type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise HookError(400, [Problem("structure", f"body: {error}")]) from error
