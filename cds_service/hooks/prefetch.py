"""Which data the service asks an EHR to send along, and whether what came is enough.

The templates are made from the knowledge: a result code that no rule reads is not asked for. They keep to
what EHRs and the Sandbox understand (CDS Hooks 2.0, Prefetch Template, and its subset of FHIR search): the
only token is `context.patientId`, each parameter stands once, there is no modifier and no date. All services
share one set of templates, so that a site that has to type them types them once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from typing import get_args
from urllib.parse import quote

from cds_service.chart import Chart, Patient
from cds_service.fhir.expected import Expected
from cds_service.hooks.errors import HookError, IssueType, Problem
from cds_service.knowledge.kept import Kept
from cds_service.knowledge.model import HookName, Knowledge
from cds_service.knowledge.needs import doses_needed, markers_needed

PATIENT = "{{context.patientId}}"
LONGEST = 2000
"""A template stays below this many characters, percent-encoded: proxies and servers cut long addresses."""

# How many of the newest entries are asked for: servers answer 10 to 50 unless told, and nearly all allow
# 100. That is years of monitoring, and about 140 KB. Diagnoses count for life: more of them are asked for.
# A list that is cut off is a gap with a date, never "no more data".
ENTRIES = 100
CONDITIONS = 200


def build_expected(knowledge: Knowledge, hook: str) -> tuple[Expected, ...]:
    """The prefetch keys of the service for `hook`, in the order of the discovery document.

    Every hook asks for the same: what an order check needs is a part of it. Raises ValueError for a hook that
    the service does not answer.
    """
    if hook not in get_args(HookName):
        raise ValueError(f"no service answers {hook}")
    return _EXPECTED.of(knowledge)


def _expected(knowledge: Knowledge) -> tuple[Expected, ...]:
    return (
        Expected("patient", f"Patient/{PATIENT}", frozenset({"Patient"}), frozenset({"patient"})),
        *_results(knowledge),
        _search(
            "medicationRequests",
            f"MedicationRequest?patient={PATIENT}"
            f"&_include=MedicationRequest:medication&_sort=-authoredon&_count={ENTRIES}",
            "medications",
        ),
        _search(
            "medicationStatements",
            f"MedicationStatement?patient={PATIENT}"
            f"&_include=MedicationStatement:medication&_sort=-effective&_count={ENTRIES}",
            "medications",
        ),
        _search(
            "conditions",
            f"Condition?patient={PATIENT}&_sort=-recorded-date&_count={CONDITIONS}",
            "conditions",
        ),
        _search("procedures", f"Procedure?patient={PATIENT}&_sort=-date&_count={ENTRIES}", "procedures"),
        _search(
            "serviceRequests",
            f"ServiceRequest?patient={PATIENT}&status=active,on-hold,draft&_sort=-authored&_count={ENTRIES}",
            "orders",
        ),
        *(_reports(knowledge) if knowledge.switches["panel_counts_as_done"] else _doses(knowledge)),
    )


_EXPECTED = Kept(_expected)


def _doses(knowledge: Knowledge) -> Iterator[Expected]:
    """When doses were given. It covers nothing: most charts have prescriptions, and few EHRs send doses.

    Without it a card lacks a remark, and a therapy that only the clinic's own doses show is not seen (docs say so).
    """
    if doses_needed(knowledge):
        yield _search(
            "medicationAdministrations",
            f"MedicationAdministration?patient={PATIENT}"
            f"&_include=MedicationAdministration:medication&_sort=-effective-time&_count={ENTRIES}",
        )


def _search(key: str, template: str, *covers: str) -> Expected:
    """A search whose answer holds the searched type and, if it is included, Medication."""
    types = {template.partition("?")[0]} | ({"Medication"} if "_include" in template else set())
    return Expected(key, template, frozenset(types), frozenset(covers), newest_first=True)


def _reports(knowledge: Knowledge) -> Iterator[Expected]:
    """Reports of panels, where the site counts them as done. Without them a test is only asked for once more.

    They take the place of the doses, on which a single remark rests: EHRs take ten templates a service.
    """
    codes = ",".join(_token(*key) for key in knowledge.panels)
    yield _search(
        "diagnosticReports", f"DiagnosticReport?patient={PATIENT}&code={codes}&_sort=-date&_count={ENTRIES}"
    )


def _results(knowledge: Knowledge) -> Iterator[Expected]:
    """As few searches as hold the codes of all results that the rules need: `labs1`, `labs2`, …

    A panel goes where most of its markers are; everything else goes on where the last one went.
    """
    keys: list[tuple[set[str], list[str]]] = []
    for covers, tokens in _groups(knowledge):
        roomy = [key for key in keys if _fits([*key[1], *tokens])]
        home = max(reversed(roomy), key=lambda key: len(covers & key[0])) if roomy else None
        for token in tokens:
            if home is None or not _fits([*home[1], token]):
                home = (set(), [])
                keys.append(home)
            home[0].update(covers)
            home[1].append(token)
    for number, (covered, tokens) in enumerate(keys, 1):
        yield _search(f"labs{number}", _result_template(tokens), *covered)


def _groups(knowledge: Knowledge) -> Iterator[tuple[frozenset[str], list[str]]]:
    """Markers with the search tokens of their results; a panel follows the last of its markers."""
    needed = markers_needed(knowledge)
    panels = {key: panel.markers & needed for key, panel in knowledge.panels.items()}
    met: set[str] = set()
    tokens: dict[str, list[str]] = defaultdict(list)
    for key, code in knowledge.codes.items():
        tokens[code.marker].append(_token(*key))
    for marker in (marker for marker in knowledge.markers if marker in needed):
        yield frozenset({marker}), tokens[marker]
        met.add(marker)
        for key, markers in panels.items():
            if marker in markers and markers <= met:
                yield markers, [_token(*key)]
    for concept in knowledge.concepts.values():
        yield frozenset(), [_token(*key) for key in concept.observations]


def _token(system: str, code: str) -> str:
    return f"{quote(system, safe=':/')}|{quote(code, safe='')}"


def _result_template(tokens: list[str]) -> str:
    return f"Observation?patient={PATIENT}&code={','.join(tokens)}&_sort=-date&_count={ENTRIES}"


def _fits(tokens: list[str]) -> bool:
    return _encoded(_result_template([])) + _encoded(",") * (len(tokens) - 1) + sum(map(_encoded, tokens)) < LONGEST


@cache
def _encoded(part: str) -> int:
    """Characters of a part of a template once it is percent-encoded."""
    return len(quote(part, safe="?&="))


# -- is what came enough? ----------------------------------------------------------------------------

_CAME_NOT = "missing or not usable, and not fetched instead:"
_FAILED: dict[str, tuple[IssueType, str]] = {
    "absent": ("required", "missing; expected the answer to the template of the discovery document"),
    "outcome": ("incomplete", "the EHR could not read it and sent an OperationOutcome"),
    "not_fhir": ("structure", "expected a FHIR resource"),
    "wrong_type": ("structure", "expected the resource type of the template, alone or in a Bundle"),
    "unreadable": ("structure", "could not be read as FHIR R4"),
    "other_patient": ("value", "expected data of the patient in context"),
    "not_listed": ("required", f"{_CAME_NOT} the site does not list that fhirServer"),
    "timed_out": ("timeout", f"{_CAME_NOT} fhirServer did not answer in time"),
    "denied": ("incomplete", f"{_CAME_NOT} fhirServer refused access"),
    "unreachable": ("incomplete", f"{_CAME_NOT} fhirServer could not be reached"),
    "failed": ("incomplete", f"{_CAME_NOT} fhirServer answered with an error"),
    "too_much": ("too-long", f"{_CAME_NOT} fhirServer answered with more than is read"),
}
"""Kinds of gap that can leave nothing of a key. (`null` is an answer: the EHR looked and found nothing.)"""


def require_enough(chart: Chart, expected: Iterable[Expected], hook: str) -> None:
    """Raise HookError (412) if no key brought anything, and the hook needs data to answer at all.

    patient-view always does; an order hook does if one of the drafts is a therapy that the service knows.
    With one usable key there is an answer: what the others should have brought is told as unknown.
    """
    failed = {gap.key: gap.kind for gap in chart.gaps if gap.kind in _FAILED}
    if not failed:
        return
    keys = [item.key for item in expected]
    needs_data = hook == "patient-view" or bool(chart.drafts)
    if not needs_data or not failed.keys() >= set(keys) or _holds_data(chart):
        return
    problems = []
    for key in keys:
        code, why = _FAILED[failed[key]]
        problems.append(Problem(code, f"prefetch.{key}: {why}", f"prefetch.{key}"))
    raise HookError(412, problems)


def worth_fetching(chart: Chart, hook: str) -> bool:
    """True if more data could change the answer: an EHR is not asked about orders that no rule looks at."""
    if chart.patient.deceased:
        return False
    drafted = chart.drafts or any(order.drafted for order in chart.orders)
    return hook == "patient-view" or bool(drafted) or any(refused.lacks for refused in chart.refused)


def _holds_data(chart: Chart) -> bool:
    """True if the chart knows anything that did not come with the draft orders: a key can fail in part only."""
    return bool(
        chart.measurements
        or chart.therapies
        or chart.conditions
        or chart.procedures
        or any(not order.drafted for order in chart.orders)
        or chart.patient != Patient(chart.patient.id)
    )
