"""Makes products.tsv anew from an RxNorm release: which clinical drugs hold the ingredients of therapies.yaml.

    RXNCONSO.RRF  concepts: IN, PIN, MIN (ingredients), SCDC (component), SCD, SBD (drugs), DF, DFG (dose forms)
    RXNREL.RRF    SBD --tradename_of--> SCD --consists_of--> SCDC --has_ingredient--> IN
                                                                  --has_precise_ingredient--> PIN
                  SCD --has_ingredients--> MIN     SCD --has_dose_form--> DF --isa--> DFG

Only rows of RxNorm itself (SAB=RXNORM) are read: other vocabularies of the release have licences of their own.
In RXNREL the second concept has the relation to the first. A combination with an ingredient that therapies.yaml
does not know is left out and told, never guessed; one with an ingredient that starts nothing starts nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from cds_service.knowledge.drugs import COLUMNS
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.vocabulary import Product

SOURCE = "RXNORM"
TERM_TYPES = frozenset({"IN", "PIN", "MIN", "SCDC", "SCD", "SBD", "DF", "DFG"})
RELATIONS = frozenset(
    {
        "tradename_of",
        "consists_of",
        "has_ingredient",
        "has_precise_ingredient",
        "has_ingredients",
        "has_dose_form",
        "isa",
    }
)
HEAD = (
    "# RxNorm clinical (SCD) and branded (SBD) drugs that the service knows. RxNorm courtesy of the NLM: "
    "see NOTICE.md.",
    "# keys: therapy keys, comma-separated; empty = known, and starts nothing. scope: `systemic` where a local "
    "form acts on the whole body.",
)

# Columns of the two files (RxNorm Technical Documentation, sections on RXNCONSO and RXNREL).
_CONSO = {"rxcui": 0, "sab": 11, "tty": 12, "str": 14, "suppress": 16}
_REL = {"rxcui1": 0, "rxcui2": 4, "rela": 7, "sab": 10, "suppress": 14}
_CURRENT = frozenset({"", "N"})


class ReleaseError(ValueError):
    """The folder holds no RxNorm release that can be read; the message names file and line."""


class Release(msgspec.Struct, frozen=True):
    """What matters of a release."""

    concepts: Mapping[str, tuple[str, str]]
    """RxCUI -> (term type, name)."""
    relations: Mapping[tuple[str, str], tuple[str, ...]]
    """(RxCUI, relation) -> RxCUIs that it has the relation to."""


class Row(msgspec.Struct, frozen=True):
    """One line of products.tsv."""

    rxcui: str
    tty: str
    keys: tuple[str, ...]
    agent: str
    form: str
    systemic: bool
    name: str

    def text(self) -> str:
        """The line, without its end."""
        scope = "systemic" if self.systemic else ""
        return "\t".join((self.rxcui, self.tty, ",".join(self.keys), self.agent, self.form, scope, self.name))


class Products(msgspec.Struct, frozen=True):
    """The new table, and what was left out of it."""

    rows: tuple[Row, ...]
    left_out: tuple[str, ...]
    """Names of drugs that hold a known ingredient and one that therapies.yaml does not know."""

    def text(self) -> str:
        """The content of products.tsv."""
        return "\n".join((*HEAD, "\t".join(COLUMNS), *(row.text() for row in self.rows), ""))


# -- reading -------------------------------------------------------------------------------------------


def read_release(folder: Path) -> Release:
    """Read RXNCONSO.RRF and RXNREL.RRF of a folder. Raises ReleaseError, or OSError if one is not there."""
    concepts: dict[str, tuple[str, str]] = {}
    for cells in _rows(folder / "RXNCONSO.RRF", _CONSO):
        if cells["sab"] == SOURCE and cells["tty"] in TERM_TYPES and cells["suppress"] in _CURRENT:
            concepts[cells["rxcui"]] = cells["tty"], cells["str"]
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for cells in _rows(folder / "RXNREL.RRF", _REL):
        ends = cells["rxcui1"], cells["rxcui2"]
        current = cells["suppress"] in _CURRENT and all(end in concepts for end in ends)
        if cells["sab"] == SOURCE and cells["rela"] in RELATIONS and current:
            found[ends[1], cells["rela"]].add(ends[0])
    return Release(concepts, {key: tuple(sorted(ends, key=int)) for key, ends in found.items()})


def _rows(path: Path, columns: Mapping[str, int]) -> Iterator[dict[str, str]]:
    least = max(columns.values()) + 1
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            cells = line.rstrip("\r\n").split("|")
            if len(cells) < least:
                raise ReleaseError(f"{path.name}:{number}: expected at least {least} columns, found {len(cells)}")
            yield {name: cells[place] for name, place in columns.items()}


# -- making the table ----------------------------------------------------------------------------------


def products_of(release: Release, knowledge: Knowledge) -> Products:
    """The drugs of a release that hold an ingredient of `knowledge`, in the order of the shipped table."""
    maker = _Maker(release, knowledge)
    drugs = sorted(
        ((code, name) for code, (tty, name) in release.concepts.items() if tty == "SCD"),
        key=lambda drug: (drug[1].casefold(), int(drug[0])),
    )
    rows: list[Row] = []
    left_out: list[str] = []
    for code, name in drugs:
        made = maker.rows(code, name)
        if made is None:
            left_out.append(name)
        else:
            rows.extend(made)
    return Products(tuple(rows), tuple(left_out))


class _Maker:
    def __init__(self, release: Release, knowledge: Knowledge) -> None:
        self._concepts = release.concepts
        self._relations = release.relations
        self._knowledge = knowledge
        self._ingredients = {
            code: product for code, product in knowledge.products.items() if product.tty in ("IN", "PIN", "MIN")
        }
        self._brands: dict[str, list[str]] = defaultdict(list)
        for (code, relation), targets in release.relations.items():
            if relation == "tradename_of" and release.concepts[code][0] == "SBD":
                for target in targets:
                    self._brands[target].append(code)

    def rows(self, code: str, name: str) -> list[Row] | None:
        """The drug and its brands; [] if it holds nothing that is known, None if that cannot be decided."""
        content = self._content(code)
        if content is None or not content[1]:
            return None if content is None else []
        keys, agent = content
        form = self._form(code)
        brands = sorted(self._brands[code], key=int)
        names = [self._concepts[brand][1] for brand in brands]
        systemic = any(self._is_systemic(keys, text) for text in (name, *names))
        rows = [Row(code, "SCD", keys, agent, form, systemic, name)]
        rows += [
            Row(brand, "SBD", keys, agent, form, systemic, text) for brand, text in zip(brands, names, strict=True)
        ]
        return rows

    def _to(self, code: str, relation: str) -> tuple[str, ...]:
        return self._relations.get((code, relation), ())

    def _content(self, code: str) -> tuple[tuple[str, ...], str] | None:
        """Therapy keys and agent of a drug; ((), '') for none that is known, None for an unknown combination."""
        for combination in self._to(code, "has_ingredients"):
            if combination in self._ingredients:
                known = self._ingredients[combination]
                return known.keys, known.agent
        parts: dict[str, Product | None] = {}
        for component in self._to(code, "consists_of"):
            for ingredient in self._to(component, "has_ingredient"):
                parts[ingredient] = self._part(component, ingredient)
        known_parts = [part for part in parts.values() if part is not None]
        if not known_parts:
            return (), ""
        if len(known_parts) < len(parts):
            return None
        agents = sorted({part.agent for part in known_parts})
        silent = any(not part.keys for part in known_parts)
        keys = () if silent else tuple(sorted({key for part in known_parts for key in part.keys}))
        return keys, " / ".join(agents)

    def _part(self, component: str, ingredient: str) -> Product | None:
        """What is known of an ingredient; the ester or salt says more than the ingredient, where it is known."""
        for precise in self._to(component, "has_precise_ingredient"):
            if precise in self._ingredients:
                return self._ingredients[precise]
        return self._ingredients.get(ingredient)

    def _form(self, code: str) -> str:
        """The form that the words of the dose form mean, else those of its groups; `unknown` if none does."""
        forms = self._to(code, "has_dose_form")
        groups = tuple(group for form in forms for group in self._to(form, "isa"))
        for candidates in (forms, groups):
            for candidate in candidates:
                text = self._concepts[candidate][1]
                for pattern, form in self._knowledge.route_words:
                    if pattern.search(text):
                        return form
        return "unknown"

    def _is_systemic(self, keys: tuple[str, ...], name: str) -> bool:
        """True if the name is one that the words of therapies.yaml call systemic although its form is local."""
        hints = (hint for pattern in self._knowledge.patterns if pattern.key in keys for hint in pattern.agents)
        return any(hint.systemic and hint.pattern.search(name) for hint in hints)
