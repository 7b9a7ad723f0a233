"""The knowledge, indexed for the questions that reading a chart asks."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from cds_service.chart import Refused
from cds_service.fhir.scales import Known, known_codes
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.systems import ICD10, SNOMED
from cds_service.knowledge.vocabulary import Concept, Product

PREGNANCY = "pregnancy"
"""Key of the concept whose observations say that the patient is pregnant now."""

MOST_CODE = 1000
MOST_SEEN = 2000
"""Bytes of one remembered piece of JSON, and how many of them: enough for the catalogues of many laboratories."""

MOST_TEXT = 500
"""Characters of a drug name that are looked at: a longer one is no name, and would only cost time."""

_SPACES = re.compile(r"\s+")


K = TypeVar("K")
V = TypeVar("V")
Limits = tuple[Decimal | None, Decimal | None]


class Memory(dict[K, V]):
    """What was made of JSON that comes again and again, in charts of many patients; none of it is a patient's."""

    def keep(self, key: K, value: V, size: int) -> None:
        """Remember it, if the JSON (of `size` bytes) is short; begin anew when there is too much."""
        if size <= MOST_CODE:
            if len(self) >= MOST_SEEN:
                self.clear()
            self[key] = value


class Orderable(NamedTuple):
    """What an order code brings."""

    markers: frozenset[str]
    name: str
    panel: str


class Match(NamedTuple):
    """Concepts that a diagnosis code belongs to, and whether its rubric itself says that it is past."""

    concepts: frozenset[str]
    past: bool


class Words(NamedTuple):
    """Concepts that the words of a diagnosis or procedure name, and those that they say are gone or not done."""

    named: frozenset[str]
    undone: frozenset[str]


_NOT_LOOKED_UP = Match(frozenset(), past=False)


class Terms:
    """Look-ups over one `Knowledge`. Holds nothing of any patient."""

    def __init__(self, knowledge: Knowledge) -> None:
        """Index the concepts, the ATC groups, the order codes and the free-text patterns."""
        self.knowledge = knowledge
        self.results = known_codes(knowledge)
        self.denied = frozenset(knowledge.denied)
        self.codes = Memory[bytes, Known | Refused]()
        """By the JSON of a `code`: the result code in it, or why results of it are not read. Laboratories write
        theirs in the same way each time."""
        self.limits = Memory[bytes, Limits]()
        """Reference ranges that hold for everybody, by the key of the result's scale and their JSON."""
        self.flags = Memory[bytes, str]()
        """The laboratory's own judgement by its JSON."""
        self.recognised = Memory[tuple[object, ...], Any]()
        """What a drug is, by its codes and names: a formulary has a few thousand."""
        self._diagnoses = Memory[tuple[str | None, str], Match | None]()
        """Concepts by code system and code of a diagnosis, also of those that belong to none."""
        self.words = Memory[tuple[str, bool], Words]()
        """By the display of a code. What people write in their own words is a patient's: it is not remembered."""
        self.orderables = _orderables(knowledge)
        self._atc = dict(knowledge.atc)
        self._icd = _prefixes(knowledge)
        self._longest = max(map(len, self._icd), default=0)
        self._snomed = _snomed(knowledge)
        self._named = [concept for concept in knowledge.concepts.values() if concept.words]
        """Concepts that words name, too."""
        pregnancy = knowledge.concepts.get(PREGNANCY)
        self.pregnancy = {} if pregnancy is None else pregnancy.observations
        drugs = "|".join(pattern.positive.pattern for pattern in knowledge.patterns)
        self._any_drug = re.compile(drugs, re.IGNORECASE) if drugs else None

    def atc(self, code: str) -> Product | None:
        """The product of the longest ATC prefix of `code`."""
        for length in range(len(code), 0, -1):
            found = self._atc.get(code[:length])
            if found is not None:
                return found
        return None

    def diagnosis(self, system: str | None, code: str | None) -> Match | None:
        """Concepts of one condition or procedure code; None if it belongs to none."""
        if not code:
            return None
        key = (system, code)
        found = self._diagnoses.get(key, _NOT_LOOKED_UP)
        if found is _NOT_LOOKED_UP:
            found = self._look_up(system, code)
            self._diagnoses.keep(key, found, len(code) + len(system or ""))
        return found

    def _look_up(self, system: str | None, code: str) -> Match | None:
        if system == SNOMED:
            concepts = self._snomed.get(code)
            return None if concepts is None else Match(concepts, past=False)
        return self._icd10(code) if system in ICD10 else None

    def _icd10(self, code: str) -> Match | None:
        plain = code.replace(".", "").strip().upper()
        hits: dict[str, bool] = {}
        excluded: set[str] = set()
        for length in range(1, min(len(plain), self._longest) + 1):
            for concept, role in self._icd.get(plain[:length], ()):
                if role == "not":
                    excluded.add(concept)
                else:
                    hits[concept] = hits.get(concept, False) or role == "past"
        found = {concept: past for concept, past in hits.items() if concept not in excluded}
        return Match(frozenset(found), all(found.values())) if found else None

    def words_of_display(self, display: str, counts: bool) -> Words:
        """What the display of a code names."""
        found = self.words.get((display, counts))
        if found is None:
            found = self.words_of(display, counts)
            self.words.keep((display, counts), found, len(display))
        return found

    def words_of(self, text: str, counts: bool) -> Words:
        """What a text names, of the concepts for which words count as a code does, or of those for which not."""
        folded = fold(text)
        named: set[str] = set()
        undone: set[str] = set()
        for concept in self._named:
            if concept.words_count is counts and concept.words and concept.words.search(folded):
                gone = concept.undone is not None and concept.undone.search(folded) is not None
                (undone if gone else named).add(concept.key)
        return Words(frozenset(named - undone), frozenset(undone))

    def may_name_drug(self, text: str) -> bool:
        """False if no free-text pattern can match: most drugs of a chart end here."""
        return self._any_drug is not None and self._any_drug.search(text) is not None


