"""The addresses of the service, and the road of a call: bytes, request, chart, evaluation, cards, bytes.

    GET   /cds-services                 the discovery document
    POST  /cds-services/{id}            a call of one service
    POST  /cds-services/{id}/feedback   what users did with its cards
    GET   /openapi.json                 all of these in OpenAPI 3.1

A client that was given the discovery address with a slash at its end asks for `/cds-services/` and
`/cds-services//{id}`. Both are served where they are: a redirect would fail its preflight.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime
from os import urandom
from pathlib import Path
from time import perf_counter, time_ns
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from flask import Blueprint, Response, request

from cds_service.chart import Chart, Past
from cds_service.feedback.entries import keep
from cds_service.feedback.errors import DatabaseError
from cds_service.feedback.records import CallRecord
from cds_service.feedback.store import Store
from cds_service.fhir.client import Client
from cds_service.fhir.expected import Expected
from cds_service.fhir.hosts import Hosts
from cds_service.hooks.body import Patience, read_body
from cds_service.hooks.cards import Renderer, make_renderer
from cds_service.hooks.current import this_call
from cds_service.hooks.discovery import SERVICES, Service, document
from cds_service.hooks.errors import HookError, Problem
from cds_service.hooks.feedback import read_feedback
from cds_service.hooks.prefetch import build_expected, require_enough
from cds_service.hooks.reading import Lately, Reading, read
from cds_service.hooks.recording import Notes, results
from cds_service.hooks.request import HookRequest, check_media, read_request
from cds_service.hooks.unmapped import unmapped
from cds_service.hooks.wording import Wording, shipped, wording_of
from cds_service.hooks.words import Words
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.silent import silent_rules
from cds_service.metrics import Watch
from cds_service.rules.engine import evaluate
from cds_service.rules.outcome import Evaluation
from cds_service.settings import Settings

NANOSECONDS = 1_000_000
"""In a millisecond."""
RANDOM_BYTES = 10
"""Of a UUID that begins with the time: 74 bits and some that are not used."""
UUIDS = 16
"""As many as most calls need: one a card, and one a suggestion."""
VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
OPENAPI = Path(__file__).with_name("openapi.json")


class Desk(msgspec.Struct, frozen=True):
    """What every call needs and no call changes."""

    knowledge: Knowledge
    zone: ZoneInfo
    clock: Callable[[], datetime]
    """The time now, with its zone."""
    render: Renderer
    services: dict[str, tuple[Service, tuple[Expected, ...]]]
    """By id."""
    store: Store
    patience: Patience
    client: Client | None
    """Fetches what prefetch did not bring; None: prefetch is all there is."""
    words: Words
    """Those of `render`, for pages that say more than cards."""
    records: bool = True
    """Whether calls are kept in the store, and what it remembers is looked up."""
    silent: frozenset[str] = frozenset()
    """Ids of rules that are recorded only."""
    silent_all: bool = False
    wording: Wording = msgspec.field(default_factory=shipped)
    launchers: Hosts | None = None
    """FHIR servers of which some have no client id for the chart page; None: all have, or there is no page."""
    lately: Lately | None = None
    """Keeps charts for which something was fetched, for a page that explains them; None: nobody asks."""


def make_desk(settings: Settings, knowledge: Knowledge, clock: Callable[[], datetime], store: Store) -> Desk:
    """Build the prefetch templates of all services and compile the words of the cards, once.

    Raises SettingsError if a rule that is to be silent cannot be, or if the site's words are at fault.
    """
    services = {service.id: (service, build_expected(knowledge, service.hook)) for service in SERVICES}
    launch = f"{settings.smart_url}/launch" if settings.smart_url else ""
    wording = wording_of(settings)
    words = Words(knowledge, wording)
    render = make_renderer(knowledge, settings.ehr_profile, launch_url=launch, words=words)
    patience = Patience(settings.body_seconds, settings.port, settings.max_body)
    client = Client(settings) if settings.fhir_deadline_ms else None
    return Desk(
        knowledge,
        settings.zone,
        clock,
        render,
        services,
        store,
        patience,
        client,
        words,
        silent=silent_rules(settings, knowledge),
        silent_all=settings.silent_all,
        wording=wording,
        launchers=Hosts(settings) if launch and not settings.smart_client_id else None,
    )


def make_blueprint(desk: Desk) -> Blueprint:
    """The routes of CDS Hooks."""
    blueprint = Blueprint("cds_hooks", __name__)
    published = document(desk.services.values())
    etag = hashlib.sha256(published).hexdigest()

    @blueprint.get("/cds-services")
    @blueprint.get("/cds-services/")
    def discovery() -> Response:
        response = Response(published, mimetype="application/json")
        response.set_etag(etag)
        # To be asked about each time: a client that keeps old templates brings the wrong data.
        response.headers["Cache-Control"] = "no-cache"
        response.make_conditional(request)
        return response

    @blueprint.post("/cds-services/<service_id>")
    @blueprint.post("/cds-services//<service_id>")
    def call(service_id: str) -> Response:
        body = read_body(desk.patience)
        service, expected = _service(service_id, desk)
        watch = Watch()
        facts = this_call().facts
        cards = answer(read_request(body, service.hook), expected, desk, facts, watch)
        response = Response(msgspec.json.encode({"cards": cards}), mimetype="application/json")
        watch.lap("render")
        facts["phases"] = watch.phases
        return response

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return Response(OPENAPI.read_bytes(), mimetype="application/json")

    @blueprint.post("/cds-services/<service_id>/feedback")
    @blueprint.post("/cds-services//<service_id>/feedback")
    def feedback(service_id: str) -> Response:
        body = read_body(desk.patience)
        service, _ = _service(service_id, desk)
        entries = read_feedback(body)
        try:
            new = keep(desk.store.engine, entries, client=this_call().client, service=service.id, now=desk.clock())
        except DatabaseError as error:
            text = "the feedback could not be stored now and was not kept; send it again later"
            raise HookError(503, [Problem("transient", text)]) from error
        this_call().facts.update(
            feedback=len(entries), new=new, outcomes=Counter(entry.outcome for entry in entries)
        )
        return Response(b"{}", mimetype="application/json")

    return blueprint


def _service(service_id: str, desk: Desk) -> tuple[Service, tuple[Expected, ...]]:
    """The service that is called, and its data. Raises HookError (404, 415)."""
    if service_id not in desk.services:
        raise HookError(404, [Problem("not-found", "no service of this id; GET /cds-services lists them")])
    service, expected = desk.services[service_id]
    here = this_call()
    here.facts.update(service=service.id, hook=service.hook)
    environ = here.request.environ
    check_media(environ.get("CONTENT_TYPE", ""), environ.get("HTTP_CONTENT_ENCODING", ""))
    return service, expected


def answer(
    call: HookRequest, expected: tuple[Expected, ...], desk: Desk, facts: dict[str, Any], watch: Watch
) -> list[dict[str, Any]]:
    """The cards for one call; what may be logged of it is added to `facts`. Raises HookError (412)."""
    as_of = desk.clock().astimezone(desk.zone).date()
    reading = chart_of(call, expected, desk, as_of, watch)
    chart = reading.chart
    if reading.asked:
        facts.update(
            fetched=reading.fetched, fetch_times=reading.times, fetch_ms=round(watch.phases["fetch"] * 1000)
        )
    if reading.fetched and desk.lately is not None:
        desk.lately.put(call, as_of, reading)
    facts.update(_facts_of_chart(chart))
    require_enough(chart, expected, call.hook)
    watch.lap("decode")
    patient = _patient(call, desk)
    past = _past(patient, chart, desk, as_of)
    evaluation = evaluate(chart, desk.knowledge, as_of=as_of, hook=call.hook, past=past, silent=desk.silent)
    facts.update(_facts_of_evaluation(evaluation, desk.silent_all))
    watch.lap("judge")
    notes = Notes(desk.silent_all)
    fresh_uuid = this_call().new_uuid
    cards = desk.render(evaluation, chart, fresh_uuid, notes.take, facts["failed"])
    notes.unseen(evaluation, fresh_uuid)
    if desk.records:
        _record(call, patient, chart, evaluation, notes, desk)
    shown = [] if desk.silent_all else cards if _launches(call, desk) else [_unlinked(card) for card in cards]
    facts["cards"] = len(shown)
    return shown


def _launches(call: HookRequest, desk: Desk) -> bool:
    """True unless the EHR of a call cannot open the chart page, since it has given it no client id."""
    if desk.launchers is None:
        return True
    server = desk.launchers.find(call.fhir_server)
    return server is not None and server.smart_client_id != ""


def _unlinked(card: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in card.items() if name != "links"}


def chart_of(call: HookRequest, expected: tuple[Expected, ...], desk: Desk, as_of: date, watch: Watch) -> Reading:
    """The chart of a call on a day; what prefetch did not bring is fetched."""
    return read(call, expected, as_of, knowledge=desk.knowledge, zone=desk.zone, client=desk.client, watch=watch)


def recall(call: HookRequest, chart: Chart, desk: Desk, as_of: date) -> Past:
    """What users did up to a day with cards about the patient of the call; nothing while that cannot be read."""
    return _past(_patient(call, desk), chart, desk, as_of)


def _past(patient: str, chart: Chart, desk: Desk, as_of: date) -> Past:
    return desk.store.past(patient, chart, desk.knowledge, desk.zone, as_of) if patient else Past()


def _patient(call: HookRequest, desk: Desk) -> str:
    """What stands for the patient in the records; '' while the key of the hashes cannot be read."""
    try:
        return desk.store.patient(this_call().client, call.fhir_server, call.patient_id)
    except DatabaseError:
        return ""


def _record(
    call: HookRequest, patient: str, chart: Chart, evaluation: Evaluation, notes: Notes, desk: Desk
) -> None:
    """Hand over what is kept of the call; it is written later, and no call waits for it."""
    here = this_call()
    record = CallRecord(
        id=here.facts["request"],
        time=desk.clock(),
        service=here.facts["service"],
        hook=call.hook,
        client=here.client,
        patient=patient,
        knowledge=desk.knowledge.version,
        ms=round((perf_counter() - here.began) * 1000, 2),
        results=results(evaluation),
        gaps={gap.key: gap.kind for gap in chart.gaps},
        unknown=tuple([o.rule for o in evaluation.outcomes if o.result == "unknown"]),
        cards=tuple(notes.cards),
        suggestions=tuple(notes.suggestions),
        day=evaluation.as_of,
        codes=unmapped(chart.refused),
    )
    recorder = desk.store.recorder
    if not patient:  # nothing could be told from it
        recorder.drop(1)
    if not (patient and recorder.put(record)):
        here.facts["dropped"] = True
    if desk.store.blind:
        here.facts["blind"] = True


def _facts_of_chart(chart: Chart) -> dict[str, Any]:
    return {
        "gaps": {gap.key: gap.kind for gap in chart.gaps},
        "refused": dict(Counter([refused.reason for refused in chart.refused])),
    }


def _facts_of_evaluation(evaluation: Evaluation, silent_all: bool) -> dict[str, Any]:
    spoke = [finding.rule.id for finding in evaluation.findings]
    silent = [finding.rule.id for finding in evaluation.silent]
    unknown = [outcome for outcome in evaluation.outcomes if outcome.result == "unknown"]
    return {
        "rules": [] if silent_all else spoke,
        "failed": {outcome.rule: outcome.failed for outcome in unknown if outcome.failed},
        "unknown": len(evaluation.doubts),
        "unknown_rules": [outcome.rule for outcome in unknown if not outcome.failed],
        "snoozed": [snoozed.finding.rule.id for snoozed in evaluation.snoozed],
        "silent": [*spoke, *silent] if silent_all else silent,
    }


def uuids() -> Iterator[str]:
    """UUIDs that begin with the time, in milliseconds, and are random otherwise (RFC 9562, version 7).

    Rows of one moment lie side by side in the indexes of the database then; random ones would touch a page each.
    Those of a call come of one draw, since asking the system costs as much as writing one.
    """
    while True:
        moment = f"{time_ns() // NANOSECONDS:012x}"
        digits = urandom(RANDOM_BYTES * UUIDS).hex()
        for at in range(0, len(digits), 2 * RANDOM_BYTES):
            one = digits[at : at + 2 * RANDOM_BYTES]
            yield f"{moment[:8]}-{moment[8:]}-7{one[:3]}-{VARIANT[one[3]]}{one[4:7]}-{one[7:19]}"
