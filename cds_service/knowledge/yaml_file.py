"""Reads one YAML file of the knowledge, strictly: no duplicate keys, no YAML 1.1 surprises, checked by schema.

PyYAML, jsonschema and what is made of them (`strict_yaml.py`) are loaded when there is a file to read: most starts
find what the files say remembered.
The good path composes the file once. The line of a field is looked up only when there is something to report.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cds_service.knowledge.remembered import digest, remembered

if TYPE_CHECKING:
    import yaml
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from referencing import Registry

SCHEMAS = Path(__file__).parent / "schema"


def plain_yaml(text: str | bytes) -> Any:
    """What a YAML text says, as `yaml.safe_load` reads it, only faster. Raises strict_yaml.NotYAMLError."""
    from cds_service.knowledge import strict_yaml

    return strict_yaml.plain(text)


def shipped_yaml(path: Path) -> Any:
    """What a shipped file says, remembered from one start to the next."""
    here = Path(__file__).with_name(f"{path.parent.name}-{path.name}")
    return remembered(here, digest([path], sys.version), lambda: plain_yaml(path.read_bytes()))


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong in one file. `line` counts from 1 (0: none); `field` is a dotted path ('': all of it)."""

    file: str
    line: int
    field: str
    expected: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.field}: {self.expected}" if self.field else f"{where}: {self.expected}"


class KnowledgeError(Exception):
    """The knowledge files cannot be used; `problems` holds everything that is wrong, printed one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.field)))
        super().__init__("\n".join(map(str, self.problems)))


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
        from cds_service.knowledge import strict_yaml

        if self._root is None:
            self._root = strict_yaml.nodes(self.path.read_text(encoding="utf-8"))
        node, line = self._root, 1
        for step in field:
            for name, mark, child in strict_yaml.children(node):
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
    from cds_service.knowledge import strict_yaml

    try:
        data = strict_yaml.strict(path.read_bytes())
    except OSError as error:
        problems.append(Problem(path.name, 0, "", f"cannot be read ({error.strerror}); expected a readable file"))
        return None
    except strict_yaml.RefusedError as error:
        problems.append(Problem(path.name, error.line, "", error.expected))
        return None
    except strict_yaml.NotYAMLError as error:
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
