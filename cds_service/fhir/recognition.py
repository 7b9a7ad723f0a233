"""Which therapy a medication record is about (clinical reference 2.2, recognition order; 0.4.13).

Tried in this order: RxNorm codes, of the record itself, then of the Medication that it refers to, then of that
Medication's ingredients; codes that the site's overlay names, of any other system; ATC codes; words. NDC and SNOMED
CT name products only by such an overlay: no map of them is part of the knowledge. A code of a product that is known
and starts nothing (a contraceptive) ends the search: its name must not bring back what its code ruled out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from cds_service.chart import Form
from cds_service.fhir.resources import Coding, Concept, Reference
from cds_service.fhir.terms import Terms, fold
from cds_service.knowledge.systems import ATC, RXNORM
from cds_service.knowledge.vocabulary import Pattern, Product

_PUNCTUATION = re.compile(r"[^\w\s]+")
_PRECISE = {"SBD": 0, "SCD": 0, "MIN": 1, "PIN": 2, "IN": 3}
"""RxNorm term types, the most telling first: a product says form and strength, an ingredient neither."""


class Names(NamedTuple):
    """Everything that a record says about its drug."""

    own: Concept | None
    medication: Concept | None = None
    ingredients: Sequence[Concept] = ()
    reference: Reference | None = None

    def concepts(self) -> list[Concept]:
        """The record's own concept and that of its Medication, as far as they are there."""
        return [concept for concept in (self.own, self.medication) if concept is not None]

    def texts(self) -> list[str]:
        """All names, the ones that people wrote first."""
        found: list[str | None] = []
        for concept in (*self.concepts(), *self.ingredients):
            found.append(concept.text)
            found.extend(coding.display for coding in concept.coding or ())
        if self.reference is not None:
            found.append(self.reference.display)
        return [text for text in found if text and text.strip()]


class Drug(msgspec.Struct, frozen=True, gc=False):
    """One therapy key of a record, and what is known of the product."""

    key: str
    agent: str
    form: Form
    systemic: bool
    recognised: str
    from_text: bool
    product: str
    """Name of the product as the knowledge has it; '' for a drug recognised from words."""


class Recogniser:
    """Recognises the drugs of one chart; renewals with the same name are looked at once."""

    def __init__(self, terms: Terms) -> None:
        """`terms` is the index of the knowledge."""
        self._terms = terms
        self._read: dict[str, tuple[Drug, ...]] = {}

    def drugs(self, names: Names) -> tuple[Drug, ...] | None:
        """What the record starts: () for an unknown drug, None for a known product that starts nothing."""
        concepts = names.concepts()
        for step in (self._rxnorm, self._local, self._atc):
            for group in (*([concept] for concept in concepts), names.ingredients):
                found = _join(step, group)
                if found is None or found:
                    return found
        return self._words(names.texts())

    def _rxnorm(self, concept: Concept) -> tuple[Product, str] | None:
        known = self._terms.knowledge.products
        products = [
            product
            for coding in concept.coding or ()
            if coding.system == RXNORM and (product := known.get((coding.code or "").strip())) is not None
        ]
        if not products:
            return None
        best = min(products, key=lambda product: (bool(product.keys), _PRECISE.get(product.tty, len(_PRECISE))))
        word = "product" if _PRECISE.get(best.tty, 0) == 0 else "ingredient"
        return best, f"RxNorm {word} {best.code}"

    def _local(self, concept: Concept) -> tuple[Product, str] | None:
        known = self._terms.knowledge.local_drugs
        for coding in concept.coding or () if known else ():
            product = known.get((coding.system or "", (coding.code or "").strip()))
            if product is not None:
                return product, f"local drug code {product.code}"
        return None

    def _atc(self, concept: Concept) -> tuple[Product, str] | None:
        for coding in concept.coding or ():
            product = _atc_of(self._terms, coding)
            if product is not None:
                return product, f"ATC {(coding.code or '').strip()}"
        return None

    def _words(self, texts: Iterable[str]) -> tuple[Drug, ...]:
        for text in texts:
            found = self._read.get(text)
            if found is None:
                found = self._read[text] = self._from_text(text)
            if found:
                return found
        return ()

    def _from_text(self, text: str) -> tuple[Drug, ...]:
        folded = fold(text)
        # Punctuation counts for some names and parts the words of others, so both readings are searched.
        both = f"{folded}\n{fold(_PUNCTUATION.sub(' ', folded))}"
        if not self._terms.may_name_drug(both):
            return ()
        found: dict[str, Drug] = {}
        for pattern in self._terms.knowledge.patterns:
            drug = self._by(pattern, both)
            if drug is not None:
                found.setdefault(drug.key, drug)  # a site's own words for a therapy stand before the shipped ones
        return tuple(found.values())

    def _by(self, pattern: Pattern, text: str) -> Drug | None:
        match = pattern.positive.search(text)
        if match is None or (pattern.negative is not None and pattern.negative.search(text)):
            return None
        therapy = self._terms.knowledge.therapies.get(pattern.key)
        agent, systemic = therapy.name if therapy else pattern.key, False
        form: Form = "unknown"
        for hint in pattern.agents:
            if hint.pattern.search(text):
                agent, form, systemic = hint.agent, hint.form, hint.systemic
                break
        return Drug(pattern.key, agent, form, systemic, f'free text "{match[0]}"', from_text=True, product="")


def _atc_of(terms: Terms, coding: Coding) -> Product | None:
    code = (coding.code or "").strip()
    return terms.atc(code) if coding.system == ATC and code else None


def _join(
    step: Callable[[Concept], tuple[Product, str] | None], concepts: Sequence[Concept]
) -> tuple[Drug, ...] | None:
    """The drugs of all concepts of one group; None if one of them is a product that must start nothing."""
    drugs: list[Drug] = []
    for concept in concepts:
        found = step(concept)
        if found is None:
            continue
        product, how = found
        if not product.keys:
            return None
        drugs.extend(
            Drug(key, product.agent, product.form, product.systemic, how, from_text=False, product=product.name)
            for key in product.keys
        )
    return tuple(drugs)
