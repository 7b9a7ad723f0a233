"""From single prescriptions to courses: one continuous therapy over renewals and products (2.2, 0.4.7).

A course goes on as long as the next record begins within the gap, counted from the end of the supply before it
where that is known, else from its date. A renewal never moves the start.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import date

import msgspec

from cds_service.chart import Form, Supply, Therapy, When
from cds_service.fhir.dates import add_days
from cds_service.fhir.dosage import Dose
from cds_service.fhir.recognition import Drug


class Span(msgspec.Struct, frozen=True, gc=False):
    """When one record begins and ends."""

    active: bool
    """True if its own status says that the therapy goes on."""
    start: date | None
    reach: date | None
    """Day from which the gap to the next record is counted: end of supply, else the record's date."""
    supply_end: date | None
    """Day on which the supply runs out, where it is known."""
    end: date | None
    """Day on which a record that is over ended; None for an active one."""
    given: When | None = None
    """When the dose was administered, for a record of one."""
    unsure: bool = False
    """True for such a dose if it is too old to show that the therapy goes on, and too young to show its end."""
    stopped: bool = False
    """True if its own status says that the therapy was stopped."""


class Piece(msgspec.Struct, frozen=True):
    """One medication record of one therapy key."""

    drug: Drug
    span: Span
    dose: Dose
    source: str
    form: Form
    local: bool
    """True if it acts only where it is applied."""
    on_hold: bool
    strength: tuple[tuple[str, ...], ...]
    renews: str | None
    """Reference of the prescription before it, '' if it is not named, None if there is none."""


def therapies(pieces: Sequence[Piece], gap_days: int, slack_days: int) -> tuple[Therapy, ...]:
    """All courses, by key, the newest of a key first. `gap_days` is the longest pause inside a course.

    A product whose supply ran out up to `slack_days` before a renewal still counts as the one that is renewed.

    What acts only where it is applied makes courses of its own: a vaginal cream beside tablets is no change of
    product.
    """
    by_key: dict[tuple[str, bool], list[Piece]] = {}
    for piece in pieces:
        by_key.setdefault((piece.drug.key, piece.local), []).append(piece)
    found: list[Therapy] = []
    for key in sorted(by_key):
        known = frozenset([piece.source for piece in by_key[key]])
        # Of several courses with a record that was never closed only the newest can still be running.
        is_running = False
        for number, course in enumerate(reversed(_chained(by_key[key], gap_days))):
            current = not is_running and _active(course)
            is_running = is_running or current
            therapy = _therapy(course, current, known, gap_days, _dose_changed(course, slack_days))
            unsure = number == 0 and not current and _unsure(course)
            found.append(msgspec.structs.replace(therapy, unsure=True) if unsure else therapy)
    return tuple(found)


def _active(course: Sequence[Piece]) -> bool:
    return True in [piece.span.active for piece in course]


def _prescribed(course: Sequence[Piece]) -> bool:
    """True if a prescription of the course is in force: a dose is given on it, however old it is."""
    return any(piece.span.active and piece.span.given is None for piece in course)


def _order(piece: Piece) -> tuple[date, str, str]:
    return piece.span.start or date.min, piece.source, piece.drug.agent


def _chained(pieces: Sequence[Piece], gap_days: int) -> list[list[Piece]]:
    """The courses, oldest first, each with its pieces oldest first."""
    dated = sorted([piece for piece in pieces if piece.span.start is not None], key=_order)
    undated = sorted([piece for piece in pieces if piece.span.start is None], key=_order)
    courses: list[list[Piece]] = []
    reach = date.min
    for piece in dated:
        start = piece.span.start or date.min
        if courses and ((start - reach).days <= gap_days or (piece.span.given and _prescribed(courses[-1]))):
            courses[-1].append(piece)
            reach = max(reach, piece.span.reach or start)
        else:
            courses.append([piece])
            reach = piece.span.reach or start
    if undated:
        # A record without any date says that the therapy goes on, not since when.
        running = [course for course in courses if _active(course)][-1:] or courses[-1:]
        if running:
            running[0][:0] = undated
        else:
            courses.append(undated)
    return courses


def _therapy(
    course: Sequence[Piece], current: bool, known: frozenset[str], gap_days: int, dose_changed: date | None
) -> Therapy:
    newest_first = [*reversed(course)]
    newest_first.sort(key=_standing, reverse=True)
    newest = newest_first[0]
    coded = next((piece for piece in newest_first if not piece.drug.from_text), newest)
    held = [piece for piece in course if piece.span.active and piece.span.given is None]
    return Therapy(
        key=newest.drug.key,
        current=current,
        start=_start(course, known),
        end=None if current else max(_over(piece, gap_days) for piece in course),
        supplies=tuple([_supply(piece, _end(piece, newest, current, gap_days)) for piece in newest_first]),
        recognised=coded.drug.recognised,
        from_text=coded.drug.from_text,
        dose_changed=dose_changed,
        on_hold=current and bool(held) and all(piece.on_hold for piece in held),
        sources=tuple(dict.fromkeys([piece.source for piece in newest_first])),
        given=_given(course),
    )


