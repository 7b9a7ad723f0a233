"""The compiled knowledge: what the YAML files say, checked, indexed and frozen.

`loader.load()` makes one `Knowledge`; everything above this floor only reads it.
Numbers are `Decimal`. Day counts are calendar days.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

import msgspec

from cds_service.chart import Form, Sex
from cds_service.knowledge.expression import Expression
from cds_service.knowledge.vocabulary import (
    Code,
    Concept,
    Evidence,
    Marker,
    Panel,
    Pattern,
    Product,
    Reason,
    Source,
    Switch,
    Test,
    TherapyClass,
)
from cds_service.knowledge.voice import Voice

Indicator = Literal["info", "warning", "critical"]
HookName = Literal["patient-view", "order-select", "order-sign"]

THRESHOLDS = {"above": ">", "at_or_above": ">=", "below": "<", "at_or_below": "<="}
"""The words for a limit in a rule, and what they mean."""


class Window(msgspec.Struct, frozen=True):
    """Days of a test inside a milestone that are not the milestone's, counted from the start of the course."""

    opens: int
    target: int
    overdue_after: int
    every: int | None = None


class Item(msgspec.Struct, frozen=True):
    """A test inside a milestone, with the condition (a predicate tree) under which it is asked for."""

    test: str
    when: Any = None
    look_back: str = ""
    """At baseline: switch that says how many days before the start a result counts, if not the milestone's."""
    window: Window | None = None
    """Days of its own; the test joins the card of the milestone that is open."""


class Milestone(msgspec.Struct, frozen=True):
    """A point of a schedule, in days from the anchor. `every` repeats it from `target` on."""

    key: str
    name: str
    opens: int
    target: int
    overdue_after: int
    closes: int | None
    items: tuple[Item, ...]
    every: int | None = None
    look_back: str = ""
    """Marks a baseline: switch that says how many days before the start a result counts."""
    after_last: bool = False
    """True: `target` and `overdue_after` count from the last result of each test, not from the start, and so does
    `again`, from when on a test is due."""
    again: int = 0
    counts_from: int | None = None
    """With `again`: day of the course before which a result is no last result; None: any result is one."""


class Variant(msgspec.Struct, frozen=True):
    """A schedule that takes the place of the site's choice for some patients."""

    when: Any
    profile: str


class Row(msgspec.Struct, frozen=True):
    """Milestones that run beside those of their schedule, on a clock of their own."""

    milestones: tuple[Milestone, ...]
    clock: Literal["start", "change"] = "start"


class Schedule(msgspec.Struct, frozen=True):
    """The milestones of one protocol under one guideline profile."""

    profile: str
    anchor: tuple[str, ...]
    """Therapy keys whose course starts the clock."""
    milestones: tuple[Milestone, ...]
    yearly: tuple[Item, ...]
    """Tests of the annual rule for a course whose start is unknown."""
    yearly_due_days: int
    yearly_overdue_days: int
    evidence: tuple[Evidence, ...]
    clock: Literal["start", "change"] = "start"
    """`change`: the milestones start again at each change of dose or product."""
    clock_when: Any = None
    """Predicate tree: for whom they do (None: for everybody)."""
    differs: str = ""
    beside: Mapping[str, Row] = {}
    """Rows of milestones by name, each told by a rule of its own that names it in `row`."""


class Wording(msgspec.Struct, frozen=True):
    """What a rule says under one profile of a guideline; what is empty stays as it is."""

    title: str = ""
    advice: str = ""
    differs: str = ""
    evidence: tuple[Evidence, ...] = ()


class Note(msgspec.Struct, frozen=True):
    """A sentence that a card adds when the predicate tree `when` holds (None: always)."""

    text: str
    when: Any = None
    message: str = ""
    """Id of the message of the cards that says it, with `values`; '': cards say `text`."""
    values: Mapping[str, Any] = {}


class Rule(msgspec.Struct, frozen=True):
    """One rule. `spec` holds the fields of its kind, as the kind's schema defines them."""

    id: str
    version: int
    title: str
    status: Literal["active", "draft", "retired"]
    kind: Literal["schedule", "threshold", "change", "calculated", "precondition", "interaction", "quality"]
    hooks: frozenset[str]
    protocol: str
    """Key of the protocol file that holds it."""
    indicator: Indicator
    applies: Any
    """Predicate tree, or None for always."""
    spec: Mapping[str, Any]
    evidence: tuple[Evidence, ...]
    review_by: date
    template: str
    advice: str
    differs: str
    suppresses: frozenset[str]
    line_in: tuple[str, ...]
    """Rules in whose card this finding becomes a line if one of them speaks."""
    reasons: tuple[str, ...]
    runs_without: frozenset[str]
    """Of `sex` and `birth date`: what may be missing without silencing this rule."""
    order: int
    """Place in the tables: decides the order of cards of one indicator."""
    topic: str = ""
    """Code of the card's topic; the id unless said otherwise (due tests share `MISS`)."""
    notes: tuple[Note, ...] = ()
    line_only: bool = False
    """True if the finding never has a card of its own, only a line in the cards of `line_in`."""
    tests: tuple[str, ...] = ()
    """Tests that the card suggests."""
    markers: frozenset[str] = frozenset()
    """Markers that the rule looks at."""
    text_cap: bool = False
    """True if a drug recognised from text only caps the indicator at `warning`."""
    by: Mapping[str, Mapping[str, Wording]] = {}
    """Switch -> profile -> what the rule says where the site has chosen that profile."""
    site_may: frozenset[str] = frozenset()
    """What a site's overlay may change: `limits`, `status`, or names of whole-number fields of `spec`."""
    snooze_days: int | None = None
    """Most days for which an override silences the rule, also where it is critical. None: what the reason is worth,
    and nothing where it is critical."""


