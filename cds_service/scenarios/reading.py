"""Reading scenario files: YAML -> schema -> presets filled in -> `Case`.

A preset is a chart that cases start from. What a case says about a marker, a drug, an ordered test or an element
of the patient replaces what its preset says of it; everything else is added to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from cds_service.knowledge import yaml_file
from cds_service.knowledge.yaml_file import Document, Problem
from cds_service.scenarios.errors import ScenarioError
from cds_service.scenarios.facts import Case

ATTRIBUTES = frozenset({"on", "time", "status", "code", "comparator", "issued", "low", "high", "interpretation"})
"""Keys of a result line that are no markers."""

_CASE = re.compile(r"cases\[(\d+)\]")


class _Book:
    """The day, the drugs and the presets that the cases of a file may use."""

    def __init__(self, data: Mapping[str, Any], included: _Book | None) -> None:
        self.as_of: str | None = data.get("as_of") or (included.as_of if included else None)
        self.drugs: dict[str, Any] = {**(included.drugs if included else {}), **data.get("drugs", {})}
        self.presets: dict[str, Any] = {**(included.presets if included else {}), **data.get("presets", {})}


def read(path: Path) -> tuple[Case, ...]:
    """Read the cases of one file, in its order; a file that only holds presets has none.

    Raises ScenarioError with everything that is wrong.
    """
    document, book = _open(path)
    cases: list[Case] = []
    problems: list[Problem] = []
    for index, raw in enumerate(document.data.get("cases", ())):
        here = document.problem(("cases", index), "")
        try:
            if raw["case"] in {case.title for case in cases}:
                raise ValueError("a title of its own, not that of another case")
            cases.append(_case(raw, book, f"{path.name}:{here.line}"))
        except ValueError as error:
            expected = f"{error} (case {raw['case']!r})"
            problems.append(document.problem(("cases", index), expected))
    if problems:
        raise ScenarioError(problems)
    return tuple(cases)


def _open(path: Path) -> tuple[Document, _Book]:
    problems: list[Problem] = []
    document = yaml_file.read(path, "scenario", problems)
    if document is None:
        raise ScenarioError([_titled(problem, path) for problem in problems])
    name = document.data.get("include")
    included = _open(path.with_name(name))[1] if name else None
    return document, _Book(document.data, included)


def _titled(problem: Problem, path: Path) -> Problem:
    """The problem with the title of its case, which says more to an author than the case's number."""
    case = _CASE.match(problem.field)
    if not case:
        return problem
    raw = yaml_file.plain_yaml(path.read_bytes())["cases"][int(case[1])]
    title = raw.get("case", "without a title") if isinstance(raw, dict) else "that is no mapping"
    return msgspec.structs.replace(problem, expected=f"{problem.expected} (case {title!r})")


def _case(raw: Mapping[str, Any], book: _Book, place: str) -> Case:
    whole = _filled(raw, book)
    as_of = whole.pop("as_of", None) or book.as_of
    if as_of is None:
        raise ValueError("an as_of, in the case or in the file")
    given = whole.get("given", {})
    if "id" in whole:
        whole["patient"] = {"id": whole["id"], **whole.get("patient", {})}
    whole["title"] = whole.pop("case")
    whole["as_of"] = date.fromisoformat(as_of)
    whole["given"] = {
        **given,
        "results": [one for line in given.get("results", ()) for one in _results(line)],
        **{name: [_coded(item, book) for item in given.get(name, ())] for name in ("therapies", "drafts")},
    }
    whole["place"] = place
    return msgspec.convert(_texts(whole), Case)


def _filled(raw: Mapping[str, Any], book: _Book) -> dict[str, Any]:
    """A case or preset with what its own preset says filled in."""
    name = raw.get("preset")
    own = {key: value for key, value in raw.items() if key not in {"preset", "without"}}
    if name is None:
        return own
    if name not in book.presets:
        raise ValueError(f"a known preset, not {name!r}: {', '.join(sorted(book.presets)) or 'there is none'}")
    base = _filled(book.presets[name], book)
    merged = {**base, **own}
    for part in ("patient", "switches", "site"):
        if part in base and part in own:
            merged[part] = {**base[part], **own[part]}
    without = {str(subject) for subject in raw.get("without", ())}
    merged["given"] = _added(base.get("given", {}), own.get("given", {}), without)
    return merged


def _added(base: Mapping[str, Any], own: Mapping[str, Any], without: set[str]) -> dict[str, Any]:
    """The chart of a preset with that of a case; of what the case speaks, the preset says no more."""
    absent = without - {subject for part in base.values() for item in part for subject in _subjects(item)}
    if absent:
        raise ValueError(f"only what the preset has under `without`, not {', '.join(sorted(absent))}")
    merged = {}
    for part in dict.fromkeys((*base, *own)):
        said = list(own.get(part, ()))
        spoken = without | {subject for item in said for subject in _subjects(item)}
        kept = [_less(item, spoken) for item in base.get(part, ())]
        merged[part] = [item for item in kept if item] + said
    return merged


def _subjects(item: Mapping[str, Any]) -> set[str]:
    """What an entry is about: its drug, its test, or its markers."""
    named = {str(item[key]) for key in ("drug", "text", "atc", "test") if key in item}
    return named or {key for key in item if key.isupper()}


def _less(item: Mapping[str, Any], spoken: set[str]) -> dict[str, Any]:
    """An entry without what it says of these subjects; {} if nothing is left of it."""
    gone = _subjects(item) & spoken
    left = {key: value for key, value in item.items() if key not in gone}
    return left if not gone or any(key.isupper() for key in left) else {}


def _results(line: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One result for each marker of a line."""
    attributes = {key: value for key, value in line.items() if key in ATTRIBUTES}
    markers = {key: value for key, value in line.items() if key not in ATTRIBUTES}
    if not markers:
        raise ValueError("a marker in each line of results")
    for marker, value in markers.items():
        yield {"marker": marker, "value": "" if value is None else value, **attributes}


def _coded(item: Mapping[str, Any], book: _Book) -> dict[str, Any]:
    """A therapy or draft with the short name of its drug replaced by the code."""
    drug = item.get("drug")
    return {**item, "drug": book.drugs.get(str(drug), drug)} if drug is not None else dict(item)


def _texts(value: Any, field: str = "") -> Any:
    """Numbers as text, except where a number is meant."""
    if isinstance(value, dict):
        return {key: item if key == "switches" else _texts(item, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_texts(item, field) for item in value]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number and field not in {"age", "status"} else value
