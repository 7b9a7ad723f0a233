"""What the service says of itself at GET /cds-services (CDS Hooks 2.0, Discovery).

`version` and `hookVersion` are members of 3.0; older clients pass over them. The specification implemented is
2.0.1, which is what EHRs are certified against; nothing in the answers conflicts with 3.0.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from cds_service.fhir.expected import Expected

SPECIFICATION = "2.0.1"
HOOK_VERSION = "1.0"


class Service(msgspec.Struct, frozen=True):
    """One CDS service: one hook, one id."""

    id: str
    hook: str
    title: str
    description: str


_NEEDS = (
    "Works on the prefetch alone. What a missing, failed or cut-off key should have brought is fetched from "
    "fhirServer, by the same templates and within a deadline, if this site lists that server; otherwise it is "
    "told as unknown. If nothing usable could be had, the answer is 412 with an OperationOutcome that names them."
)

SERVICES = (
    Service(
        "hormone-therapy-patient-view",
        "patient-view",
        "Hormone therapy: monitoring",
        "For a patient on hormone therapy: blood tests that are due, and results that need action, "
        "each with the guideline behind it.",
    ),
    Service(
        "hormone-therapy-order-select",
        "order-select",
        "Hormone therapy: check while ordering",
        "For the hormone therapy that is being ordered: contraindications in the chart, and tests that "
        "belong before the first dose.",
    ),
    Service(
        "hormone-therapy-order-sign",
        "order-sign",
        "Hormone therapy: check before signing",
        "For the hormone therapy orders about to be signed: contraindications in the chart, and tests that "
        "belong before the first dose.",
    ),
)


def document(prefetch: Iterable[tuple[Service, tuple[Expected, ...]]]) -> bytes:
    """The discovery document as JSON, with the prefetch templates of each service."""
    services = [
        {
            "id": service.id,
            "hook": service.hook,
            "title": service.title,
            "description": service.description,
            "usageRequirements": _NEEDS,
            "version": SPECIFICATION,
            "hookVersion": HOOK_VERSION,
            "prefetch": {item.key: item.template for item in expected},
        }
        for service, expected in prefetch
    ]
    return msgspec.json.encode({"services": services})
