"""From the bytes of a feedback request to its entries, or to a HookError that names every fault of every entry.

CDS Hooks 3.0, Feedback: an object with an array `feedback`; an entry has `card`, `outcome` and `outcomeTimestamp`,
`acceptedSuggestions` if it was accepted, and may have `overrideReason`. Members that the specification does not
name are passed over. An entry at fault refuses the request: nothing of it is kept, and all can be sent again.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from cds_service.feedback.entries import Entry
from cds_service.hooks.errors import HookError, Problem
from cds_service.hooks.request import members_of
from cds_service.hooks.twice import stands_twice

MOST_ENTRIES = 10_000
MOST_TOLD = 50
"""Faults that one answer names."""
LONGEST_ID = 80
LONGEST_CODE = 1_000
LONGEST_COMMENT = 20_000
OUTCOMES = ("accepted", "overridden")

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-](?:[01]\d|2[0-3]):[0-5]\d))", re.ASCII
)
_LEAP_SECOND = "60"
_EXPECTED_TIME = "expected a date and time with a zone (RFC 3339), such as 2026-03-15T09:30:00Z"


def read_feedback(body: bytes) -> list[Entry]:
    """The entries in `body`, in their order. Raises HookError (400)."""
    members = members_of(body)
    if stands_twice(body, members) is not None:
        raise HookError(400, [Problem("structure", "body: a name stands twice; expected each name once")])
    raw = members.get("feedback")
    if raw is None:
        raise HookError(400, [Problem("required", "feedback: missing; expected an array", "feedback")])
    if not isinstance(raw, list):
        raise HookError(400, [Problem("structure", "feedback: expected an array", "feedback")])
    if len(raw) > MOST_ENTRIES:
        text = f"feedback: expected at most {MOST_ENTRIES} entries in one request"
        raise HookError(400, [Problem("too-long", text, "feedback")])
    problems: list[Problem] = []
    entries = [_entry(_decoded(item), f"feedback[{index}]", problems) for index, item in enumerate(raw)]
    if problems:
        more = len(problems) - MOST_TOLD
        rest = [Problem("invalid", f"feedback: {more} more faults are not listed", "feedback")] if more > 0 else []
        raise HookError(400, [*problems[:MOST_TOLD], *rest])
    return [entry for entry in entries if entry is not None]


def _decoded(raw: msgspec.Raw) -> Any:
    """The entry as Python data; None (which is no entry either) if a number in it is beyond floating point."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def _entry(value: Any, path: str, problems: list[Problem]) -> Entry | None:
    """The entry, None if it is at fault."""
    if not isinstance(value, dict):
        problems.append(Problem("structure", f"{path}: expected an object", path))
        return None
    before = len(problems)
    card = _text(value, "card", path, problems, longest=LONGEST_ID)
    outcome = _text(value, "outcome", path, problems)
    if outcome and outcome not in OUTCOMES:
        _add(problems, "value", f"{path}.outcome", "expected accepted or overridden")
    accepted = _accepted(value, outcome == "accepted", f"{path}.acceptedSuggestions", problems)
    system, code, comment = _reason(value.get("overrideReason"), f"{path}.overrideReason", problems)
    at = _time(value, path, problems)
    if len(problems) > before or at is None:
        return None
    return msgspec.convert(
        {
            "card": card,
            "outcome": outcome,
            "at": at,
            "accepted": accepted,
            "reason_system": system,
            "reason_code": code,
            "comment": comment,
        },
        Entry,
    )


def _add(problems: list[Problem], code: Any, path: str, expected: str) -> None:
    problems.append(Problem(code, f"{path}: {expected}", path))


def _text(
    owner: dict[str, Any], name: str, path: str, problems: list[Problem], *, longest: int = 0, required: bool = True
) -> str:
    """A string member; '' if it is absent or at fault. null counts as absent."""
    value = owner.get(name)
    path = f"{path}.{name}"
    if value is None:
        if required:
            _add(problems, "required", path, "missing; expected a string")
        return ""
    if not isinstance(value, str):
        _add(problems, "structure", path, "expected a string")
    elif (not value and required) or "\0" in value or (longest and len(value) > longest):
        _add(problems, "value", path, f"expected 1 to {longest} characters" if longest else "expected a word")
    else:
        return value
    return ""


def _accepted(entry: dict[str, Any], required: bool, path: str, problems: list[Problem]) -> tuple[str, ...]:
    value = entry.get("acceptedSuggestions")
    if value is not None and not isinstance(value, list):
        _add(problems, "structure", path, "expected an array")
        return ()
    if not value:
        if required:
            _add(problems, "required", path, "missing; expected the suggestions that were accepted")
        return ()
    found = []
    for index, item in enumerate(value):
        place = f"{path}[{index}]"
        if isinstance(item, dict):
            found.append(_text(item, "id", place, problems, longest=LONGEST_ID))
        else:
            _add(problems, "structure", place, "expected an object with the id of a suggestion")
    return tuple(found) if required else ()


def _reason(value: Any, path: str, problems: list[Problem]) -> tuple[str, str, str]:
    """System and code of the reason, and the user's comment; '' for what there is not."""
    if value is None:
        return "", "", ""
    if not isinstance(value, dict):
        _add(problems, "structure", path, "expected an object")
        return "", "", ""
    coding = value.get("reason")
    comment = value.get("userComment")
    if coding is None and comment is None:
        _add(problems, "required", path, "expected reason or userComment")
    if comment is not None and not isinstance(comment, str):
        _add(problems, "structure", f"{path}.userComment", "expected a string")
        comment = None
    # PostgreSQL has no zero character; a user's words are not refused for one.
    comment = (comment or "").replace("\0", "")[:LONGEST_COMMENT]
    if coding is None:
        return "", "", comment
    if not isinstance(coding, dict):
        _add(problems, "structure", f"{path}.reason", "expected a Coding")
        return "", "", comment
    code = _text(coding, "code", f"{path}.reason", problems, longest=LONGEST_CODE)
    system = _text(coding, "system", f"{path}.reason", problems, longest=LONGEST_CODE, required=False)
    return system, code, comment


def _time(entry: dict[str, Any], path: str, problems: list[Problem]) -> datetime | None:
    """`outcomeTimestamp`, None if it is at fault. A fraction finer than microseconds is cut off."""
    text = _text(entry, "outcomeTimestamp", path, problems)
    if not text:
        return None
    if match := _TIME.fullmatch(text):
        day, minute, second, fraction, zulu, offset = match.groups()
        second = "59" if second == _LEAP_SECOND else second
        digits = (fraction or "0")[:6].ljust(6, "0")
        try:
            zone = "+00:00" if zulu else offset
            return datetime.fromisoformat(f"{day}T{minute}:{second}.{digits}{zone}").astimezone(UTC)
        except (ValueError, OverflowError):  # no such day or time; beyond the years 1 to 9999
            pass
    _add(problems, "value", f"{path}.outcomeTimestamp", _EXPECTED_TIME)
    return None
