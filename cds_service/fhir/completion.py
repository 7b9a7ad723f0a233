"""What prefetch did not bring is fetched: a chart with gaps becomes a chart with fewer, or with better reasons.

    chart --wanted--> asks --client--> answers --read--> chart, until nothing is missing that was not asked for

Asked for is just what made the chart unsure: keys that did not come, failed or were cut off, and the Medications
that prescriptions refer to. A search that came as `null` or without entries was made and found nothing; it is not
repeated. What could not be fetched stays a gap, which then tells why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from cds_service.chart import Chart, Gap
from cds_service.fhir.client import Answer, Ask, Client, Errand, next_page
from cds_service.fhir.expected import Expected
from cds_service.fhir.hosts import Server
from cds_service.fhir.unanswered import Unanswered

Read = Callable[[Mapping[str, Raw], tuple[Expected, ...]], Chart]
"""From prefetch values and what was expected to the chart."""

MEDICATIONS = Expected(
    key="Medication",
    template="",
    types=frozenset({"Medication"}),
    covers=frozenset({"medications"}),
)
"""Stands for all Medications that are fetched one by one."""
MOST_MEDICATIONS = 20
"""Fetched during one call; a chart refers to a few that did not come with it, if to any."""
ROUNDS = 3
"""Prescriptions that were fetched may refer to Medications in their turn; beyond that nothing can."""

_MEDICATION = re.compile(r"(?:.*/)?(Medication/[A-Za-z0-9\-.]{1,64})(?:/_history/.*)?")
NOT_LISTED = Unanswered("not_listed", "the site does not list this FHIR server")
FOR_ANOTHER = Unanswered("denied", "the access token is for another patient")


class Grant(msgspec.Struct, frozen=True):
    """Where more could be had, and by what right."""

    fhir_server: str
    token: str
    """'' without one."""
    patient_id: str
    """Whom the call is about."""
    token_patient: str
    """Whom the token is for, '' if it does not say."""


class Completed(msgspec.Struct, frozen=True):
    """The chart, and what may be logged of the way to it."""

    chart: Chart
    outcomes: Mapping[str, str] = {}
    """By prefetch key: `ok`, or the kind of gap that stays."""
    times: Sequence[tuple[str, float]] = ()
    """Of each thing that was asked for: `ok` or the kind of failure, and seconds."""


def complete(
    chart: Chart,
    prefetch: Mapping[str, Raw],
    expected: tuple[Expected, ...],
    *,
    read: Read,
    client: Client,
    grant: Grant,
) -> Completed:
    """The chart with what could be fetched; the same chart, and nobody is called, if nothing is missing."""
    lacking = _lacks(chart, expected)
    if not lacking:
        return Completed(chart)
    server = client.hosts.find(grant.fhir_server)
    if server is None or grant.token_patient not in ("", grant.patient_id):
        refusal = NOT_LISTED if server is None else FOR_ANOTHER
        return Completed(_told(chart, dict.fromkeys(lacking, refusal)))
    trip = _Trip(client.errand(server, grant.token), expected, grant.patient_id)
    values = dict(prefetch)
    for _ in range(ROUNDS):
        asks = trip.asks(chart, values)
        if not asks:
            break
        values |= trip.take(trip.errand.fetch(asks))
        chart = read(values, (*expected, MEDICATIONS) if MEDICATIONS.key in values else expected)
    return Completed(_told(chart, trip.failures), trip.outcomes(), trip.times)


def _lacks(chart: Chart, expected: tuple[Expected, ...]) -> set[str]:
    """Keys without which something is not known. A key that covers nothing is no reason to call anybody."""
    keys = {gap.key for gap in chart.gaps if gap.covers} & {item.key for item in expected}
    return keys | ({MEDICATIONS.key} if any(_medication(refused.lacks) for refused in chart.refused) else set())


def _is_open(gap: Gap) -> bool:
    """True unless it is a search that found nothing."""
    return gap.kind != "null" or bool(gap.covers)


def _medication(reference: str) -> str:
    """`Medication/id`, '' if the reference is not one to a server."""
    found = None if reference.startswith(("#", "urn:")) else _MEDICATION.fullmatch(reference)
    return found[1] if found else ""


class _Trip:
    """One errand with its memory."""

    def __init__(self, errand: Errand, expected: Sequence[Expected], patient_id: str) -> None:
        self.errand = errand
        self.failures: dict[str, Unanswered] = {}
        self.times: list[tuple[str, float]] = []
        self._expected = expected
        self._patient_id = patient_id
        self._asked: set[str] = set()
        self._medications: list[dict[str, Any]] = []

    def asks(self, chart: Chart, values: Mapping[str, Raw]) -> list[Ask]:
        """What is missing and was not asked for yet."""
        server, lacking = self.errand.server, {gap.key for gap in chart.gaps if _is_open(gap)}
        found = [self._search(item, server, values.get(item.key)) for item in self._expected if item.key in lacking]
        asks = [ask for ask in found if ask is not None and ask.key not in self._asked]
        names = sorted({_own_medication(refused.lacks, server) for refused in chart.refused} - {""} - self._asked)
        room = MOST_MEDICATIONS - sum(key.startswith("Medication/") for key in self._asked)
        if len(names) > room:
            self.failures[MEDICATIONS.key] = Unanswered("too_much", "more medications than are read in one call")
        urls = {name: server.own(name) for name in names[:room]}
        asks += [Ask(name, url, MEDICATIONS.types) for name, url in urls.items() if url]
        self._asked.update(ask.key for ask in asks)
        return asks if self.errand.left else []

    def _search(self, item: Expected, server: Server, sent: Raw | None) -> Ask | None:
        url = server.ask(item.template, self._patient_id)
        if url is None:
            self.failures[item.key] = Unanswered("failed", "the patient's id makes no address")
            return None
        if "?" not in item.template:
            return Ask(item.key, url, item.types)
        types = frozenset({"Bundle"})
        following = server.own(link) if sent and (link := next_page(sent)) else None
        if following is None:
            return Ask(item.key, url, types)
        return Ask(item.key, following, types, first=bytes(sent or b""), anew=url)

    def take(self, answers: Mapping[str, Answer]) -> dict[str, Raw]:
        """The values of the keys that were answered; why the others were not is remembered."""
        values: dict[str, Raw] = {}
        for key, answer in answers.items():
            home = MEDICATIONS.key if key.startswith("Medication/") else key
            self.times.append((answer.failure.kind if answer.failure else "ok", answer.seconds))
            if answer.failure is not None:
                self.failures[home] = answer.failure
            if answer.body is None:
                continue
            if home == key:
                values[key] = answer.body
            else:
                self._medications.append({"fullUrl": self.errand.server.own(key), "resource": answer.body})
        if self._medications:
            bundle = {"resourceType": "Bundle", "entry": self._medications}
            values[MEDICATIONS.key] = Raw(msgspec.json.encode(bundle))
        return values

    def outcomes(self) -> dict[str, str]:
        """How it ended, by key."""
        keys = {MEDICATIONS.key if key.startswith("Medication/") else key for key in self._asked}
        return {key: self.failures[key].kind if key in self.failures else "ok" for key in sorted(keys)}


def _own_medication(reference: str, server: Server) -> str:
    """`Medication/id` of a reference to this server, '' of any other."""
    name = _medication(reference)
    return name if name and server.own(reference.partition("/_history/")[0]) == server.own(name) else ""


def _told(chart: Chart, failures: Mapping[str, Unanswered]) -> Chart:
    """The chart whose gaps say why they could not be filled."""
    gaps = [
        msgspec.structs.replace(gap, kind=failure.kind, detail=failure.detail)
        if _is_open(gap) and (failure := failures.get(gap.key)) is not None
        else gap
        for gap in chart.gaps
    ]
    if (failure := failures.get(MEDICATIONS.key)) is not None:
        gaps.append(Gap(MEDICATIONS.key, failure.kind, failure.detail, MEDICATIONS.covers))
    return msgspec.structs.replace(chart, gaps=tuple(gaps))
