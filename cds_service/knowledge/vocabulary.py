"""The words of the knowledge: markers, panels, tests, therapies, products, concepts, sources, reasons, switches.

`terminology.py` makes them of the YAML files; `model.py` holds the rules that use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from cds_service.chart import Form
from cds_service.knowledge.expression import Expression


class Code(msgspec.Struct, frozen=True):
    """One result code of a marker."""

    code: str
    marker: str
    name: str
    traits: frozenset[str]
    unit: str
    """Example UCUM unit of the code table ('' if none); tells mass from molar codes, never converts."""
    mark: str
    evidence: str
    assumed_unit: str = ""
    """UCUM unit of results of this code that carry none ('' if that is not known). Only a site can say so."""


class InferUnit(msgspec.Struct, frozen=True):
    """A range inside which a missing unit may be inferred (both ends included)."""

    low: Decimal
    high: Decimal
    unit: str


class Marker(msgspec.Struct, frozen=True):
    """One thing that a laboratory measures, with its canonical unit."""

    key: str
    name: str
    """As in a sentence, e.g. `hematocrit`, `total testosterone`."""
    unit: str
    """Canonical UCUM unit, '' for results without a number."""
    unit_display: str
    decimals: int | None
    """Display precision as decimals, or None for three significant digits."""
    low: Decimal | None
    high: Decimal | None
    """Plausible range, both ends included, canonical unit; None: no range."""
    factors: Mapping[str, tuple[Decimal, Decimal]]
    """UCUM unit -> (factor, offset): canonical = value x factor + offset. Holds the canonical unit too."""
    infer: tuple[InferUnit, ...]
    counts_as: str
    """Marker that a result of this one also satisfies in a schedule ('' if none)."""
    assay: Literal["", "sandwich", "competitive"]
    safety: bool
    """True for the safety markers of the schedule's severity rule."""
    unstandardised: frozenset[str] = frozenset()
    """Units that are taken as they are though assays do not agree on them."""
    not_converted: frozenset[str] = frozenset()
    """UCUM units that are known for this marker but have no safe factor: done, never compared, no complaint."""


class Panel(msgspec.Struct, frozen=True):
    """An orderable panel code and the markers that it brings."""

    code: str
    key: str
    name: str
    markers: frozenset[str]


class OrderCode(msgspec.Struct, frozen=True):
    """A code by which a site orders a test."""

    system: str
    code: str
    display: str


class Test(msgspec.Struct, frozen=True):
    """One item of a schedule: what a clinician orders, and which results show that it was done.

    `done_by`: alternatives; each is a set of markers that must all have a result.
    """

    key: str
    name: str
    done_by: tuple[frozenset[str], ...]
    order_system: str
    order_code: str
    order_display: str
    brings: frozenset[str]
    """Markers that an order of this test will bring (to see what is already ordered)."""
    safety: bool
    note: str = ""
    same_day: frozenset[str] = frozenset()
    """Markers whose results of one day together also count, if `same_day_switch` is on (calculated values)."""
    same_day_switch: str = ""
    local_orders: tuple[OrderCode, ...] = ()
    """The site's own codes for the same order."""


class TherapyClass(msgspec.Struct, frozen=True):
    """A therapy key."""

    key: str
    name: str
    local_forms: frozenset[str]
    """Dose forms that act locally only (vaginal estrogen): no systemic rule."""

    def acts_locally(self, form: str, systemic: bool) -> bool:
        """True for a product that acts only where it is applied; `systemic` as in `Product`."""
        return form in self.local_forms and not systemic


class Product(msgspec.Struct, frozen=True):
    """What one drug code contains, as far as the service knows."""

    code: str
    name: str
    keys: tuple[str, ...]
    """Therapy keys; empty for a product that is known and must start nothing (a contraceptive, say)."""
    agent: str
    form: Form
    systemic: bool = False
    """True for a product that acts on the whole body although its form is one of the local ones."""
    tty: str = ""
    """RxNorm term type (`SCD`, `SBD`, `IN`, `PIN`, `MIN`), '' for an ATC group."""


class AgentHint(msgspec.Struct, frozen=True):
    """What a word in a free text tells beyond the therapy key: the agent, and the form where it is certain."""

    pattern: Expression
    agent: str
    form: Form
    systemic: bool = False


class Pattern(msgspec.Struct, frozen=True):
    """A free-text pattern of one therapy key."""

    key: str
    positive: Expression
    negative: Expression | None
    agents: tuple[AgentHint, ...] = ()
    """First match wins; none: the agent is the name of the therapy key, the form `unknown`."""


class Concept(msgspec.Struct, frozen=True):
    """A set of condition or procedure codes under one name."""

    key: str
    name: str
    icd10: tuple[str, ...]
    """Prefixes, without dots."""
    not_icd10: tuple[str, ...]
    snomed: frozenset[str]
    history_counts: bool
    """True if inactive, remitted and resolved entries count too."""
    site_only: bool
    """True if the shipped files hold no code: rules that need it run only when the site gives one."""
    history_icd10: tuple[str, ...] = ()
    """Those of `icd10` whose rubric itself says that it is past (personal history, old infarction)."""
    observations: Mapping[tuple[str, str], frozenset[tuple[str, str]]] = {}
    """(system, code) of an Observation -> (system, code) of the coded values that mean this concept."""
    words: Expression | None = None
    """Words that name it where there is no code of ours."""
    undone: Expression | None = None
    """Words beside them that say that it was taken out or not done."""
    words_count: bool = False
    """True if what is only named counts as the concept; else it is told as not judged."""


class Source(msgspec.Struct, frozen=True):
    """A guideline, label or project decision that a rule rests on."""

    key: str
    label: str
    url: str
    """Absolute https address, '' where none is certain."""
    year: int
    """Year of publication, 0 where it is not stated."""


class Evidence(msgspec.Struct, frozen=True):
    """Why a rule says what it says."""

    source: str
    section: str
    strength: str
    mark: Literal["verified", "from memory", "project"]


class Reason(msgspec.Struct, frozen=True):
    """A reason that a user may give for setting a card aside."""

    code: str
    system: str
    display: str
    snooze_days: int


class Switch(msgspec.Struct, frozen=True):
    """A choice that a site may make: which guideline, which limit, what is on."""

    key: str
    default: str | int | bool | Decimal | None
    type: Literal["choice", "bool", "int", "decimal"]
    allowed: tuple[str, ...]
    """Words of a `choice`; empty for the other types."""
    description: str
    nullable: bool = False
    """True if None (no limit) is a value too."""
