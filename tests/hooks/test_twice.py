"""A name that stands twice is found, at the top and one level below, whatever the spelling and the spacing."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from cds_service.hooks.twice import stands_twice

ENVELOPE = msgspec.json.Decoder(dict[str, dict[str, Raw] | list[Raw] | str | float | bool | None])


def find(text: str | bytes) -> str | None:
    body = text.encode() if isinstance(text, str) else text
    return stands_twice(body, ENVELOPE.decode(body))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1, "b": {"c": [1, 2], "d": {}}, "e": [], "f": null}', None),
        ("{}", None),
        ('  { "a" : { } , "b" : [ ] }\n', None),
        ('{"a": 1, "a": 1}', "a"),
        ('{"a": {"b": 1, "b": 2}}', "a"),
        ('{"a": {"b": 1}, "a": {"b": 1}}', "a"),
        ('{"a": {"b": 1}, "a": {}}', "a"),
        ('{"a": {}, "a": {"b": 1}}', "a"),
        ('{"a": "x", "a": {"b": 1}}', "a"),
        ('{"a": {"b": 1}, "a": "x"}', "a"),
        ('{"a": [1], "a": {"b": 1}}', "a"),
        ('{"a": {"b": 1}, "a": [1]}', "a"),
        ('{"a": [1, 2], "a": [1]}', "a"),
        ('{"a": 12, "a": 1}', "a"),
        ('{"a": null, "a": true}', "a"),
        # No blanks, and what was dropped is as short as can be.
        ('{"":1,"":1,"a":"","b":"","c":"","d":""}', ""),
        # The same name, spelled with an escape.
        ('{"a": 1, "\\u0061": 1}', "a"),
        # The dropped value ends like the whole body.
        ('{"a": {"b": "}"}, "a": {"b": "}"}, "c": 1}', "a"),
        # Twice the same text inside a string is no name.
        ('{"a": "\\"a\\": 1", "b": "{\\"b\\": {}}"}', None),
        # One level further down is not looked at: resources are none of the envelope's business.
        ('{"a": {"b": {"c": 1, "c": 2}}}', None),
    ],
)
def test_names_that_stand_twice(text: str, expected: str | None) -> None:
    assert find(text) == expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text('ab"\\{}:,é', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(st.text("ab\\", max_size=2), inner), max_size=3),
    max_leaves=8,
)


class Pairs(list[tuple[str, Any]]):
    """An object with its members in order, perhaps with a name twice."""


def write(value: Any, space: str) -> str:
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
        members = (f"{json.dumps(name)}{space}:{space}{write(item, space)}" for name, item in value)
        return "{" + space + f",{space}".join(members) + space + "}"
    if isinstance(value, list):
        return "[" + f"{space},".join(write(item, space) for item in value) + space + "]"
    return json.dumps(value, ensure_ascii=False)


@given(
    st.lists(st.tuples(st.text("abc", max_size=2), VALUES), max_size=5).map(Pairs),
    st.sampled_from(["", " ", "\n\t"]),
)
def test_agrees_with_a_parser_that_keeps_all_members(members: Pairs, space: str) -> None:
    text = write(members, space) if members else "{}"
    pairs: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=Pairs)
    names = [name for name, _ in pairs]
    below = [[name for name, _ in value] for _, value in pairs if isinstance(value, Pairs)]
    twice = any(len(set(found)) < len(found) for found in [names, *below])
    assert (find(text) is not None) is twice
