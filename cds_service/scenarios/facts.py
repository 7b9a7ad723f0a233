"""The vocabulary of a clinical case: what a scenario file may say, as frozen types.

    Case
      patient    PatientFacts
      given      Given: therapies, results, conditions, procedures, orders, drafts
      prefetch   Faults: what the EHR failed to send
      expect     Expect: cards, and how rules ended

Everything here is still in the author's words: dates may be relative (`-12d`), a value carries its unit in
one string (`55.2 %`). `build` turns the words into FHIR R4. The fields are described for authors in
`knowledge/schema/scenario.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

import msgspec

from cds_service.knowledge.model import HookName, Indicator


class PatientFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who the case is about. Empty strings are absent elements."""

    id: str = "example"
    name: str = ""
    gender: str = ""
    born: str = ""
    age: int | None = None
    """Completed years on `as_of`: short for a birthday on that very day."""
    birth_sex: Literal["", "male", "female"] = ""
    sex_parameter: Literal["", "male", "female"] = ""
    gender_identity: Literal["", "male", "female"] = ""
    deceased: bool | str = False
    """True, or the date of death."""


class TherapyFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One drug, from one start on, with its renewals."""

    drug: str = ""
    """Name of a known product, or an RxNorm code."""
    text: str = ""
    """What somebody typed, without a code."""
    atc: str = ""
    kind: Literal["request", "statement", "doses"] = "request"
    """`doses`: no prescription at all, only the doses under `given`."""
    start: str = ""
    end: str = ""
    status: str = ""
    renewals: tuple[str, ...] = ()
    prior: bool = False
    """True if an earlier prescription is named that is not in the chart: the start is unknown."""
    supply: str = ""
    """How long each prescription lasts, e.g. `90d`."""
    route: str = ""
    dose: str = ""
    given: tuple[str, ...] = ()
    """When single doses were administered: a date, or a date with a time (`-11d 08:00`)."""


class ResultFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One laboratory result of one marker."""

    marker: str
    value: str
    """`55.2 %`, `>150 ng/mL`, `0.552` (no unit), any text, or '' for a result without a value."""
    on: str = ""
    time: str = ""
    """Time of collection as the laboratory wrote it, `08:15` or `08:15-05:00`; UTC without an offset."""
    status: str = "final"
    code: str = ""
    comparator: str = ""
    issued: str = ""
    low: str = ""
    high: str = ""
    """Reference range of the laboratory, in the unit of the value."""
    interpretation: str = ""


class ConditionFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A diagnosis by ICD-10-CM code (`C61`) or SNOMED CT code (`sct 399068003`)."""

    code: str
    name: str = ""
    status: str = "active"
    verification: str = "confirmed"
    onset: str = ""
    recorded: str = ""
    abated: str = ""


class ProcedureFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A procedure by SNOMED CT code, or by words alone."""

    code: str = ""
    name: str = ""
    on: str = ""
    status: str = "completed"


class OrderFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A test that is already ordered."""

    test: str = ""
    code: str = ""
    on: str = ""
    status: str = "active"


class DraftFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order that is being written: a drug (`drug`, `text` or `atc`) or a test."""

    drug: str = ""
    text: str = ""
    atc: str = ""
    test: str = ""
    selected: bool = True
    route: str = ""
    dose: str = ""


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the chart holds."""

    therapies: tuple[TherapyFacts, ...] = ()
    results: tuple[ResultFacts, ...] = ()
    conditions: tuple[ConditionFacts, ...] = ()
    procedures: tuple[ProcedureFacts, ...] = ()
    orders: tuple[OrderFacts, ...] = ()
    drafts: tuple[DraftFacts, ...] = ()


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the EHR does not send properly: prefetch keys, or what they cover (`results`, `HCT`, …)."""

    omit: tuple[str, ...] = ()
    null: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    """An OperationOutcome instead of the data."""
    html: tuple[str, ...] = ()
    """A web page instead of the data."""
    truncated: tuple[str, ...] = ()
    """The first half only, with a link to the next page."""


class ExpectedCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one card must be."""

    rule: str
    indicator: Indicator
    summary: str = ""
    says: tuple[str, ...] = ()
    not_says: tuple[str, ...] = ()
    tests: tuple[str, ...] | None = None
    """Tests that the card suggests to order, in any order; None: not looked at."""


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the service must answer."""

    cards: tuple[ExpectedCard, ...] = ()
    others: Literal["none", "allowed"] = "none"
    """Whether cards beside those named may appear."""
    silent: tuple[str, ...] = ()
    """Rules that must not speak: no card, no finding."""
    unknown: tuple[str, ...] = ()
    """Rules that must end in `unknown`."""
    next_due: Mapping[str, str] = {}
    status: int = 200


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One clinical case."""

    title: str
    as_of: date
    id: str = ""
    about: str = ""
    hook: HookName = "patient-view"
    switches: Mapping[str, Any] = {}
    site: Mapping[str, tuple[str, ...]] = {}
    """Codes that the site adds to a concept of `knowledge/conditions.yaml`, written as in `ConditionFacts`."""
    patient: PatientFacts = PatientFacts()
    given: Given = Given()
    prefetch: Faults = Faults()
    expect: Expect = Expect()
    place: str = ""
    """File and line, for messages."""
