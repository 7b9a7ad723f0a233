"""The example patients as files: transaction Bundles for a FHIR server, and hook requests ready to be sent.

    patients/<id>.json     Bundle of PUTs with fixed ids, so that loading it again changes nothing
    requests/<hook>.json   the hook request that an EHR would send for one of them, prefetch filled
    requests/order-select-sandbox-invalid-fhir.json   the drafts in the shape of the CDS Hooks Sandbox

The shipped files stand for the day that `examples/patients.yaml` names. Since every date that matters is relative,
the same patients can be rolled to any other day.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from cds_service.scenarios.build import Records, Resource
from cds_service.scenarios.facts import Case
from cds_service.scenarios.reading import read
from cds_service.scenarios.request import encode
from cds_service.scenarios.run import Runner

REQUESTS = {
    "patient-view": "hematocrit-high",
    "order-select": "baseline-missing",
    "order-sign": "prostate-cancer",
}
"""The example that each request file is about."""

SANDBOX = "order-select-sandbox-invalid-fhir"
SANDBOX_USER = "Practitioner/COREPRACTITIONER1"
CATEGORIES = "http://terminology.hl7.org/CodeSystem/medicationrequest-category"


def examples_folder() -> Path:
    """`examples/`: inside the installed package, or beside it in a source checkout."""
    inside = Path(__file__).parents[1] / "examples"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "examples"


def example_cases(as_of: date | None = None) -> tuple[Case, ...]:
    """The example patients, on the day that their file names or rolled to `as_of`. Raises ScenarioError."""
    cases = read(examples_folder() / "patients.yaml")
    return tuple(rolled(case, as_of) for case in cases) if as_of else cases


def rolled(case: Case, as_of: date) -> Case:
    """The case as it would stand on another day. Fixed dates, such as those of birth, stay as they are."""
    return msgspec.structs.replace(case, as_of=as_of)


def files(cases: tuple[Case, ...], runner: Runner) -> Iterator[tuple[str, bytes]]:
    """Yield the path, below the folder of examples, and the content of each file."""
    by_id = {case.id: case for case in cases}
    for case in cases:
        yield f"patients/{case.id}.json", readable(encode(transaction(runner.records(case))))
    for hook, name in REQUESTS.items():
        yield f"requests/{hook}.json", readable(runner.body(by_id[name]))
    selecting = json.loads(runner.body(by_id[REQUESTS["order-select"]]), parse_float=Decimal)
    yield f"requests/{SANDBOX}.json", readable(encode(as_the_sandbox_sends(selecting)))


def transaction(records: Records) -> Resource:
    """A Bundle that puts the patient and all resources about it under their own ids (FHIR R4, transaction)."""
    entries = [
        {"resource": resource, "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"}}
        for resource in records.all
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def as_the_sandbox_sends(request: Resource) -> Resource:
    """The request with the drafts as the CDS Hooks Sandbox writes them, which is not FHIR.

    The Bundle has no type, and category and reasonCode are objects where R4 wants lists.
    """
    changed: dict[str, Any] = deepcopy(request)
    changed["context"]["userId"] = SANDBOX_USER
    reason = request["prefetch"]["conditions"]["entry"][0]["resource"]["code"]
    drafts = changed["context"]["draftOrders"]
    del drafts["type"]
    for entry in drafts["entry"]:
        entry["resource"]["category"] = {"coding": [{"system": CATEGORIES, "code": "community"}]}
        entry["resource"]["reasonCode"] = reason
    return changed


def readable(content: bytes) -> bytes:
    """JSON laid out for reading, a line break at its end; numbers keep their digits."""
    return msgspec.json.format(content, indent=2) + b"\n"
