"""What every baseline looks for, and the one card that it answers: the newest final hematocrit at or above 54 %."""

from __future__ import annotations

import gc
from typing import Any

LOINC = "http://loinc.org"
HEMATOCRIT = "4544-3"
LIMIT = 54

CARD = {
    "summary": "Hematocrit at or above 54 %",
    "indicator": "warning",
    "source": {"label": "Baseline"},
    "detail": "This service looks for one result and checks nothing else of the request.",
}


def newest_hematocrit(prefetch: dict[str, Any]) -> float:
    """Value of the newest final hematocrit in prefetch of plain dicts; 0 if there is none."""
    newest, value = "", 0.0
    for bundle in prefetch.values():
        for entry in bundle.get("entry", ()):
            resource = entry["resource"]
            if resource["resourceType"] == "Observation" and resource["status"] == "final":
                for coding in resource["code"]["coding"]:
                    if coding["code"] == HEMATOCRIT and coding["system"] == LOINC:
                        taken = resource["effectiveDateTime"]
                        if taken > newest:
                            newest, value = taken, resource["valueQuantity"]["value"]
    return value


def cards_for(value: float) -> list[dict[str, Any]]:
    """The fixed card, where the value asks for it."""
    return [CARD] if value >= LIMIT else []


def settle_memory() -> None:
    """Keep the garbage collector out of the way, as the service does."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
