"""The patient as the rules see it.

`fhir/` builds a `Chart` out of FHIR JSON; `rules/` judges it. Nothing here knows FHIR, HTTP or the clock.
All types are frozen. Values are `Decimal` in the canonical UCUM unit of their marker, unrounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

import msgspec

Sex = Literal["male", "female"]
GapKind = Literal[
    # How it came in the request.
    "absent", "null", "outcome", "not_fhir", "wrong_type", "truncated", "unreadable", "other_patient", "not_found",
    # Why it could not be fetched instead.
    "not_listed", "timed_out", "denied", "unreachable", "failed", "too_much",
]  # fmt: skip
"""Why something is not known. `outcome`, `not_fhir`, `wrong_type` and `unreadable` may be said of both."""
Form = Literal["injection", "topical", "patch", "nasal", "implant", "oral", "buccal", "vaginal", "unknown"]


class Phrase(str):
    """A phrase of the service with its values filled in; a site may put the phrase in words of its own.

    Every phrase stands in `cards_templates/phrases.yaml`, with `{braces}` where its values go.
    """

    phrase: str
    values: Mapping[str, object]

    def __new__(cls, phrase: str, /, **values: object) -> Phrase:
        """The English words are the text."""
        made = super().__new__(cls, phrase.format_map(values))
        made.phrase, made.values = phrase, values
        return made


class When(msgspec.Struct, frozen=True, gc=False):
    """A FHIR date or dateTime with the precision in which it was written, or some day of a Period.

    `day` and `last_day` are calendar dates in the site's time zone (equal, unless only a month, a year or a
    period was written). `instant` is set only where a time of day was written. `hour` is the hour as written,
    with its own offset, never converted.
    """

    day: date
    last_day: date
    precision: Literal["period", "year", "month", "day", "time"] = "day"
    instant: datetime | None = None
    hour: int | None = None
    minute: int | None = None
    issued: bool = False
    """True if this is the date of issue, for want of a date of collection."""


def years_between(first: date, last: date) -> int:
    """Completed years from `first` to `last`."""
    return last.year - first.year - ((last.month, last.day) < (first.month, first.day))


class Measurement(msgspec.Struct, frozen=True, gc=False):
    """One laboratory result of one marker.

    `value` is None where `problem` says why it cannot be compared. A result without a value still counts
    as performed, unless the problem is `implausible`, `future` or `undated`.
    """

    marker: str
    value: Decimal | None
    when: When | None
    status: Literal["final", "amended", "corrected", "preliminary", "registered"]
    source: str
    """Reference of the resource, e.g. `Observation/123`."""
    code: str
    """Code by which the marker was recognised."""
    comparator: Literal["", "<", "<=", ">", ">=", "ad"] = ""
    reported: str = ""
    """Value as reported, with comparator, e.g. `0.552` or `<0.1`."""
    reported_unit: str = ""
    problem: Literal[
        "", "no_unit", "unknown_unit", "implausible", "text", "range", "no_value", "future", "undated", "panel"
    ] = ""
    unit_inferred: bool = False
    reference_high: Decimal | None = None
    reference_low: Decimal | None = None
    interpretation: str = ""
    """HL7 interpretation code of the laboratory (`HH`, `LL`, `AA`, …); never decides."""
    traits: frozenset[str] = frozenset()
    """What the code table says of this code, e.g. `estimated`, `calculated`, `fasting`."""
    specimen: str = ""
    conflict: bool = False
    """True if another result of the same instant with another value was set aside (DQ-5)."""

    @property
    def day(self) -> date | None:
        """Calendar day of the sample (first day of a month-only date), or None."""
        return self.when.day if self.when else None


class Supply(msgspec.Struct, frozen=True):
    """One product of a course: what was given, and from when to when (`end` None = still running)."""

    agent: str
    form: Form
    start: date | None
    end: date | None
    dose_text: str = ""
    weekly_mg: Decimal | None = None
    """Dose in mg per week where the dosage says it in full; else None."""
    source: str = ""
    systemic: bool = False
    """True for a product that acts in the whole body although its form is a local one (Product.systemic)."""


class Therapy(msgspec.Struct, frozen=True):
    """One continuous course of one therapy key, over renewals and products.

    `start` is None where the beginning of the course is not in the chart (*established*).
    `end` is None for a current course. `recognised` says by which step of recognition, for the card.
    """

    key: str
    current: bool
    start: date | None
    end: date | None
    supplies: tuple[Supply, ...]
    """Newest first; never empty."""
    recognised: str
    """E.g. `RxNorm product 835829`, `ATC G03BA03`, `free text "testosterone"`."""
    from_text: bool = False
    dose_changed: date | None = None
    """Latest change of dose or product inside the course, or None."""
    on_hold: bool = False
    sources: tuple[str, ...] = ()
    given: tuple[When, ...] = ()
    """When single doses were administered, newest first, as far as the chart records it."""
    unsure: bool = False
    """True if it is not current, but may go on: only doses that were given tell of it, and how long the last one
    lasts is not known."""

    @property
    def agent(self) -> str:
        """Name of the newest product's ingredient."""
        return self.supplies[0].agent

    @property
    def form(self) -> Form:
        """Dose form of the newest product."""
        return self.supplies[0].form


