"""The gate before every address: who calls, and how often. What it decides stands in `security/`.

    401   OperationOutcome `login` and `WWW-Authenticate: Bearer`, the same for every reason
    429   OperationOutcome `throttled` and `Retry-After`

Who calls goes to `this_call().client`, '' if nobody can be sure. What happened goes to its `facts`, for the log and
the metrics: `client`, and `refusal` or (report only) `would_refuse`, an id of `security.refusals`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from flask import Flask, Response
from werkzeug.exceptions import TooManyRequests

from cds_service.feedback.driver import Driver
from cds_service.hooks import errors
from cds_service.hooks.current import Call, this_call
from cds_service.log import Logger
from cds_service.security.rates import make_limit
from cds_service.security.refusals import RefusedError
from cds_service.settings import Settings

OPEN = frozenset({"health", "ready", "web.static"})
"""Endpoints that anybody may ask, as often as they like: nothing of a patient or a site is there."""
PAGES = frozenset({"smart.launch", "smart.chart", "smart.show", "governance.page"})
"""Endpoints that people's browsers ask: no EHR's token is theirs to show. Counted; they guard themselves."""
REFUSED = 401


def add_gate(
    app: Flask,
    settings: Settings,
    clock: Callable[[], datetime],
    driver: Driver,
    logger: Logger,
) -> None:
    """Ask every caller of `app` for a token of one of the site's clients, and count its calls.

    Without clients a token is not looked at, and on a loopback host nobody is counted either. `driver`: of the
    database that keeps the ids of tokens.
    """
    is_private = settings.on_loopback and not settings.clients
    count = make_limit(0 if is_private else settings.calls_per_minute)
    identify = _make_identify(settings, clock, driver, logger) if settings.clients else None

    def count_call(caller: str) -> None:
        if seconds := count(caller):
            raise TooManyRequests(retry_after=seconds)

    @app.before_request
    def gate() -> None:
        call = this_call()
        endpoint = call.request.endpoint
        if endpoint in OPEN:
            return
        address = call.request.remote_addr or ""
        if identify is None or endpoint in PAGES:
            count_call(address)
            return
        try:
            identify(call, count_call)
        except RefusedError as refused:
            call.client, call.facts["client"] = "", refused.client
            call.facts["would_refuse" if settings.report_only else "refusal"] = refused.reason
            count_call(address)
            if not settings.report_only:
                raise

    @app.errorhandler(RefusedError)
    def refuse(_refused: RefusedError) -> Response:
        text = "This address is served to known clients only; the call needs a valid token of one."
        response = errors.outcome(REFUSED, [errors.Problem("login", text)])
        response.headers["WWW-Authenticate"] = "Bearer"
        return response


def _make_identify(
    settings: Settings,
    clock: Callable[[], datetime],
    driver: Driver,
    logger: Logger,
) -> Callable[[Call, Callable[[str], None]], None]:
    """A function that finds out who makes a call, lets it be counted, and raises RefusedError."""
    from cds_service.security.callers import Callers, admit
    from cds_service.security.replay import Replays

    callers = Callers(settings, lambda client, problem: logger.warning("keys", client=client, problems=[problem]))
    replays = Replays(driver, clock)

    def identify(call: Call, count_call: Callable[[str], None]) -> None:
        now = clock().timestamp()
        client, claims = callers.check(call.request.environ.get("HTTP_AUTHORIZATION"), call.request.path, now)
        call.client = call.facts["client"] = client.name
        # Before the token is used up: a client that is told to come back may bring the same one.
        count_call(client.name)
        admit(client, claims, replays.first_use)

    return identify
