"""The wiring: settings and knowledge in, a Flask application out. Start reading here.

A call goes to `hooks.routes` and comes back with cards, or with the OperationOutcome that `hooks.errors`
makes of whatever was raised. Every answer gets the headers of `hooks.headers`, and every call one line in
the log (`log.py`).
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, TextIO, TypeVar
from urllib.parse import urlsplit

import msgspec
from flask import Flask, Request, Response
from flask.sessions import NullSession, SessionInterface
from werkzeug.exceptions import HTTPException

from cds_service.feedback.store import Store, memory
from cds_service.hooks import access, errors, headers, health, routes
from cds_service.hooks.current import begin, this_call
from cds_service.hooks.reading import Lately
from cds_service.hooks.wording import wording_of
from cds_service.knowledge.loader import load
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.silent import silent_rules
from cds_service.knowledge.yaml_file import KnowledgeError
from cds_service.log import Logger, place_of
from cds_service.metrics import Tally
from cds_service.security.openness import openness
from cds_service.settings import Settings, SettingsError
from cds_service.web import pages
from cds_service.web.page_words import page_words

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from cds_service.web.workbench import Tools

T = TypeVar("T")

LARGE_BLOCK = 128 * 1024
"""Bytes from which on a block of memory is one of its own. The C library's first value; it raises it by itself."""
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8
"""Parameters of mallopt(3)."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that the log names; a client may invent any word."""


def now_utc() -> datetime:
    """The time now, for all that is judged or kept; the rules are told the day."""
    return datetime.now(UTC)


def knowledge_of(settings: Settings, today: date) -> Knowledge:
    """The knowledge of the site on `today`. Raises KnowledgeError if it is at fault."""
    return load(overlay=settings.overlay_path, guideline=settings.guideline, today=today, words=settings.words_path)


def examined(settings: Settings, today: date) -> tuple[Knowledge | None, tuple[str, ...], list[str]]:
    """The knowledge of the site, what whoever starts the service must be warned of, and everything that is wrong.

    Looks at all that the site has written, so that all mistakes can be told at once: who may call, overlay, silent
    rules, the words of rules, cards and pages.
    """
    problems: list[str] = []

    def taken(read: Callable[..., T], *given: Any) -> T | None:
        try:
            return read(*given)
        except (SettingsError, KnowledgeError) as error:
            problems.extend(map(str, error.problems))
            return None

    warnings = taken(openness, settings)
    knowledge = taken(knowledge_of, settings, today)
    if knowledge:
        taken(silent_rules, settings, knowledge)
    wording = taken(wording_of, settings)
    taken(page_words, settings)
    if knowledge and wording and settings.words_path:
        from cds_service.hooks.trial import try_out

        problems.extend(f"words.folder: {settings.words_path}/{fault}" for fault in try_out(knowledge, wording))
    return knowledge, warnings or (), problems


def create_app(  # noqa: PLR0913 - what the service is made of
    settings: Settings,
    *,
    knowledge: Knowledge | None = None,
    clock: Callable[[], datetime] = now_utc,
    log: TextIO | None = None,
    tally: Tally | None = None,
    store: Store | None = None,
    tools: Tools | None = None,
) -> Flask:
    """The service as a WSGI application.

    `knowledge` None: what is shipped, with the site's guideline and overlay as the settings name them, as they
    hold today. `log` None: standard output. `tally` None: nothing is counted. `store` None: records end with the
    process. `tools`: for the workbench, which is served where there are any and the settings let it be. Raises
    KnowledgeError if the knowledge is at fault, SettingsError if everybody would be served without the site having
    said so, or if a rule cannot be silent.
    """
    warnings = openness(settings)
    knowledge = knowledge or knowledge_of(settings, clock().astimezone(settings.zone).date())
    app = _Application("cds_service", static_folder=None)
    # A redirect to "the right" address would break preflights, so addresses are taken as they come.
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body
    store = store or memory()
    desk = routes.make_desk(settings, knowledge, clock, store)
    if tools is not None and settings.has_workbench:
        desk = msgspec.structs.replace(desk, lately=Lately())
    app.register_blueprint(routes.make_blueprint(desk))
    _add_pages(app, desk, settings, tools)
    _add_errors(app)
    logger = Logger(log or sys.stdout)
    health.add_health(app, knowledge.version, store.engine, logger)
    store.recorder.report = lambda event, waiting: logger.warning(event, waiting=waiting)
    for warning in warnings:
        logger.warning("start", warning=warning)
    if tally:
        store.recorder.lost = lambda number: tally.count("cds_records_dropped", by=number)
        logger.lost = partial(tally.count, "cds_log_lines_dropped")
    _add_frame(app, logger, tally)
    access.add_gate(app, settings, clock, store.driver, logger)
    complete = headers.completed(app.wsgi_app, frozenset(settings.origins))
    app.wsgi_app = below(complete, urlsplit(settings.public_url).path)  # type: ignore[assignment,method-assign]
    return app