class Draft(msgspec.Struct, frozen=True):
    """A drafted medication order of an order hook, already recognised."""

    key: str
    agent: str
    form: Form
    source: str
    """`Type/id` as `selections` names it."""
    selected: bool
    recognised: str
    from_text: bool = False
    weekly_mg: Decimal | None = None
    name: str = ""
    systemic: bool = False


class Condition(msgspec.Struct, frozen=True):
    """A diagnosis that belongs to at least one concept of `knowledge/conditions.yaml`."""

    concepts: frozenset[str]
    active: bool
    """False: inactive, in remission or resolved. True also where that is not known (`end_unknown`)."""
    uncertain: bool
    """True if the verification status is provisional, differential or unconfirmed."""
    name: str
    source: str
    onset: When | None = None
    recorded: When | None = None
    code: str = ""
    abated: When | None = None
    past: bool = False
    """True if its rubric itself says that it is past, so that its record may be much later than its onset."""
    end_unknown: bool = False
    """True if nothing but an end that cannot be placed before or after today tells whether it is still there."""


class Procedure(msgspec.Struct, frozen=True):
    """A completed (or in-progress) procedure or device of a known concept."""

    concepts: frozenset[str]
    name: str
    source: str
    when: When | None = None


class Order(msgspec.Struct, frozen=True):
    """An open or drafted test order: which markers it will bring."""

    markers: frozenset[str]
    name: str
    source: str
    drafted: bool
    authored: When | None = None
    panel: str = ""
    codes: frozenset[str] = frozenset()
    accepted: bool = False
    """True if it is no order of the chart, but a suggestion that a user accepted."""
    selected: bool = True
    """Of a drafted order: True if this call is about it."""


class Patient(msgspec.Struct, frozen=True):
    """Who the chart is about. No name and no identifier but the FHIR id."""

    id: str
    birth: When | None = None
    deceased: bool = False
    sex: Sex | None = None
    sex_source: Literal["sex parameter for clinical use", "birth sex", "recorded gender", ""] = ""
    birth_sex: Sex | None = None
    recorded_gender: str = ""
    gender_identity: Sex | None = None
    """Direction in which a recorded gender identity points, where it is one of the two."""
    sex_parameter: Sex | None = None


class Gap(msgspec.Struct, frozen=True):
    """What could not be known, and why.

    `covers` names what is affected: marker keys, or `results` (of which marker is not known), `medications`,
    `conditions`, `procedures`, `orders`, `drafts`, `patient`. `complete_since` is set for a truncated,
    newest-first list: from that day on nothing is missing.
    """

    key: str
    kind: GapKind
    detail: str
    covers: frozenset[str]
    complete_since: date | None = None


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A resource (or a part of one) that was not used, with the reason as a stable word and a sentence."""

    source: str
    reason: str
    detail: str
    covers: frozenset[str] = frozenset()
    """Markers or areas that the resource would have told about, where that could be seen."""
    tell: bool = False
    """True if not knowing this matters to the user (unreadable), False if it is silent by design."""
    code: tuple[str, str] = ("", "")
    """System and code of a result whose code is not read, where its name looks like one of our markers."""
    resembles: str = ""
    """That marker."""
    part: bool = False
    """True for a part (a component, a second copy) of a resource that is counted elsewhere. Those without it
    and the used resources add up to `Chart.resources_in`."""
    lacks: str = ""
    """Reference to the resource that did not come with it, where that is the reason."""


class Chart(msgspec.Struct, frozen=True):
    """Everything that the rules may look at."""

    patient: Patient
    measurements: Mapping[str, tuple[Measurement, ...]] = {}
    """By marker, newest first; usable and preliminary ones, doubtful ones with their problem."""
    therapies: tuple[Therapy, ...] = ()
    conditions: tuple[Condition, ...] = ()
    procedures: tuple[Procedure, ...] = ()
    orders: tuple[Order, ...] = ()
    drafts: tuple[Draft, ...] = ()
    gaps: tuple[Gap, ...] = ()
    refused: tuple[Refused, ...] = ()
    resources_in: int = 0
    resources_used: int = 0
    pregnancy: tuple[str, ...] = ()
    """Sources of evidence of a current pregnancy besides conditions (pregnancy status observations)."""


class SetAside(msgspec.Struct, frozen=True):
    """A user once overrode the card of a rule for this patient."""

    on: date
    """Day of the override in the site's time zone."""
    reason: str
    """Key of the reason (reasons.yaml); '' if none was given, or one that is not offered."""
    indicator: str
    """Urgency of the card."""
    tests: frozenset[str] = frozenset()
    """Tests that the card told as due."""
    known: tuple[Measurement | Condition | Procedure, ...] = ()
    """Facts of today's chart that the card rested on."""


class Past(msgspec.Struct, frozen=True):
    """What is remembered of earlier calls about this patient. Nothing, if nothing could be read."""

    set_aside: Mapping[str, tuple[SetAside, ...]] = {}
    """By rule, newest first."""
    accepted: Mapping[str, date] = {}
    """Test -> day on which a user last accepted the suggestion to order it."""