def _standing(piece: Piece) -> tuple[bool, bool, date]:
    """What is running before what is over, a prescription before a single dose, the later before the earlier."""
    return piece.span.active, piece.span.given is None, piece.span.start or date.min


def _unsure(course: Sequence[Piece]) -> bool:
    """True if a dose may still last, and the therapy was not stopped after it."""
    open_ = [piece.span.start or date.min for piece in course if piece.span.unsure]
    stops = [piece.span.end or date.min for piece in course if piece.span.stopped]
    return bool(open_) and max(open_) > max(stops, default=date.min)


def _given(course: Sequence[Piece]) -> tuple[When, ...]:
    """When single doses were administered, newest first."""
    doses = [piece.span.given for piece in course if piece.span.given is not None]
    return tuple(sorted(doses, key=lambda when: (when.day, when.hour or 0, when.minute or 0), reverse=True))


def _over(piece: Piece, gap_days: int) -> date:
    """End of a record that is over, or was never closed though the therapy is over."""
    return piece.span.end or piece.span.supply_end or add_days(piece.span.start or date.min, gap_days)


def _end(piece: Piece, newest: Piece, current: bool, gap_days: int) -> date | None:
    """End of one product; None while it goes on."""
    if not piece.span.active:
        return piece.span.end
    if not current:
        return _over(piece, gap_days)
    # A later record took over when this supply ran out; where that is not known both are taken to go on.
    return None if piece is newest else piece.span.supply_end


def _start(course: Sequence[Piece], known: frozenset[str]) -> date | None:
    """First day of the course; None if the record before the first one is not in the chart."""
    first = next((piece for piece in course if piece.span.start is not None), None)
    if first is None or (first.renews is not None and first.renews not in known):
        return None
    return first.span.start


def _supply(piece: Piece, end: date | None) -> Supply:
    return Supply(
        agent=piece.drug.agent,
        form=piece.form,
        start=piece.span.start,
        end=end,
        dose_text=piece.dose.text,
        weekly_mg=piece.dose.weekly_mg,
        source=piece.source,
        systemic=piece.drug.systemic,
    )


def _dose_changed(course: Sequence[Piece], slack_days: int) -> date | None:
    """Latest day on which a product or dose began that was not among those before it."""
    dated = [piece for piece in course if piece.span.start is not None]
    if len({_sort_of(piece) for piece in dated}) <= 1:  # renewals, as most records are
        return None
    starts = [piece.span.start or date.min for piece in dated]
    for piece, day in zip(reversed(dated), reversed(starts), strict=True):
        earlier = bisect_left(starts, day)
        if earlier and not any(_same(piece, other) for other in _running_before(dated, earlier, day, slack_days)):
            return day
    return None


def _running_before(dated: Sequence[Piece], earlier: int, day: date, slack_days: int) -> Iterator[Piece]:
    """Of so many records the ones that were running when a new one began on `day`, the latest first.

    Those of the latest date, and unfinished ones. One by one: of hundreds of renewals the first is mostly enough.
    """
    latest, unfinished = dated[earlier - 1].span.start, add_days(day, -slack_days)
    for index in range(earlier - 1, -1, -1):
        span = dated[index].span
        if span.start == latest or (span.reach or date.min) >= unfinished:
            yield dated[index]


def _sort_of(piece: Piece) -> tuple[object, ...]:
    """All that `_same` looks at."""
    return piece.drug.agent, piece.form, piece.strength, piece.dose.amount, piece.dose.words


def _same(one: Piece, other: Piece) -> bool:
    """True if nothing shows that product or dose differ. What one of the two does not say is no difference."""
    if "unknown" not in (one.form, other.form) and one.form != other.form:
        return False
    if one.drug.agent != other.drug.agent:
        short, long = sorted((one.drug.agent.casefold(), other.drug.agent.casefold()), key=len)
        if not long.startswith(short):
            return False
    if one.span.given or other.span.given:  # one dose says nothing of the amount in the long run
        return True
    if one.strength and other.strength and one.strength != other.strength:
        return False
    if one.dose.amount and other.dose.amount:
        return one.dose.amount == other.dose.amount
    texts = [" ".join(piece.dose.words.casefold().split()) for piece in (one, other)]
    return not all(texts) or texts[0] == texts[1]
