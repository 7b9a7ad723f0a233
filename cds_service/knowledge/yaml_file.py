"""Reads one YAML file of the knowledge, strictly: no duplicate keys, no YAML 1.1 surprises, checked by schema.

The good path composes the file once. The line of a field is looked up only when there is something to report.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterator, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from referencing import Registry

SCHEMAS = Path(__file__).parent / "schema"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def plain_yaml(text: str | bytes) -> Any:
    """What a YAML text says, as `yaml.safe_load` reads it, only faster. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong in one file. `line` counts from 1; `field` is a dotted path ('' for the whole file)."""

    file: str
    line: int
    field: str
    expected: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        return f"{where}: {self.field}: {self.expected}" if self.field else f"{where}: {self.expected}"


class KnowledgeError(Exception):
    """The knowledge files cannot be used; `problems` holds everything that is wrong, printed one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.field)))
        super().__init__("\n".join(map(str, self.problems)))


class _RefusedError(Exception):
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
                raise _RefusedError(key_node, f"a text as key, not {key!r}: put it in quotes")
            if key in mapping:
                raise _RefusedError(key_node, f"each key once; {key!r} stands here again")
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


class Document:
    """A file that was read: its `data`, and where in the text each field stands."""

    def __init__(self, path: Path, data: Any) -> None:
        self.path = path
        self.data = data
        self._root: yaml.Node | None = None

    def problem(self, field: Sequence[str | int], expected: str) -> Problem:
        """A problem with the field at this path, with its line in the file."""
        return Problem(self.path.name, self._line(field), dotted(field), expected)

    def _line(self, field: Sequence[str | int]) -> int:
        if self._root is None:
            self._root = yaml.compose(self.path.read_text(encoding="utf-8"), Loader=_StrictLoader)
        node, line = self._root, 1
        for step in field:
            for name, mark, child in _children(node):
                if name == step:
                    node, line = child, mark.line + 1
                    break
        return line


def dotted(field: Sequence[str | int]) -> str:
    """A path as people write it: `markers.TT.codes[2].name`."""
    text = ""
    for step in field:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def read(path: Path, schema: str, problems: list[Problem]) -> Document | None:
    """The file, or None with the reasons appended to `problems`: not there, not YAML, not what the schema asks."""
    try:
        data = yaml.load(path.read_bytes(), Loader=_StrictLoader)
    except OSError as error:
        problems.append(Problem(path.name, 1, "", f"a readable file ({error.strerror})"))
        return None
    except _RefusedError as error:
        problems.append(Problem(path.name, error.line, "", error.expected))
        return None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error)
        problems.append(Problem(path.name, mark.line + 1 if mark else 1, "", f"valid YAML ({reason})"))
        return None
    document = Document(path, data)
    errors = list(_validator(schema).iter_errors(data))
    problems += [document.problem(_field(error), _expected(error)) for error in errors]
    return None if errors else document


@cache
def _validator(schema: str) -> Draft202012Validator:
    # Slow to load, and the shipped files were checked when they were remembered.
    from jsonschema import Draft202012Validator, FormatChecker

    # Our own checks of the two formats that the schemas use: those of jsonschema need an extra that takes over a
    # second to import, and without it they let everything pass.
    formats = FormatChecker(formats=())
    formats.checks("uri")(_is_absolute_uri)
    formats.checks("date", raises=ValueError)(_is_date)
    return Draft202012Validator(_schema(schema), format_checker=formats, registry=_registry())


def _is_absolute_uri(value: object) -> bool:
    return not isinstance(value, str) or re.fullmatch(r"[a-z][a-z0-9+.-]*:[!-~]+", value) is not None


def _is_date(value: object) -> bool:
    return not isinstance(value, str) or date.fromisoformat(value).isoformat() == value


@cache
def _registry() -> Registry[Any]:
    """Schemas refer to each other by file name. Crawled once here, or each reference would crawl anew."""
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    resources = {file.name: DRAFT202012.create_resource(_schema(file.stem)) for file in SCHEMAS.glob("*.json")}
    empty: Registry[Any] = Registry()
    return empty.with_resources(resources.items()).crawl()


@cache
def _schema(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_bytes())
    return content


def _field(error: ValidationError) -> list[str | int]:
    field: list[str | int] = list(error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        # Point at the first field too many, not at the object around it.
        known, patterns = _allowed(error)
        for name in error.instance:
            if name not in known and not any(re.search(pattern, name) for pattern in patterns):
                return [*field, name]
    return field


def _expected(error: ValidationError) -> str:
    if error.validator == "additionalProperties":
        known, patterns = _allowed(error)
        return "a known field: " + ", ".join(known) if known else "a key of the form " + " or ".join(patterns)
    described = error.schema.get("description") if isinstance(error.schema, dict) else None
    return f"{described} ({error.message})" if described else error.message


def _allowed(error: ValidationError) -> tuple[list[str], list[str]]:
    schema = error.schema if isinstance(error.schema, dict) else {}
    return sorted(schema.get("properties", ())), sorted(schema.get("patternProperties", ()))


def _children(node: yaml.Node | None) -> Iterator[tuple[str | int, yaml.Mark, yaml.Node]]:
    """(name, where it begins, value) of each part of a node; a value may begin a line below its key."""
    if isinstance(node, yaml.MappingNode):
        yield from ((key.value, key.start_mark, value) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from ((place, value.start_mark, value) for place, value in enumerate(node.value))
