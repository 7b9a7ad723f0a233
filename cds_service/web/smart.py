"""The chart page as an app that EHRs launch (SMART App Launch 2, EHR launch, public client with PKCE).

    GET   /smart/launch?iss=…&launch=…   where the EHR opens the app: its script goes on to the EHR's sign-in
    GET   /smart/chart?code=…&state=…    where the EHR sends the browser back to: its script reads the chart
    POST  /smart/view                    what that script has read: the page to show, or its data as JSON

The app lives in the browser. The EHR's token never leaves it but for the FHIR server that gave it: this service
sees the patient's resources, as in a call of a hook, and keeps nothing. Only listed FHIR servers are spoken to;
the Content-Security-Policy holds the browser to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Annotated

import msgspec
from flask import Blueprint, Response, render_template, request
from msgspec import Raw

from cds_service.fhir.client import Page, joined, opened
from cds_service.fhir.expected import Expected
from cds_service.fhir.hosts import Hosts, take_apart
from cds_service.fhir.reader import read_chart
from cds_service.fhir.unanswered import Unanswered
from cds_service.hooks.body import Patience, read_body
from cds_service.hooks.errors import HookError, Problem
from cds_service.hooks.request import ID, check_media
from cds_service.hooks.routes import Desk
from cds_service.settings import Settings
from cds_service.web import pages
from cds_service.web.chart import EVERYTHING, drawn, expected_of, make_view, spans
from cds_service.web.visitors import LOOPBACK_SERVERS

SEARCH = frozenset({"Bundle"})


class Reading(msgspec.Struct, forbid_unknown_fields=True):
    """What the script of the page has read from the EHR."""

    patient: Annotated[str, msgspec.Meta(pattern=rf"^{ID}\Z")]
    pages: dict[str, list[Raw]]
    """Prefetch key -> the resource, or the pages of the Bundle, as they came; none: it could not be had."""
    years: str = EVERYTHING


def make_blueprint(desk: Desk, settings: Settings) -> Blueprint:
    """The app; its addresses are those of `settings.smart_url`."""
    blueprint = Blueprint("smart", __name__, url_prefix="/smart")
    hosts, view, expected = Hosts(settings), make_view(desk), expected_of(desk)
    sites = _sites(settings)
    csp = pages.policy(connect=sites, ancestors=sites)
    told = {
        "scopes": settings.smart_scopes,
        "types": _types(expected),
        "url": settings.smart_url,
        "origins": settings.smart_origins,
        "templates": {item.key: item.template for item in expected},
        "most": settings.fhir_max_pages,
        "words": pages.words()["smart"],
        "locale": msgspec.structs.asdict(desk.wording.locale),
    }

    @blueprint.get("/launch")
    def launch() -> Response:
        iss = request.args.get("iss", "").rstrip("/")
        server = hosts.find(iss)
        client = (server.smart_client_id or settings.smart_client_id) if server else ""
        response = pages.render(
            "smart_launch.html",
            csp=csp,
            told={**told, "iss": iss if client else "", "client": client},
            refusal="" if client else "no_client" if server else "not_listed",
        )
        response.status_code = 200 if client else 403
        return response

    @blueprint.get("/chart")
    def chart() -> Response:
        return pages.render("smart_chart.html", csp=csp, told=told, spans=spans())

    @blueprint.post("/view")
    def show() -> Response:
        reading = _reading(settings, desk.patience)
        prefetch = {key: _whole(found) for key, found in reading.pages.items() if found}
        today = desk.clock().astimezone(desk.zone).date()
        chart = read_chart(
            prefetch, expected, patient_id=reading.patient, knowledge=desk.knowledge, as_of=today, zone=desk.zone
        )
        data = view(chart, today)
        if request.accept_mimetypes.best_match(("application/json", "text/html")) == "text/html":
            html = render_template("chart_body.html", words=pages.words(), **drawn(data, reading.years))
            return Response(html, mimetype="text/html", headers={"Vary": "Accept"})
        return Response(msgspec.json.encode(data), mimetype="application/json", headers={"Vary": "Accept"})

    return blueprint


def _sites(settings: Settings) -> Sequence[str]:
    """Origins of the EHRs: of their FHIR servers, and of what else the site has listed."""
    places = (take_apart(server.url) for server in settings.fhir_servers)
    listed = tuple(dict.fromkeys((*(place.origin for place in places if place), *settings.smart_origins)))
    return listed if settings.fhir_servers else (*listed, *(LOOPBACK_SERVERS if settings.for_this_machine else ()))


def _types(expected: Iterable[Expected]) -> list[str]:
    """Resource types that the app reads, for its scopes."""
    return sorted(frozenset().union(*(item.types for item in expected)))


def _reading(settings: Settings, patience: Patience) -> Reading:
    """The body of a call from the page itself. Raises HookError (400, 403, 408, 413, 415)."""
    own = {f"{request.scheme}://{request.host}"}
    if place := take_apart(settings.base_url):
        own.add(place.origin)
    elsewhere = request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin"
    if elsewhere or request.headers.get("Origin", next(iter(own))) not in own:
        raise HookError(403, [Problem("forbidden", "only the page itself may ask for its view")])
    if "Authorization" in request.headers:
        raise HookError(400, [Problem("forbidden", "Authorization: the EHR's token has no business here")])
    check_media(request.headers.get("Content-Type", ""), request.headers.get("Content-Encoding", ""))
    try:
        reading = msgspec.json.decode(read_body(patience), type=Reading)
    except (msgspec.DecodeError, RecursionError) as error:
        raise HookError(400, [Problem("structure", f"body: {error}")]) from error
    if reading.years not in spans():
        raise HookError(400, [Problem("value", f"years: expected one of {', '.join(spans())}", "years")])
    return reading


def _whole(found: Sequence[Raw]) -> Raw:
    """The pages of a search as one Bundle, up to the first that is none: the list is cut off there.

    What does not begin with a Bundle is left to the reader, which says so.
    """
    pages: list[Page] = []
    with suppress(Unanswered):
        for body in found:
            pages.append(opened(body, SEARCH))
    return joined(found[: len(pages)], pages) or found[0]
