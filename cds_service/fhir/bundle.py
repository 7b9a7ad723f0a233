"""One prefetch value, opened: its entries, and what is not known because of how it came (CDS Hooks, Prefetch).

    absent            the key was not sent                       -> gap
    null              a search that found nothing                -> no data, noted; the patient: gap
    text, number, []  an error page, say                         -> gap
    OperationOutcome  the EHR failed                             -> gap
    resource          in place of a Bundle                       -> used
    Bundle            without `entry`: nothing was found; with a `next` page or a `total` beyond it: truncated

Whatever a key brings is used or makes something unknown, and says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from functools import partial
from typing import Any, Literal

import msgspec
from msgspec import Raw

from cds_service.chart import Gap, Phrase, Refused, When
from cds_service.fhir.dates import add_days
from cds_service.fhir.decoding import (
    NULL,
    TYPES,
    UnreadableError,
    decode,
    given,
    is_type_name,
    loosely,
    members,
    whole_number,
)
from cds_service.fhir.expected import Expected
from cds_service.fhir.reading import NOTHING, Entry, Reading, source_of
from cds_service.fhir.resources import (
    ABSENT,
    Element,
    MedicationRequest,
    Observation,
    OperationOutcome,
    Period,
    ServiceRequest,
)

INCLUDED = frozenset({"Medication"})
"""What comes along with a search for something else (`_include`), for references only."""
HARMLESS = frozenset({"information", "warning", "success"})
"""Severities of an OperationOutcome beside results that take nothing from them."""


class Bundle(Element, frozen=True):
    """Bundle, its entries still raw inside. Any other resource decodes as one, too."""

    resource_type: str | None = None
    total: Raw = ABSENT
    link: Raw = ABSENT
    entry: list[Entry] | None = None


class Match(Element, frozen=True):
    """Bundle.entry.search of a resource that was searched for."""

    mode: Literal["match"] | None = None


class Whole(Element, frozen=True, kw_only=True):
    """A Bundle whose entries are read with it."""

    resource_type: Literal["Bundle"]
    total: int | None = None
    link: Raw = ABSENT


_struct = partial(msgspec.defstruct, frozen=True, kw_only=True, gc=False, rename="camel")


def _exactly(name: str) -> Any:
    """The struct of a type that fails for resources of any other."""
    return _struct(name, [("resource_type", Literal[name])], bases=(TYPES[name],))


def _bundle_of(name: str) -> Any:
    """A Bundle with nothing in it but resources of one type, all of them found by the search."""
    entry: Any = _struct("Entry", [("resource", _exactly(name)), ("search", Match | None, None)])
    return _struct("Bundle", [("entry", list[entry] | None, None)], bases=(Whole,))


class Page(msgspec.Struct):
    """What one key brought."""

    expected: Expected
    entries: list[Entry]
    has_next: bool = False
    total: int | None = None
    alone: bool = False
    """True if a resource came in place of a Bundle."""
    resources: list[Any] | None = None
    """In place of `entries`, if all of them are good resources of the one type that was asked for."""
    raw: Raw = ABSENT
    """The value as it came, where there are `resources`."""

    def all_entries(self) -> list[Entry]:
        """The entries, also those that were read at one go."""
        if self.resources is None:
            return self.entries
        return [Entry(resource=self.raw)] if self.alone else _BUNDLE.decode(self.raw).entry or []


_CODE = re.compile("[a-z-]{1,30}")
_BUNDLE = msgspec.json.Decoder(Bundle)
_AT_ONE_GO: dict[frozenset[str], msgspec.json.Decoder[Any]] = {
    frozenset({name}): msgspec.json.Decoder(_bundle_of(name))
    for name in (
        "Observation",
        "DiagnosticReport",
        "Condition",
        "Procedure",
        "ServiceRequest",
        "MedicationRequest",
        "MedicationStatement",
        "MedicationAdministration",
    )
} | {frozenset({"Patient"}): msgspec.json.Decoder(_exactly("Patient"))}
"""By the type that was asked for, what mostly comes: reading it at one go takes less than half the time."""
_MEDICATION = b'"Medication"'
_ENTRY = msgspec.json.Decoder(Entry)
_ENTRIES = msgspec.json.Decoder(list[Raw])
_TEXT = msgspec.json.Decoder(str)


def open_page(expected: Expected, raw: Raw | None, reading: Reading) -> Page:
    """The entries under one key. What cannot be known is noted in `reading`."""
    if raw is None:
        _gap(reading, expected, "absent", "the key was not sent")
        return Page(expected, [])
    whole = _AT_ONE_GO.get(expected.types - INCLUDED)
    if whole is not None and not (expected.types & INCLUDED and _MEDICATION in bytes(raw)):
        try:
            return _read_whole(expected, whole.decode(raw), raw)
        except (msgspec.DecodeError, RecursionError):
            pass  # something in it needs a second look
    try:
        bundle = _BUNDLE.decode(raw)
    except RecursionError:
        _gap(reading, expected, "unreadable", "nested too deeply")
        return Page(expected, [])
    except msgspec.DecodeError:
        return _open_odd(expected, raw, reading)
    return _opened(expected, bundle.resource_type, bundle, raw, reading)


def _read_whole(expected: Expected, whole: Any, raw: Raw) -> Page:
    if not isinstance(whole, Whole):
        return Page(expected, [], alone=True, resources=[whole], raw=raw)
    resources = [entry.resource for entry in whole.entry or ()]  # type: ignore[attr-defined]
    return Page(expected, [], _has_next(whole.link), whole.total, resources=resources, raw=raw)


def _has_next(link: Raw) -> bool:
    return link is not ABSENT and b'"next"' in bytes(link)


def _opened(expected: Expected, name: str | None, bundle: Bundle, raw: Raw, reading: Reading) -> Page:
    if not name or not is_type_name(name):
        _gap(reading, expected, "not_fhir", "an object without a resourceType")
        return Page(expected, [])
    if name != "Bundle":
        return Page(expected, [Entry(resource=raw)], alone=True)
    total = None if bundle.total is ABSENT else whole_number(bundle.total)
    return Page(expected, bundle.entry or [], _has_next(bundle.link), total)


def _open_odd(expected: Expected, raw: Raw, reading: Reading) -> Page:
    """A value that is no object, or a Bundle that is not quite one."""
    if Raw(bytes(raw).strip()) == NULL:
        _null(expected, reading)
        return Page(expected, [])
    try:
        parts = members(raw)
        name = _TEXT.decode(parts.get("resourceType", NULL))
    except (UnreadableError, msgspec.DecodeError):
        _gap(reading, expected, "not_fhir", "not a FHIR resource")
        return Page(expected, [])
    bundle = Bundle(total=parts.get("total", Raw()), link=parts.get("link", Raw()))
    page = _opened(expected, name, bundle, raw, reading)
    if not page.alone:
        page.entries = _odd_entries(expected, parts.get("entry", NULL), reading)
    return page


def _null(expected: Expected, reading: Reading) -> None:
    if "patient" in expected.covers:
        _gap(reading, expected, "null", "the value is null")
    else:
        # A search that was made and found nothing: known, and shown by `explain` only.
        reading.gaps.append(Gap(expected.key, "null", "the value is null: nothing was found", NOTHING))


def _odd_entries(expected: Expected, raw: Raw, reading: Reading) -> list[Entry]:
    if not given(raw):
        return []
    try:
        entries = loosely(raw, _ENTRIES)
    except UnreadableError:
        _gap(reading, expected, "unreadable", "the entries of the Bundle are no list")
        return []
    found = []
    for entry in entries:
        try:
            found.append(loosely(entry, _ENTRY))
        except UnreadableError:
            found.append(Entry(resource=_resource_in(entry)))
    return found


def _resource_in(entry: Raw) -> Raw:
    """The resource of an entry of which something else cannot be read."""
    try:
        return members(entry).get("resource", Raw())
    except UnreadableError:
        return Raw()


def note_outcome(page: Page, entry: Entry, reading: Reading) -> Refused:
    """An OperationOutcome: a failure makes its key unknown, a remark beside results does not."""
    try:
        outcome = decode(entry.resource, "OperationOutcome")
    except UnreadableError:
        outcome = OperationOutcome()
    severities = {issue.severity for issue in outcome.issue or ()}
    source = source_of("OperationOutcome", outcome.id)
    if not page.alone and severities and severities <= HARMLESS:
        return Refused(source, "outcome", "a remark of the EHR on the search")
    codes = sorted({issue.code for issue in outcome.issue or () if issue.code and _CODE.fullmatch(issue.code)})
    failure = "the EHR reports a failure"
    detail = Phrase("the EHR reports a failure, {codes}", codes=", ".join(codes)) if codes else failure
    _gap(reading, page.expected, "outcome", detail)
    return Refused(source, "outcome", failure)


def note_strangers(page: Page, names: Iterable[str], reading: Reading) -> None:
    """A value that is one resource of a type that was not asked for, or a Bundle inside a Bundle."""
    for name in names:
        if page.alone or name == "Bundle":
            _gap(reading, page.expected, "wrong_type", Phrase("{type} in place of what was asked for", type=name))
            return


def note_truncation(page: Page, matches: list[Any], reading: Reading) -> None:
    """A gap if there is more than came; `matches` are the resources of the page, None for unreadable ones."""
    if not page.has_next and (page.total is None or page.total <= len(matches)):
        return
    since = _complete_since(matches, reading) if page.expected.newest_first else None
    _gap(reading, page.expected, "truncated", "only the first page came", since)


def _complete_since(matches: list[Any], reading: Reading) -> date | None:
    """The day from which on nothing is missing, if the entries really come in descending order.

    The last entry's own day may go on on the next page, so completeness begins on the day after.
    """
    last: When | None = None
    for match in matches:
        when = reading.calendar.when(_sorted_by(match))
        if when is None or (last is not None and when.day > last.day):
            return None
        last = when
    return None if last is None else add_days(last.last_day, 1)


def _sorted_by(resource: Any) -> str | None:
    """What a server orders these resources by."""
    if isinstance(resource, Observation):
        period = resource.effective_period or Period()
        return resource.effective_date_time or resource.effective_instant or period.end or period.start
    if isinstance(resource, MedicationRequest | ServiceRequest):
        return resource.authored_on
    return None


def note_empty_entries(page: Page, count: int, reading: Reading) -> None:
    """Entries without a resource: something was there that cannot be read."""
    if count:
        detail = Phrase("{count} of {total} entries hold no resource", count=count, total=len(page.entries))
        _gap(reading, page.expected, "unreadable", detail)


def _gap(reading: Reading, expected: Expected, kind: Any, detail: str, since: date | None = None) -> None:
    reading.gaps.append(Gap(expected.key, kind, detail, expected.covers, since))