class _NoSessions(SessionInterface):
    """Nobody has a session: cookies are never in play."""

    nobody = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002 - Flask's signature
        return self.nobody


class _Application(Flask):
    """Flask without what it does for each request and nobody here asks for."""

    session_interface = _NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Every function here is a plain one; Flask would look at each of them in each call."""
        return func


def below(application: WSGIApplication, prefix: str) -> WSGIApplication:
    """`application`, whose pages link to addresses below `prefix`, under which a proxy serves them."""
    if not prefix:
        return application

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["SCRIPT_NAME"] = prefix
        return application(environ, start_response)

    return call


def _add_pages(app: Flask, desk: routes.Desk, settings: Settings, tools: Tools | None) -> None:
    """The pages for people, as far as the settings let them be; those that are not served are not loaded."""
    app.register_blueprint(pages.make_blueprint(page_words(settings), desk.wording.locale))
    if tools is not None and settings.has_workbench:
        from cds_service.web import chart, workbench

        app.register_blueprint(workbench.make_blueprint(desk, settings, tools))
        app.register_blueprint(chart.make_blueprint(desk, tools))
    if settings.smart_url:
        from cds_service.web import smart

        app.register_blueprint(smart.make_blueprint(desk, settings))
    if settings.governance:
        from cds_service.web import governance

        app.register_blueprint(governance.make_blueprint(desk, settings))


def _add_errors(app: Flask) -> None:
    """Every error is an OperationOutcome; the log learns what it was without the words of the request."""

    @app.errorhandler(errors.HookError)
    def refused(error: errors.HookError) -> Response:
        this_call().facts["problems"] = [f"{problem.expression}:{problem.code}" for problem in error.problems]
        return errors.outcome(error.status, error.problems)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        return errors.http_outcome(error)

    @app.errorhandler(Exception)
    def crashed(error: Exception) -> Response:
        this_call().facts.update(error=type(error).__name__, place=place_of(error))
        return errors.crash_outcome()


def _add_frame(app: Flask, logger: Logger, tally: Tally | None) -> None:
    """What happens before and after every call."""

    @app.before_request
    def before() -> Response | None:
        call = begin(perf_counter(), routes.uuids().__next__)
        method = call.request.method
        number = call.request.environ[headers.NUMBER] = call.new_uuid()
        call.facts = {"request": number, "method": method if method in _METHODS else "other"}
        return headers.preflight() if method == "OPTIONS" else None

    @app.after_request
    def after(response: Response) -> Response:
        call = this_call()
        facts, endpoint, status = call.facts, call.request.endpoint or "", response.status_code
        if endpoint not in health.ENDPOINTS:
            seconds = perf_counter() - call.began
            if tally:
                tally.call(endpoint, facts, status, seconds)
            level = "error" if "error" in facts else "warning" if facts.get("failed") else "info"
            logger.write(level, "call", {"status": status, "ms": round(seconds * 1000, 2), **facts})
        return response


def settle_memory() -> None:
    """Take what start-up has built out of the garbage collector's sight, and let it run seldom.

    A call makes few objects that point at each other; with the default thresholds the collector would look
    through the whole knowledge again and again. What start-up left behind is not collected first: it is little, and
    looking for it takes a tenth of a start.

    The C library (glibc; others are left alone) gives the memory of a large body back as soon as the call is
    answered. By itself it would learn to keep such blocks, in a heap for each thread, and a worker that once had
    many large calls would stay large.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(_ARENA_MAX, 1)
