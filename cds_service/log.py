"""One JSON line a call, and nothing in it that could name a patient.

Only the fields of `FIELDS` are written; whatever else is handed over is dropped. Their values come from this
service (rule ids, prefetch keys, counts, our own request id), never from a request or a resource.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, TextIO

import msgspec
import structlog

FIELDS = frozenset(
    {
        "event",
        "level",
        "time",
        "request",  # our own random id, also in the answer's X-Request-Id header
        "method",
        "status",
        "client",  # name in the settings, of the caller or (if refused) of whom it claims to be
        "refusal",  # why it was not served; id of security.refusals
        "would_refuse",  # why it would not have been served if report_only were false
        "warning",  # about how the service was started
        "service",
        "hook",
        "ms",
        "cards",
        "rules",  # ids of the rules that spoke
        "snoozed",  # ids of those that would have, but were set aside
        "silent",  # ids of those that would have, but the site does not show them
        "failed",  # id of each rule that raised -> exception type
        "unknown",  # number of doubts told to the user
        "gaps",  # prefetch key -> why it could not be used
        "fetched",  # prefetch key -> "ok", or why it could not be fetched from the EHR
        "fetch_ms",  # how long the fetching took
        "refused",  # reason -> number of resources not used
        "feedback",  # number of entries of a feedback request
        "new",  # number of those that had not been delivered before
        "blind",  # true if the database could not be read: the call was answered without what is remembered
        "dropped",  # true if nothing of this call will be in the database
        "waiting",  # number of records that wait for the database
        "state",  # of the database: ok, unreachable, other revision
        "problems",  # of a refused request: our own field path and issue code; of a client's keys: words of ours
        "error",  # exception type
        "place",  # module, line and function of our code that raised it
    }
)


def only_allowed(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop every field that is not on the list, and every empty one."""
    return {key: value for key, value in event.items() if key in FIELDS and value not in ("", None, [], {})}


def make_logger(stream: TextIO) -> structlog.typing.FilteringBoundLogger:
    """A logger that writes to `stream`; it does not touch the configuration of other loggers."""
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            only_allowed,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        cache_logger_on_first_use=True,
    )
    return logger


def _to_json(event: Any, **_options: Any) -> str:
    return msgspec.json.encode(event).decode()


def place_of(error: BaseException) -> str:
    """Where our own code stood when `error` was raised; '' if it never stood there."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        if module.startswith("cds_service."):
            found = f"{module}:{trace.tb_lineno} {trace.tb_frame.f_code.co_name}"
        trace = trace.tb_next
    return found
