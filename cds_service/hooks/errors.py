"""Answers that are not cards: an OperationOutcome (FHIR R4) that names the field and what was expected of it.

    HookError          raised by the stations of the wire; one status, one or more problems
      400              the body is not JSON, or the envelope is not what the hook asks for
      403              the workbench, asked from elsewhere than its own page
      404              no service of that name
      408              the body did not arrive in time
      412              the data that the service needs could be had from no prefetch key
      413              the body is too large
      415              not application/json, or a compressed body
      503              feedback that cannot be stored now
    RefusedError       401, raised by the gate (`access.py`)
    HTTPException      raised by Flask: 404, 405, …; told in the same form
    anything else      500; the type and the place go to the log, nothing to the caller

CDS Hooks 3.0, HTTP Status Codes: an answer other than 2xx should carry an OperationOutcome. No text here
repeats a value of the request: it may be a patient's, or a token.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from flask import Response
from werkzeug.exceptions import HTTPException

IssueType = Literal[
    "invalid", "structure", "required", "value", "processing", "not-supported", "not-found", "too-long",
    "incomplete", "exception", "timeout", "throttled", "transient", "login", "forbidden",
]  # fmt: skip
"""The codes of FHIR's value set `issue-type` that this service uses."""

SERVER_ERROR = 500

_HTTP: dict[int, tuple[IssueType, str]] = {
    400: ("invalid", "The request could not be read."),
    404: ("not-found", "Nothing is served at this address; GET /cds-services lists the services."),
    405: ("not-supported", "This method is not answered here; the Allow header names those that are."),
    408: ("timeout", "The request took too long to arrive."),
    429: ("throttled", "Too many requests; the Retry-After header tells when to come back."),
}
_ANY_OTHER: tuple[IssueType, str] = ("processing", "The request could not be answered.")
_PASSED_ON = ("Allow", "Retry-After")
"""Headers of an HTTPException that are part of its meaning."""


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a request."""

    code: IssueType
    diagnostics: str
    expression: str = ""
    """Path of the field, e.g. `context.patientId`; '' if the problem is the request as a whole."""


class HookError(Exception):
    """The call cannot be answered; all `problems` that could be found at once."""

    def __init__(self, status: int, problems: Iterable[Problem]) -> None:
        super().__init__(status)
        self.status = status
        self.problems = tuple(problems)


def outcome(status: int, problems: Iterable[Problem]) -> Response:
    """The OperationOutcome as an answer."""
    body = msgspec.json.encode({"resourceType": "OperationOutcome", "issue": [_issue(p) for p in problems]})
    return Response(body, status, mimetype="application/json")


def _issue(problem: Problem) -> dict[str, object]:
    issue: dict[str, object] = {"severity": "error", "code": problem.code, "diagnostics": problem.diagnostics}
    if problem.expression:
        issue["expression"] = [problem.expression]
    return issue


def http_outcome(error: HTTPException) -> Response:
    """An error of Flask's own, e.g. 405, in our form; headers that belong to its meaning are kept."""
    status = error.code or SERVER_ERROR
    code, text = _HTTP.get(status, _ANY_OTHER)
    answer = outcome(status, [Problem(code, text)])
    for name, value in error.get_headers():
        if name in _PASSED_ON:
            answer.headers[name] = value
    return answer


def crash_outcome() -> Response:
    """A fault of ours. What happened stands in the log, under the id in X-Request-Id."""
    text = "The service failed; its log tells more under the id in the X-Request-Id header."
    return outcome(SERVER_ERROR, [Problem("exception", text)])