class Protocol(msgspec.Struct, frozen=True):
    """A way of treatment that is watched: to whom it applies, its schedules and its rules."""

    key: str
    name: str
    order: int
    applies: Any
    schedules: Mapping[str, Schedule]
    profile_switch: str
    """Switch that picks among `schedules`; '' where there is only one."""
    variants: tuple[Variant, ...] = ()
    about_therapy: bool = True
    """False: what the EHR did not bring is not told for the sake of its rules."""


class Change(msgspec.Struct, frozen=True):
    """One thing that a site's overlay changes, with the reason that it gave."""

    what: str
    """What is changed, e.g. `rule HCT-2: above` or `switch hct_stop`."""
    shipped: str
    """What the shipped files say; '' for an addition."""
    here: str
    """What holds at the site."""
    who: str
    why: str
    until: date
    """Last day on which the change holds."""
    place: str
    """File and line."""
    expired: bool = False
    """True if `until` is past: the change was not applied."""
    rule: str = ""
    """Id of the rule that is changed, '' for everything else."""


class Terms(msgspec.Struct, frozen=True):
    """The terminology: everything but protocols and rules."""

    markers: Mapping[str, Marker]
    codes: Mapping[tuple[str, str], Code]
    """(system, code) -> Code; LOINC and the site's local codes."""
    panels: Mapping[tuple[str, str], Panel]
    denied: Mapping[str, str]
    spellings: Mapping[str, str]
    """Normalised unit spelling -> UCUM."""
    time_units: Mapping[str, int]
    """UCUM unit of time, or a word for it -> seconds that it has."""
    flags: tuple[str, ...]
    """Interpretation codes of laboratories that are read, the one that counts among several first."""
    alarms: frozenset[str]
    """Those of `flags` that a card about the result tells."""
    tests: Mapping[str, Test]
    therapies: Mapping[str, TherapyClass]
    products: Mapping[str, Product]
    """RxCUI -> Product."""
    atc: tuple[tuple[str, Product], ...]
    """ATC prefix -> Product, longest prefix first."""
    patterns: tuple[Pattern, ...]
    routes: Mapping[tuple[str, str], Form]
    """(system, code) of a route of administration -> form."""
    route_words: tuple[tuple[Expression, Form], ...]
    dosage_words: tuple[tuple[Expression, Form], ...]
    """Words of a dosage in a sentence, and the form that they mean."""
    lasts: Mapping[tuple[str, Form], int]
    """(agent, form) -> days that one administered dose lasts, where that is known."""
    may_last: Mapping[Form, int]
    """Form -> days for which a dose may last, where that is longer than the pause that breaks a course."""
    concepts: Mapping[str, Concept]
    gender_identities: Mapping[tuple[str, str], Sex]
    """(system, code) of a gender identity -> the sex towards which it points."""
    sources: Mapping[str, Source]
    reasons: Mapping[str, Reason]
    switches: Mapping[str, Any]
    """Key -> default value; `switch_specs` tells type and allowed values."""
    switch_specs: Mapping[str, Switch]
    presets: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """Switch -> profile that it names -> switches that this profile sets (profiles.yaml)."""
    code_system: str
    """System of the rule ids in card topics."""
    reason_system: str
    """System of the override reasons that are the project's own."""
    days_without_reason: int
    """Days for which a card stays away that was set aside without a reason."""


class Knowledge(Terms, frozen=True):
    """All of it, with what a site adds and changes."""

    version: str
    protocols: tuple[Protocol, ...]
    rules: tuple[Rule, ...]
    local_drugs: Mapping[tuple[str, str], Product] = {}
    """(system, code) -> Product, of the site's own drug codes in systems other than RxNorm and ATC."""
    voice: Voice = Voice()
    """How the service itself speaks of the rules: in what words, with which numbers and dates."""
    changes: tuple[Change, ...] = ()
    """What the site's overlay says, applied or expired."""
