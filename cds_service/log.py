"""One JSON line a call, and nothing in it that could name a patient.

Only the fields of `FIELDS` are written; whatever else is handed over is dropped. Their values come from this
service (rule ids, prefetch keys, counts, our own request id), never from a request or a resource.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

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
        "failed",  # id of each rule that raised, or whose card could not be worded -> exception type
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
"""What a line may hold."""
EMPTY: tuple[Any, ...] = ("", None, [], {})


class Logger:
    """Writes lines to a stream. Safe to use from several threads: each line is one write.

    A line that cannot be written (a full disk, a pipe that nobody reads any more) is lost, and nothing else is:
    whoever wrote it has a call to answer.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.works = True
        """False if the last line could not be written."""
        self.lost: Callable[[], None] = lambda: None
        """Called for each line that could not be written."""

    def info(self, event: str, **facts: Any) -> None:
        """What is in order."""
        self.write("info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """What somebody should look at when there is time."""
        self.write("warning", event, facts)

    def error(self, event: str, **facts: Any) -> None:
        """A fault of this service."""
        self.write("error", event, facts)

    def write(self, level: str, event: str, facts: Mapping[str, Any]) -> None:
        """One line; a fact that is not on the list is dropped, and so is an empty one."""
        time = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        told = {name: fact for name, fact in facts.items() if name in FIELDS and (fact or fact not in EMPTY)}
        line = msgspec.json.encode({**told, "event": event, "level": level, "time": time})
        try:
            self._stream.write(line.decode() + "\n")
            self._stream.flush()
            self.works = True
        except (OSError, ValueError):  # ValueError: the stream is closed
            self.works = False
            self.lost()


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
