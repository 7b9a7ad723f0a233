"""Asks the EHR's FHIR server, many things at once, within one deadline and one set of caps for a whole call.

    Client              one for a process; its threads start with the first errand
    Errand              what is fetched for one call: its deadline begins when it is made
    Errand.fetch(asks)  all in parallel; whatever has not come at the deadline is given up

A thread that is given up is not waited for: its connection is cut, so that it ends and is free again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from types import ModuleType
from typing import Any

import msgspec
from msgspec import Raw

from cds_service.fhir.hosts import Hosts, Server
from cds_service.fhir.unanswered import Unanswered, not_in_time
from cds_service.settings import MEBIBYTE, Settings

MOST_THREADS = 64
"""Of one process. A call asks for about ten things; what finds no thread in time is given up like any other."""
GONE = ("HTTP 404", "HTTP 410")


class _Link(msgspec.Struct, frozen=True):
    relation: str | None = None
    url: str | None = None


class Page(msgspec.Struct, frozen=True, rename="camel"):
    """A resource, of a Bundle its members. Entries are left as they came."""

    resource_type: str | None = None
    total: Raw = Raw()
    link: list[_Link] | None = None
    entry: list[Raw] | None = None

    @property
    def next(self) -> str:
        """URL of the page after this one, '' if it is the last."""
        return next((link.url for link in self.link or () if link.relation == "next" and link.url), "")


_PAGE = msgspec.json.Decoder(Page)


class Ask(msgspec.Struct, frozen=True):
    """One resource or search to fetch."""

    key: str
    url: str
    types: frozenset[str]
    """Resource types that answer it; `Bundle` for a search."""
    first: bytes = b""
    """Page that is there already and to which `url` is the next one."""
    anew: str = ""
    """What to ask instead if the EHR has forgotten the pages after `first`."""


class Answer(msgspec.Struct, frozen=True):
    """What came of one `Ask`: a resource or a Bundle as JSON, or why not; both for a part of a list."""

    body: Raw | None
    failure: Unanswered | None
    seconds: float


class Budget:
    """What the answers of one call may take, over all threads."""

    def __init__(self, most_bytes: int, most_resources: int) -> None:
        """Nothing is taken yet."""
        self._lock = threading.Lock()
        self._bytes = most_bytes
        self._resources = most_resources

    def take_bytes(self, count: int) -> bool:
        """Take so many; False if that is more than is left."""
        with self._lock:
            self._bytes -= count
            return self._bytes >= 0

    def take_resources(self, count: int) -> bool:
        """Take so many; False, and nothing is taken, if that is more than is left."""
        with self._lock:
            if count > self._resources:
                return False
            self._resources -= count
            return True


def load_transport() -> ModuleType:
    """The module that speaks HTTP, loaded when it is first needed."""
    from cds_service.fhir import transport

    return transport


class Client:
    """Whom the service may ask, and the threads that do it."""

    def __init__(self, settings: Settings) -> None:
        """Costs nothing until somebody is asked."""
        self.hosts = Hosts(settings)
        self.settings = settings
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._mine = threading.local()

    def errand(self, server: Server, token: str) -> Errand:
        """Begin to fetch for one call. `token` '': without one."""
        return Errand(self, server, token)

    def threads(self) -> ThreadPoolExecutor:
        """The threads of this process."""
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="fhir")
            return self._threads

    def session(self, server: Server) -> Any:
        """The connections of the current thread to servers of this kind."""
        sessions: dict[str, Any] = self._mine.__dict__
        kind = f"{server.reach} {server.ca_file}"
        if kind not in sessions:
            sessions[kind] = load_transport().make_session(server.reach, server.ca_file)
        return sessions[kind]


class Errand:
    """All that is fetched during one call."""

    def __init__(self, client: Client, server: Server, token: str) -> None:
        """The deadline begins."""
        settings = client.settings
        self.client = client
        self.server = server
        self.token = token
        self.deadline = time.monotonic() + settings.fhir_deadline_ms / 1000
        self.most_pages = settings.fhir_max_pages
        self.budget = Budget(settings.fhir_max_mb * MEBIBYTE, settings.fhir_max_resources)

    @property
    def left(self) -> float:
        """Seconds until the deadline, not below 0."""
        return max(0.0, self.deadline - time.monotonic())

    def fetch(self, asks: Sequence[Ask]) -> dict[str, Answer]:
        """The answers by key; returns at the deadline at the latest."""
        threads = self.client.threads()
        jobs = {threads.submit(job.run): job for job in [_Job(ask, self) for ask in asks]}
        _, late = wait(jobs, timeout=self.left)
        for future in late:
            future.cancel()
            jobs[future].give_up()
        return {job.ask.key: job.answer() for job in jobs.values()}


class _Job:
    """One `Ask` on its way through a thread."""

    def __init__(self, ask: Ask, errand: Errand) -> None:
        self.ask = ask
        self._errand = errand
        self._lock = threading.Lock()
        self._bodies: list[bytes] = []
        self._pages: list[Page] = []
        self._failure: Unanswered | None = None
        self._line: Any = None
        self._given_up = False
        self._began = self._ended = time.monotonic()

    def run(self) -> None:
        """In a thread of the client: fetch page after page. Never raises."""
        try:
            self._follow()
        except Unanswered as failure:
            self._fail(failure)
        except Exception:  # a fault of ours must neither raise nor pass for an answer
            self._fail(Unanswered("unreachable", "it could not be asked"))
        self._ended = time.monotonic()

    def give_up(self) -> None:
        """In the thread that waits: it is too late."""
        with self._lock:
            self._given_up = True
            self._failure = not_in_time()
            line = self._line
        self._ended = time.monotonic()
        if line is not None:
            line.cut()

    def answer(self) -> Answer:
        """What has come so far."""
        with self._lock:
            return Answer(joined(self._bodies, self._pages), self._failure, self._ended - self._began)

    def _fail(self, failure: Unanswered) -> None:
        with self._lock:
            self._failure = self._failure or failure

    def _follow(self) -> None:
        url = self.ask.url
        if self.ask.first:
            self._keep(self.ask.first, opened(self.ask.first, self.ask.types))
            try:
                url = self._fetch(url)
            except Unanswered as failure:
                if failure.detail not in GONE:
                    raise
                with self._lock:
                    self._bodies, self._pages = [], []
                url = self.ask.anew
        met = {self.ask.url}
        while url:
            if len(self._pages) >= self._errand.most_pages:
                raise Unanswered("too_much", "more pages than are read of one search")
            met.add(url)
            url = self._fetch(url)
            if url in met:
                raise Unanswered("failed", "its pages go round in a circle")

    def _fetch(self, url: str) -> str:
        """Fetch one page; the URL of the next one, '' if there is none. Raises Unanswered."""
        transport = load_transport()
        errand, line = self._errand, transport.Line()
        with self._lock:
            if self._given_up:
                raise not_in_time()
            self._line = line
        session = errand.client.session(errand.server)
        body = transport.get(session, url, errand.token, line, errand.deadline, errand.budget.take_bytes)
        page = opened(body, self.ask.types)
        if not errand.budget.take_resources(len(page.entry or ())):
            raise Unanswered("too_much", "more resources than are read in one call")
        self._keep(body, page)
        if not page.next:
            return ""
        following = errand.server.own(page.next)
        if following is None:
            raise Unanswered("failed", "its next page lies elsewhere")
        return following

    def _keep(self, body: bytes, page: Page) -> None:
        with self._lock:
            if not self._given_up:
                self._bodies.append(body)
                self._pages.append(page)


def next_page(body: Raw) -> str:
    """URL of the page that follows a Bundle, '' if there is none or it cannot be read."""
    try:
        page = _PAGE.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return ""
    return page.next if page.resource_type == "Bundle" else ""


def opened(body: bytes | Raw, types: frozenset[str]) -> Page:
    """The page. Raises Unanswered if it is not what was asked for."""
    try:
        page = _PAGE.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise Unanswered("not_fhir", "the FHIR server's answer is not FHIR") from None
    if page.resource_type in types:
        return page
    if page.resource_type == "OperationOutcome":
        raise Unanswered("outcome", "the FHIR server reports a failure")
    if not page.resource_type:
        raise Unanswered("not_fhir", "the FHIR server's answer is not FHIR")
    raise Unanswered("wrong_type", "the FHIR server's answer is another resource than asked for")


def joined(bodies: Sequence[bytes | Raw], pages: Sequence[Page]) -> Raw | None:
    """All pages as one Bundle, None if there is none; it has a next page if the last one has."""
    if len(bodies) <= 1:
        return Raw(bodies[0]) if bodies else None
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": pages[-1].link or [],
        "entry": [entry for page in pages for entry in page.entry or ()],
    }
    if pages[0].total:
        bundle["total"] = pages[0].total
    return Raw(msgspec.json.encode(bundle))
