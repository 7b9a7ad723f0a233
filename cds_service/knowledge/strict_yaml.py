"""PyYAML as this service uses it: plainly, and strictly for files that people write."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any

import yaml

NotYAMLError = yaml.YAMLError
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def plain(text: str | bytes) -> Any:
    """What a YAML text says, as `yaml.safe_load` reads it, only faster. Raises NotYAMLError."""
    return yaml.load(text, Loader=_Loader)


class RefusedError(Exception):
    """A node that is YAML but not ours."""

    def __init__(self, node: yaml.Node, expected: str) -> None:
        super().__init__(expected)
        self.line = node.start_mark.line + 1
        self.expected = expected


class _StrictLoader(_Loader):  # type: ignore[misc]  # the base class is chosen at run time
    """Keys are strings and stand once; dates stay strings; only `true` and `false` are booleans."""

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Hashable, Any]:
        mapping: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise RefusedError(key_node, f"a text as key, not {key!r}: put it in quotes")
            if key in mapping:
                raise RefusedError(key_node, f"each key once; {key!r} stands here again")
            mapping[key] = self.construct_object(value_node, deep=deep)
        return mapping


# YAML 1.1 reads `on` as true, `012` as ten and `2026-01-02` as a date object. None of that is wanted here.
_StrictLoader.yaml_implicit_resolvers = {}
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|)$"), ["~", "n", ""])
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^-?(?:0|[1-9][0-9]*)$"), list("-0123456789")
)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^-?[0-9]+\.[0-9]+$"), list("-0123456789")
)


def strict(text: str | bytes) -> Any:
    """What a text says that is one of ours. Raises RefusedError, or NotYAMLError."""
    return yaml.load(text, Loader=_StrictLoader)


def nodes(text: str) -> yaml.Node | None:
    """The same text as nodes, which know where they stand."""
    return yaml.compose(text, Loader=_StrictLoader)


def children(node: yaml.Node | None) -> Iterator[tuple[str | int, yaml.Mark, yaml.Node]]:
    """(name, where it begins, value) of each part of a node; a value may begin a line below its key."""
    if isinstance(node, yaml.MappingNode):
        yield from ((key.value, key.start_mark, value) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from ((place, value.start_mark, value) for place, value in enumerate(node.value))
