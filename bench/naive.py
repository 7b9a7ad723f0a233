"""The naive way: Flask, and fhir.resources for each Observation."""

from __future__ import annotations

from decimal import Decimal

from fhir.resources.R4B.observation import Observation
from flask import Flask, Response, jsonify, request

from bench.baseline import HEMATOCRIT, LOINC, cards_for, settle_memory

app = Flask(__name__)


@app.post("/cds-services/<service>")
def answer(service: str) -> Response:
    """Validate every Observation and judge one result."""
    del service
    newest, value = "", Decimal(0)
    for bundle in request.get_json()["prefetch"].values():
        for entry in bundle.get("entry", ()):
            if entry["resource"]["resourceType"] != "Observation":
                continue
            result = Observation.model_validate(entry["resource"])
            codes = {(coding.system, coding.code) for coding in result.code.coding}
            if (LOINC, HEMATOCRIT) in codes and result.status == "final":
                taken = str(result.effectiveDateTime)
                if taken > newest:
                    newest, value = taken, result.valueQuantity.value
    return jsonify({"cards": cards_for(float(value))})


settle_memory()
