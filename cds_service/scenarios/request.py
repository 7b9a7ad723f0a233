"""From a case to the hook request that an EHR would send: context, and prefetch as the templates ask for it."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from cds_service.fhir.expected import Expected
from cds_service.scenarios.build import Records, Resource
from cds_service.scenarios.facts import Case, Faults

USER = "Practitioner/example"
NEXT_PAGE = "https://ehr.example.org/fhir?page=2"
DATES = ("effectiveDateTime", "authoredOn", "performedDateTime", "recordedDate", "onsetDateTime")

_encoder = msgspec.json.Encoder(decimal_format="number")


def hook_request(case: Case, records: Records, expected: Iterable[Expected]) -> dict[str, Any]:
    """Make the body of the call that an EHR would send for this case.

    Raises ValueError if a fault of the case names no prefetch key and nothing that one covers.
    """
    context: dict[str, Any] = {"userId": USER, "patientId": case.patient.id}
    if case.hook == "order-select":
        context["selections"] = list(records.selections)
    if case.hook != "patient-view":
        context["draftOrders"] = _bundle("collection", records.drafts)
    whole = {
        "hook": case.hook,
        "hookInstance": str(uuid.uuid5(uuid.NAMESPACE_URL, case.title)),
        "context": context,
        "prefetch": prefetch(case.prefetch, records, tuple(expected)),
    }
    return whole if whole["prefetch"] else {name: value for name, value in whole.items() if name != "prefetch"}


def encode(value: Any) -> bytes:
    """JSON with every decimal as it was written."""
    return _encoder.encode(value)


def prefetch(faults: Faults, records: Records, expected: tuple[Expected, ...]) -> dict[str, Any]:
    """Answer each template as a FHIR server would, faults of the case included."""
    shares = _shares(records, expected)
    found: dict[str, Any] = {
        key.key: records.patient if key.types == {"Patient"} else _searchset(shares[key.key]) for key in expected
    }
    for name in _keys(faults.truncated, expected):
        found[name] = _first_page(shares[name])
    for name in _keys(faults.outcome, expected):
        found[name] = _operation_outcome()
    for name in _keys(faults.html, expected):
        found[name] = "<html><body>Bad gateway</body></html>"
    found.update(dict.fromkeys(_keys(faults.null, expected)))
    for name in _keys(faults.omit, expected):
        del found[name]
    return found


def _keys(names: Iterable[str], expected: tuple[Expected, ...]) -> list[str]:
    """Prefetch keys that the names mean: `everything`, `results`, a key itself, or all that cover an area."""
    found: list[str] = []
    for name in names:
        keys = [key.key for key in expected if name == key.key or name in _areas(key)]
        if not keys:
            raise ValueError(f"a prefetch key or what one covers, not {name!r}")
        found += keys
    return list(dict.fromkeys(found))


def _areas(key: Expected) -> frozenset[str]:
    results = {"results"} if "Observation" in key.types else set()
    return key.covers | results | {"everything"}


def _shares(records: Records, expected: tuple[Expected, ...]) -> Mapping[str, list[Resource]]:
    """What each key's search finds, newest first.

    A result that no search asks for comes with the first key of its type: a server may send more than was asked.
    """
    shares: dict[str, list[Resource]] = {key.key: [] for key in expected}
    for resource in sorted(records.resources, key=_when, reverse=True):
        kind = resource["resourceType"]
        keys = [key for key in expected if kind in key.types]
        if not keys and kind.startswith("Medication"):
            keys = [key for key in expected if "medications" in key.covers]
        for key in [key for key in keys if _asks_for(key, resource)] or keys[:1]:
            shares[key.key].append(resource)
    return shares


def _asks_for(key: Expected, resource: Resource) -> bool:
    """True if the template's `code` parameter, if it has one, finds the resource."""
    wanted = parse_qs(urlsplit(key.template).query).get("code")
    if not wanted:
        return True
    codings = resource.get("code", {}).get("coding", ())
    has = {form for coding in codings for form in (coding["code"], f"{coding['system']}|{coding['code']}")}
    return not has.isdisjoint(wanted[0].split(","))


def _when(resource: Resource) -> str:
    return next((str(resource[name]) for name in DATES if name in resource), "")


def _searchset(resources: Iterable[Resource]) -> Resource:
    return _bundle("searchset", resources, search={"mode": "match"})


def _first_page(resources: list[Resource]) -> Resource:
    page = _searchset(resources[: math.ceil(len(resources) / 2)])
    return {**page, "total": len(resources), "link": [{"relation": "next", "url": NEXT_PAGE}]}


def _bundle(kind: str, resources: Iterable[Resource], **more: Any) -> Resource:
    """A Bundle; without resources it has no `entry`, as FHIR wants it."""
    entries = [{"resource": resource, **more} for resource in resources]
    total = {"total": len(entries)} if kind == "searchset" else {}
    return {"resourceType": "Bundle", "type": kind, **total, **({"entry": entries} if entries else {})}


def _operation_outcome() -> Resource:
    issue = {"severity": "error", "code": "exception", "diagnostics": "the search failed"}
    return {"resourceType": "OperationOutcome", "issue": [issue]}
