"""The workbench: a page that plays the EHR, so that people can see, try and question the service.

    GET   /                         the page
    GET   /workbench/examples/{id}  the hook request for one example patient, its dates rolled to today
    POST  /workbench/call           {service, as_of, request}: the road of every call, walked on another day
    POST  /workbench/explain        {as_of, request}: how each rule ended, and why

On the day of today the page calls the service itself, as an EHR would. It is served on a loopback host only, and
only to pages of its own: a name that an attacker points at this machine (DNS rebinding), a page of another origin
and a proxy that lets others in are refused.

The examples and the explanations are made on higher floors; whoever starts the service hands them in as `Tools`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from functools import cache, lru_cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from flask import Blueprint, Response, request

from cds_service.hooks.errors import HookError, Problem
from cds_service.hooks.request import check_media, read_request
from cds_service.hooks.routes import Desk, answer
from cds_service.knowledge.model import Knowledge
from cds_service.metrics import Watch
from cds_service.settings import Settings
from cds_service.web import pages
from cds_service.web.visitors import LOOPBACK_SERVERS, refuse_strangers

_T = TypeVar("_T")

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
FARTHEST = timedelta(days=3660)
"""How far from today time may be moved."""

Explainer = Callable[[bytes, date], dict[str, Any]]
"""From the bytes of a hook request and a day to what `/workbench/explain` answers; ValueError if it is none."""


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


class _Call(msgspec.Struct, forbid_unknown_fields=True):
    service: str
    as_of: date
    request: msgspec.Raw


class _Question(msgspec.Struct, forbid_unknown_fields=True):
    as_of: date
    request: msgspec.Raw


def make_blueprint(desk: Desk, settings: Settings, tools: Tools) -> Blueprint:
    """The workbench over the same desk as the service itself."""
    blueprint = Blueprint("workbench", __name__)
    blueprint.before_request(refuse_strangers)
    drugs = drug_list(desk.knowledge)
    csp = pages.policy(connect=_fhir_origins(settings))

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
        return pages.render("workbench.html", csp=csp, told=told, examples=listed)

    @blueprint.get("/workbench/examples/<name>")
    def example(name: str) -> Response:
        found = examples(today()).get(name)
        if found is None:
            raise HookError(404, [Problem("not-found", "no example of this name")])
        return Response(found.request, mimetype="application/json")

    @blueprint.post("/workbench/call")
    def call() -> Response:
        asked = _body(_Call)
        if asked.service not in desk.services:
            raise HookError(404, [Problem("not-found", "service: no service of this id", "service")])
        service, expected = desk.services[asked.service]
        noon = datetime.combine(near(asked.as_of, today()), time(12), tzinfo=desk.zone)
        # A walk through time is no call of an EHR: it is not kept, and what it found is neither logged nor counted.
        on_that_day = msgspec.structs.replace(desk, clock=lambda: noon, records=False)
        cards = answer(read_request(bytes(asked.request), service.hook), expected, on_that_day, {}, Watch())
        return Response(msgspec.json.encode({"cards": cards}), mimetype="application/json")

    @blueprint.post("/workbench/explain")
    def explain() -> Response:
        asked = _body(_Question)
        day = near(asked.as_of, today())
        try:
            told = explainer()(bytes(asked.request), day)
        except ValueError as error:
            raise HookError(400, [Problem("invalid", f"request: {error}", "request")]) from error
        return Response(msgspec.json.encode(told), mimetype="application/json")

    return blueprint


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


def _body(kind: type[_T]) -> _T:
    """The JSON body of the current call. Raises HookError (400, 415)."""
    check_media(request.headers.get("Content-Type", ""), request.headers.get("Content-Encoding", ""))
    try:
        return msgspec.json.decode(request.get_data(), type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise HookError(400, [Problem("structure", f"body: {error}")]) from error