def fold(text: str) -> str:
    """A name in one case, with single spaces, compatibility characters resolved."""
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text[:MOST_TEXT])).strip().casefold()


def _orderables(knowledge: Knowledge) -> dict[tuple[str | None, str | None], Orderable]:
    found: dict[tuple[str | None, str | None], Orderable] = {}
    for key, code in knowledge.codes.items():
        found[key] = Orderable(frozenset({code.marker}), knowledge.markers[code.marker].name, "")
    for test in knowledge.tests.values():
        codes = [(test.order_system, test.order_code)] if test.order_code else []
        for key in (*codes, *((local.system, local.code) for local in test.local_orders)):
            found[key] = Orderable(test.brings, test.name, "")
    for key, panel in knowledge.panels.items():
        more = found[key].markers if key in found else frozenset()
        found[key] = Orderable(panel.markers | more, panel.name, panel.key)
    return found


def _prefixes(knowledge: Knowledge) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for concept in knowledge.concepts.values():
        for role, prefixes in _roles(concept):
            for prefix in prefixes:
                found.setdefault(prefix.replace(".", "").upper(), []).append((concept.key, role))
    return found


def _roles(concept: Concept) -> tuple[tuple[str, tuple[str, ...]], ...]:
    # The rubrics that are past by themselves may stand among all prefixes, too: they are taken once, as past.
    present = tuple(prefix for prefix in concept.icd10 if prefix not in concept.history_icd10)
    return ("present", present), ("past", concept.history_icd10), ("not", concept.not_icd10)


def _snomed(knowledge: Knowledge) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for concept in knowledge.concepts.values():
        for code in concept.snomed:
            found[code] = found.get(code, frozenset()) | {concept.key}
    return found


class _Latest:
    """The terms of the knowledge that was used last: a process has one, tests have several."""

    terms: Terms | None = None


def terms_of(knowledge: Knowledge) -> Terms:
    """The index of `knowledge`, made once for each."""
    latest = _Latest.terms
    if latest is None or latest.knowledge is not knowledge:
        latest = _Latest.terms = Terms(knowledge)
    return latest
