"""What the rules of one evaluation share: the chart, the knowledge, the day, and look-ups over them."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from cds_service.chart import (
    Chart,
    Draft,
    Gap,
    Measurement,
    Order,
    Past,
    Refused,
    Supply,
    Therapy,
    When,
    years_between,
)
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.statuses import USABLE
from cds_service.knowledge.units import for_display
from cds_service.knowledge.vocabulary import Test
from cds_service.rules.index import INDEX
from cds_service.rules.outcome import Compared, Doubt, Outcome, Step

S = TypeVar("S")
T = TypeVar("T")

NOTHING = Past()
NOT_PERFORMED = frozenset({"implausible", "future", "undated", "panel"})


class Context:
    """One evaluation. Holds no state but memos; the same context always gives the same answers."""

    def __init__(self, chart: Chart, knowledge: Knowledge, as_of: date, hook: str, past: Past = NOTHING) -> None:
        """Index the gaps of the chart by what they cover."""
        self.chart = chart
        self.knowledge = knowledge
        self.index = INDEX.of(knowledge)
        self.as_of = as_of
        self.hook = hook
        self.past = past
        self.truths: dict[int, Any] = {}
        """Answers that were given before, by the number of their question."""
        self.steps: list[Step] | None = None
        """What the rule at work has computed; None unless the evaluation is traced."""
        self._ages: tuple[int | None, int | None] | None = None
        self._courses: dict[frozenset[str], Therapy | None] = {}
        self._series: dict[str, tuple[Measurement, ...]] = {}
        self._performed: dict[str, tuple[Measurement, ...]] = {}
        self._done: dict[str, tuple[Measurement, ...]] = {}
        self._comparable: dict[tuple[str, int | None], tuple[Measurement, ...]] = {}
        self.gaps: dict[str, list[Gap | Refused]] = {}
        """What the chart lacks, by area."""
        holes: list[Gap | Refused] = [*chart.gaps, *[refused for refused in chart.refused if refused.tell]]
        for hole in holes:
            for area in hole.covers:
                self.gaps.setdefault(area, []).append(hole)
        self.taken = {course.key for course in chart.therapies}
        """Therapy keys of all courses, past ones too."""
        self.possible = knowledge.therapies.keys() if "medications" in self.gaps else self.taken
        """Those that the patient may have taken for all that the chart tells."""

    def once(self, part: S, make: Callable[[S, Context], T]) -> T:
        """What `make` works out of a part of the knowledge, for every chart alike, when it is first asked for."""
        found = self.index.made.get(id(part))
        if found is None:  # the part is kept beside it, so that its id stays its own
            found = self.index.made[id(part)] = (part, make(part, self))
        made: T = found[1]
        return made

    def switch(self, name: str) -> Any:
        """Value of a site switch; an unknown name is an error of the knowledge base."""
        return self.knowledge.switches[name]

    def limit(self, spec: Any) -> Decimal:
        """A limit of a rule: a decimal string, or a mapping that names what picks it.

        `{switch: name}`, `{switch: name, values: {…: limit}}`, or `{by_sex: {male: limit, female: limit}}`, for
        rules that do not run without a sex.
        """
        if isinstance(spec, dict):
            if "by_sex" in spec:
                return self.limit(spec["by_sex"][self.chart.patient.sex])
            value = self.switch(spec["switch"])
            if "values" in spec:
                return self.limit(spec["values"][str(value).lower()])
            return Decimal(str(value))
        return Decimal(str(spec))

    def limit_for(self, spec: Any, result: Measurement | None) -> tuple[Decimal, bool] | None:
        """The number that a limit means for a result (None: for any), and whether it is the laboratory's own.

        None if the laboratory's own is wanted, was not reported, and nothing stands for it.
        """
        if not isinstance(spec, dict) or "reference" not in spec:
            return self.limit(spec), False
        if result is None:
            return None
        bound = result.reference_high if spec["reference"] == "high" else result.reference_low
        times = Decimal(spec.get("times", "1"))
        if bound is None:
            return (self.limit(spec["default"]) * times, False) if "default" in spec else None
        return for_display(self.knowledge.markers[result.marker], bound * times), True

    def days(self, spec: Any) -> int:
        """A count of days or months: a number or `{switch: name}`; None stands for the switch `max_age_days`."""
        if spec is None:
            return int(self.switch("max_age_days"))
        return int(self.switch(spec["switch"]) if isinstance(spec, dict) else spec)

    def compared(  # noqa: PLR0913, PLR0917 - all that there is to say about a comparison
        self,
        holder: Mapping[str, Any],
        word: str,
        value: Decimal,
        operator: str,
        limit: Decimal,
        passed: bool | None,
        result: Measurement | None = None,
        **more: Any,
    ) -> bool | None:
        """Note a comparison where the evaluation is traced; `passed` comes back as it is."""
        if self.steps is not None:
            subject = more.pop("subject", None) or (result.marker if result else holder["marker"])
            self.steps.append(Compared(holder, word, subject, value, operator, limit, passed, result, **more))
        return passed

    def traced(self, outcome: Outcome) -> Outcome:
        """The outcome with what its rule computed, where the evaluation is traced."""
        if not self.steps:
            return outcome
        trace, self.steps = tuple(self.steps), []
        return msgspec.structs.replace(outcome, trace=trace)

    # -- what is not known ---------------------------------------------------------------------------

    def doubts(self, area: str, since: date | None = None) -> tuple[Doubt, ...]:
        """Why the chart may lack something of `area` from `since` on (None: ever); () if it does not."""
        holes = self.gaps.get(area)
        if not holes:
            return ()
        found = []
        for hole in holes:
            if isinstance(hole, Gap):
                if hole.complete_since is not None and since is not None and since >= hole.complete_since:
                    continue
                found.append(Doubt(f"gap_{hole.kind}", area, {"key": hole.key, "detail": hole.detail}))
            else:
                found.append(Doubt("refused", area, {"source": hole.source, "detail": hole.detail}))
        return tuple(found)

    def lately(self, marker: str, days: int) -> tuple[Doubt, ...]:
        """`doubts` about the results of so many days."""
        return self.doubts(marker, self.as_of - timedelta(days=days)) if self.gaps else ()

    # -- results -------------------------------------------------------------------------------------

    def series(self, marker: str) -> tuple[Measurement, ...]:
        """Final results of a marker, newest first, comparable or not."""
        known = self._series.get(marker)
        if known is None:
            found = self.chart.measurements.get(marker, ())
            known = self._series[marker] = tuple([m for m in found if m.status in USABLE])
        return known

    def performed(self, marker: str) -> tuple[Measurement, ...]:
        """Results that show that the test was done, newest first (with those of markers counted as it)."""
        known = self._performed.get(marker)
        if known is None:
            keys = [marker, *self.index.counted_as.get(marker, ())]
            found = [m for key in keys for m in self.series(key) if m.problem not in NOT_PERFORMED and m.when]
            if len(keys) > 1:
                found.sort(key=lambda m: m.day or date.min, reverse=True)
            known = self._performed[marker] = tuple(found)
        return known

    def done(self, marker: str) -> tuple[Measurement, ...]:
        """Results that show for the schedule that the test was done, newest first.

        Those of `performed`, and, where the site counts them (1.3), panels that came without their results.
        """
        found = self._done.get(marker)
        if found is None:
            found = self.performed(marker)
            if self.switch("panel_counts_as_done"):
                panels = tuple(m for m in self.series(marker) if m.problem == "panel" and m.when)
                if panels:
                    found = tuple(sorted((*found, *panels), key=lambda m: m.day or date.min, reverse=True))
            self._done[marker] = found
        return found

    def comparable(self, marker: str, max_age: int | None = None) -> tuple[Measurement, ...]:
        """Results that can meet a limit, newest first, not older than `max_age` days."""
        key = (marker, max_age)
        known = self._comparable.get(key)
        if known is None:
            found = [m for m in self.series(marker) if m.value is not None and m.when and not m.problem]
            if max_age is not None:
                today = self.as_of
                found = [m for m in found if m.when and (today - m.when.day).days <= max_age]
            known = self._comparable[key] = tuple(found)
        return known

    def recent(self, day: date, max_age: int | None) -> bool:
        """True if `day` is at most `max_age` days before today (None: any age)."""
        return max_age is None or (self.as_of - day).days <= max_age

    def shown(self, measurement: Measurement, factor: Decimal = Decimal(1)) -> Decimal:
        """The value that is compared: converted exactly, times `factor`, then rounded (0.4.14)."""
        if measurement.value is None:
            raise ValueError(f"{measurement.source} has no value")
        return for_display(self.knowledge.markers[measurement.marker], measurement.value * factor)

    # -- therapies -----------------------------------------------------------------------------------

    def courses(self, keys: frozenset[str], current: bool | None = True) -> tuple[Therapy, ...]:
        """Courses of any of the therapy keys; `current` None takes past ones too."""
        if keys.isdisjoint(self.taken):
            return ()
        found = [course for course in self.chart.therapies if course.key in keys]
        return tuple(found if current is None else [course for course in found if course.current is current])

    def course(self, keys: frozenset[str]) -> Therapy | None:
        """The current course of these keys that began first (None: none; an unknown start comes first).

        One that acts only where it is applied is left out: nothing counts its days.
        """
        if keys not in self._courses:
            found = [course for course in self.courses(keys) if not self.acts_locally(course)]
            self._courses[keys] = min(found, key=lambda t: t.start or date.min, default=None)
        return self._courses[keys]

    def selected(self, keys: frozenset[str]) -> tuple[Draft, ...]:
        """Drafts that this call is about."""
        return tuple(d for d in self.chart.drafts if d.selected and d.key in keys)

    def already_ordered(self, test: Test) -> Order | None:
        """What will bring the test: a drafted order, a recent open one, a suggestion accepted lately (0.4.24)."""
        limit = self.switch("order_counts_days")
        for order in self.chart.orders:
            brings = test.order_code in order.codes or any(markers <= order.markers for markers in test.done_by)
            if not brings:
                continue
            if order.drafted:
                return order
            if order.authored is not None and (self.as_of - order.authored.day).days <= limit:
                return order
        return self._accepted(test)

    def _accepted(self, test: Test) -> Order | None:
        """An order for what a user accepted a while ago: it may be signed, or its result on the way."""
        day = self.past.accepted.get(test.key)
        if day is None or (self.as_of - day).days > self.switch("accepted_counts_days"):
            return None
        markers = frozenset().union(*test.done_by)
        return Order(markers, test.name, "", drafted=False, authored=When(day, day), accepted=True)

    def local(self, key: str, form: str, systemic: bool = False) -> bool:
        """True if this form of the therapy acts only where it is applied (vaginal estrogen)."""
        known = self.knowledge.therapies.get(key)
        return known is not None and known.acts_locally(form, systemic)

    def acts_locally(self, course: Therapy) -> bool:
        """`local` of the newest product of a course."""
        return self.local(course.key, course.form, course.supplies[0].systemic)

    def age(self) -> tuple[int | None, int | None]:
        """Least and greatest age in completed years that the birth date allows; (None, None) if unknown."""
        if self._ages is None:
            birth, today = self.chart.patient.birth, self.as_of
            known = birth and (years_between(birth.last_day, today), years_between(birth.day, today))
            self._ages = known or (None, None)
        return self._ages

    def adult(self) -> bool | None:
        """True from the site's least age on; None if the birth date does not tell."""
        least, greatest = self.age()
        if least is None or greatest is None:
            return None
        floor = self.switch("min_age")
        return least >= floor if (least >= floor) == (greatest >= floor) else None


def names(spec: Any) -> frozenset[str]:
    """A name or a list of names as a set."""
    return frozenset([spec]) if isinstance(spec, str) else frozenset(spec)


def supplies_on(therapy: Therapy, day: date) -> tuple[Supply, ...]:
    """Products of the course that were current on `day`; the one before it if none was."""
    found = tuple(
        s for s in therapy.supplies if (s.start is None or s.start <= day) and (s.end is None or day <= s.end)
    )
    if found:
        return found
    before = tuple(s for s in therapy.supplies if s.start is None or s.start <= day)
    return before[:1] or therapy.supplies[-1:]


def months_before(day: date, months: int) -> date:
    """Same day of the month `months` earlier, clipped to the month's end (0.4.12)."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
