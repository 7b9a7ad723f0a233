"""The drug half of the terminology: therapy keys, RxNorm products, ATC groups, words in free text, routes."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from cds_service.chart import Form
from cds_service.knowledge.expression import Expression
from cds_service.knowledge.vocabulary import AgentHint, Pattern, Product, TherapyClass
from cds_service.knowledge.yaml_file import Problem

COLUMNS = ["rxcui", "tty", "keys", "agent", "form", "scope", "name"]
"""Columns of products.tsv."""
_FORMS = frozenset(get_args(Form))


def whole_words(alternatives: Iterable[str]) -> Expression:
    """One pattern of all alternatives: whole words, in any case. Unlike with `\\b`, they may end in punctuation.

    Raises re.error.
    """
    return Expression(rf"(?<!\w)(?:{'|'.join(alternatives)})(?!\w)")


def read_products(path: Path, problems: list[Problem]) -> dict[str, tuple[int, Product]]:
    """RxCUI -> line and product, from the tab-separated file. Bad lines go to `problems` and are left out."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        problems.append(Problem(path.name, 1, "", f"a readable file ({error.strerror})"))
        return {}
    products: dict[str, tuple[int, Product]] = {}
    header = False
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        cells = line.split("\t")
        if not header:
            header = cells == COLUMNS
            if not header:
                problems.append(Problem(path.name, number, "", "the columns " + ", ".join(COLUMNS)))
                return {}
            continue
        expected = _row_problem(cells, products)
        if expected:
            problems.append(Problem(path.name, number, cells[0], expected))
            continue
        rxcui, tty, keys, agent, form, scope, name = cells
        product = Product(
            code=rxcui,
            name=name,
            keys=tuple(keys.split(",")) if keys else (),
            agent=agent,
            form=form,  # type: ignore[arg-type]  # checked by _row_problem
            systemic=scope == "systemic",
            tty=tty,
        )
        products[rxcui] = number, product
    return products


def _row_problem(cells: list[str], seen: Container[str]) -> str:
    if len(cells) != len(COLUMNS):
        return f"{len(COLUMNS)} columns, not {len(cells)}"
    rxcui, tty, _, agent, form, scope, name = cells
    if not (rxcui.isascii() and rxcui.isdigit()):
        return "a number as RxCUI"
    if rxcui in seen:
        return "each RxCUI once"
    if tty not in ("SCD", "SBD"):
        return f"tty SCD or SBD, not {tty!r}"
    if form not in _FORMS:
        return f"a known form, not {form!r}"
    if scope not in ("", "systemic"):
        return f"scope empty or systemic, not {scope!r}"
    return "" if agent and name else "agent and name"


def expressions(data: Any, place: list[str | int]) -> Iterator[tuple[list[str | int], str]]:
    """Every regular expression below `place`, with its path."""
    steps = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, value in steps:
        if step in ("match", "unless", "undone"):
            yield from (([*place, step, number], text) for number, text in enumerate(value))
        else:
            yield from expressions(value, [*place, step])


def therapies(data: Mapping[str, Any]) -> dict[str, TherapyClass]:
    """Key -> therapy."""
    return {
        key: TherapyClass(key=key, name=raw["name"], local_forms=frozenset(raw.get("local_forms", ())))
        for key, raw in data["therapies"].items()
    }


def ingredients(data: Mapping[str, Any]) -> dict[str, Product]:
    """RxCUI -> ingredient or combination."""
    return {code: _product(code, raw, raw["tty"]) for code, raw in data["ingredients"].items()}


def atc(data: Mapping[str, Any]) -> tuple[tuple[str, Product], ...]:
    """ATC prefix and what it means, longest prefix first."""
    longest_first = sorted(data["atc"].items(), key=lambda item: (-len(item[0]), item[0]))
    return tuple((code, _product(code, raw, "")) for code, raw in longest_first)


def _product(code: str, raw: Mapping[str, Any], tty: str) -> Product:
    return Product(
        code=code,
        name=raw["agent"],
        keys=tuple(raw["keys"]),
        agent=raw["agent"],
        form=raw.get("form", "unknown"),
        tty=tty,
    )


def patterns(data: Mapping[str, Any]) -> tuple[Pattern, ...]:
    """Free-text patterns, in the order of the file."""
    return tuple(
        Pattern(
            key=key,
            positive=whole_words(raw["text"]["match"]),
            negative=whole_words(raw["text"]["unless"]) if "unless" in raw["text"] else None,
            agents=tuple(
                AgentHint(
                    pattern=whole_words(hint["match"]),
                    agent=hint["agent"],
                    form=hint.get("form", "unknown"),
                    systemic=hint.get("systemic", False),
                )
                for hint in raw["text"].get("agents", ())
            ),
        )
        for key, raw in data["therapies"].items()
        if "text" in raw
    )


def route_words(data: Iterable[Mapping[str, Any]]) -> tuple[tuple[Expression, Form], ...]:
    """Words of a route, a product name or a dosage and the form that they mean, in the order of the file."""
    return tuple((whole_words(raw["match"]), raw["form"]) for raw in data)
