"""Does a name stand twice in the envelope?

JSON decoders keep the last of two members with one name and say nothing; others keep the first. So that two
readers of one message cannot see two patients, such a message is refused (RFC 8259, 4).

The decoder has already told what the body holds, and the large values are known as raw bytes. If the body is
as short as JSON of that content can be, nothing was dropped. Otherwise (it holds blanks, say) the envelope is
walked over once more, and each large value is passed by comparing it with the body where it should stand: where
that fails, an earlier value of that name was dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

_NAME = re.compile(rb'\s*[{,]\s*("[^"\\]*(?:\\.[^"\\]*)*")\s*:\s*')
_END_OF_OBJECT = re.compile(rb"\{?\s*\}")
_BEFORE_ITEM = re.compile(rb"\s*[\[,]\s*")
_END_OF_ARRAY = re.compile(rb"\[?\s*\]")
_SCALAR = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\w.+\-]+')


class _TwiceError(Exception):
    """A name stands twice in the object that is walked over."""


def stands_twice(body: bytes, members: Mapping[str, Any]) -> str | None:
    """Top-level name that stands twice in `body`, or under which a name does; None if there is no such name.

    `body` is valid JSON, and `members` what the decoder made of it: a mapping whose values are scalars, or
    lists or mappings of `msgspec.Raw`. Names further down are not looked at.
    """
    if len(body) == _shortest(members):
        return None
    pos = 0
    seen: set[str] = set()
    while match := _NAME.match(body, pos):
        name = _text(match[1])
        if name in seen or name not in members:
            return name
        seen.add(name)
        try:
            pos = _pass_value(body, match.end(), members[name])
        except _TwiceError:
            return name
    return None


def _shortest(value: Any) -> int:
    """Length that JSON text of `value` has at least, in bytes."""
    if isinstance(value, msgspec.Raw):
        return len(value)
    if isinstance(value, dict):
        return 1 + (sum(map(len, value)) + 4 * len(value) + _shortest_of(value.values()) or 1)
    if isinstance(value, list):
        return 1 + (len(value) + _shortest_of(value) or 1)
    if isinstance(value, str):
        return len(value) + 2
    return 1 if isinstance(value, float) else 4


def _shortest_of(values: Iterable[Any]) -> int:
    return sum([len(each) if type(each) is msgspec.Raw else _shortest(each) for each in values])


def _pass_value(body: bytes, pos: int, value: Any) -> int:
    """Position after the value that begins at `pos`. Raises _TwiceError if another value stands there."""
    if isinstance(value, msgspec.Raw):
        return _pass_raw(body, pos, value)
    if isinstance(value, dict):
        return _pass_object(body, pos, value)
    if isinstance(value, list):
        for raw in value:
            pos = _pass_raw(body, _end(_BEFORE_ITEM, body, pos), raw)
        return _end(_END_OF_ARRAY, body, pos)
    return _end(_SCALAR, body, pos)


def _pass_object(body: bytes, pos: int, members: Mapping[str, msgspec.Raw]) -> int:
    seen: set[str] = set()
    while match := _NAME.match(body, pos):
        name = _text(match[1])
        if name in seen or name not in members:
            raise _TwiceError
        seen.add(name)
        pos = _pass_raw(body, match.end(), members[name])
    return _end(_END_OF_OBJECT, body, pos)


def _pass_raw(body: bytes, pos: int, raw: msgspec.Raw) -> int:
    if not body.startswith(raw, pos):
        raise _TwiceError
    return pos + len(raw)


def _end(pattern: re.Pattern[bytes], body: bytes, pos: int) -> int:
    match = pattern.match(body, pos)
    if match is None:
        raise _TwiceError
    return match.end()


def _text(token: bytes) -> str:
    """The string that a JSON string token stands for."""
    return msgspec.json.decode(token, type=str) if b"\\" in token else token[1:-1].decode()
