"""HealthChain, as its documentation shows it: prefetch becomes FHIR objects, then one rule looks at them.

Runs in a virtual environment of its own, so it imports nothing of this repository.
"""

from __future__ import annotations

from healthchain.fhir import convert_prefetch_to_fhir_objects
from healthchain.gateway import CDSHooksService, HealthChainAPI
from healthchain.models import Card, CDSRequest, CDSResponse

HEMATOCRIT = ("http://loinc.org", "4544-3")
LIMIT = 54

service = CDSHooksService()


@service.hook("patient-view", id="hormone-therapy-patient-view")
def answer(call: CDSRequest) -> CDSResponse:
    """Judge one result."""
    newest, value = "", 0.0
    for bundle in convert_prefetch_to_fhir_objects(call.prefetch or {}).values():
        for entry in getattr(bundle, "entry", None) or ():
            result = entry.resource
            if result.__resource_type__ != "Observation" or result.status != "final":
                continue
            if HEMATOCRIT in {(coding.system, coding.code) for coding in result.code.coding}:
                taken = str(result.effectiveDateTime)
                if taken > newest:
                    newest, value = taken, float(result.valueQuantity.value)
    card = Card(
        summary="Hematocrit at or above 54 %",
        indicator="warning",
        source={"label": "Baseline"},
        detail="This service looks for one result and checks nothing else of the request.",
    )
    return CDSResponse(cards=[card] if value >= LIMIT else [])


app = HealthChainAPI(title="Baseline")
app.register_service(service, path="/cds")
