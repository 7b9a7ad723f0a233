"""The typed floor: Flask and msgspec. Each resource is decoded on its own into the fields that the rule reads."""

from __future__ import annotations

import msgspec
from flask import Flask, Response, request
from msgspec import Raw

from bench.baseline import HEMATOCRIT, LOINC, cards_for, settle_memory


class Coding(msgspec.Struct, gc=False):
    system: str = ""
    code: str = ""


class Concept(msgspec.Struct, gc=False):
    coding: list[Coding] = []


class Quantity(msgspec.Struct, gc=False):
    value: float = 0
    unit: str = ""
    code: str = ""


class Resource(msgspec.Struct, gc=False, rename="camel"):
    resource_type: str = ""
    id: str = ""
    status: str = ""
    code: Concept | None = None
    effective_date_time: str = ""
    value_quantity: Quantity | None = None


class Entry(msgspec.Struct, gc=False):
    resource: Raw = Raw()


class Bundle(msgspec.Struct, gc=False):
    entry: list[Entry] = []


class Call(msgspec.Struct, gc=False):
    prefetch: dict[str, Bundle]


CALL = msgspec.json.Decoder(Call)
RESOURCE = msgspec.json.Decoder(Resource)

app = Flask(__name__)


@app.post("/cds-services/<service>")
def answer(service: str) -> Response:
    """Decode what the rule reads and judge one result."""
    del service
    newest, value = "", 0.0
    for bundle in CALL.decode(request.get_data(cache=False)).prefetch.values():
        for entry in bundle.entry:
            try:
                resource = RESOURCE.decode(entry.resource)
            except msgspec.ValidationError:
                continue
            if _is_hematocrit(resource) and resource.value_quantity and resource.effective_date_time > newest:
                newest, value = resource.effective_date_time, resource.value_quantity.value
    return Response(msgspec.json.encode({"cards": cards_for(value)}), mimetype="application/json")


def _is_hematocrit(resource: Resource) -> bool:
    if resource.resource_type != "Observation" or resource.status != "final" or resource.code is None:
        return False
    return any(coding.code == HEMATOCRIT and coding.system == LOINC for coding in resource.code.coding)


settle_memory()
