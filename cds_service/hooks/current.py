"""The call that is being answered, taken from Flask once: its names for it look it up at each attribute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from flask import Request, g, request


class Call(msgspec.Struct):
    """A request on its way."""

    request: Request
    began: float
    """On the clock of `time.perf_counter`."""
    new_uuid: Callable[[], str]
    """Gives another UUID each time."""
    facts: dict[str, Any]
    """What the log and the metrics are told."""
    client: str = ""
    """Name of the client that calls; '' if nobody can be sure."""


def begin(began: float, new_uuid: Callable[[], str]) -> Call:
    """The call of the request that Flask has just taken in, from now on `this_call`; there is no fact yet."""
    itself: Request = request._get_current_object()  # type: ignore[attr-defined]
    call = g.call = Call(itself, began, new_uuid, {})
    return call


def this_call() -> Call:
    """The current call."""
    call: Call = g.call
    return call
