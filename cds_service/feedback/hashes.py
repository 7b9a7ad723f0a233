"""What stands in a row for a patient and for a fact of the chart: a keyed hash, of no use without the key.

docs/decisions/0018 tells what a patient's hash covers, and why.
"""

from __future__ import annotations

import hmac
from functools import lru_cache

import msgspec

from cds_service.chart import Condition, Measurement, Procedure, When

SHORT = 16
"""Hexadecimal digits of a fact's hash: enough to tell the facts of one chart apart."""

Ground = Measurement | Condition | Procedure
"""A fact that can end a snooze when it is new."""


def patient_hash(key: bytes, client: str, fhir_server: str, patient_id: str) -> str:
    """The patient as the rows know it: 64 hexadecimal digits.

    An id is one patient's only within one FHIR server, so the client and the server's address belong to it.
    """
    return _hash(key, ("patient", client, fhir_server.rstrip("/"), patient_id))


def fact_hash(key: bytes, fact: Ground) -> str:
    """A fact of the chart as the rows know it. Another value, time or certainty is another fact."""
    if isinstance(fact, Measurement):
        told: tuple[object, ...] = (fact.marker, fact.comparator, str(fact.value), _when(fact.when))
    elif isinstance(fact, Condition):
        dates = (_when(fact.onset), _when(fact.recorded))
        told = (sorted(fact.concepts), fact.active, fact.uncertain, *dates)
    else:
        told = (sorted(fact.concepts), _when(fact.when))
    return _hash(key, (type(fact).__name__, *told))[:SHORT]


def _when(when: When | None) -> str:
    if when is None:
        return ""
    return when.instant.isoformat() if when.instant else f"{when.day}/{when.last_day}"


def _hash(key: bytes, parts: tuple[object, ...]) -> str:
    mac = _keyed(key).copy()
    mac.update(msgspec.json.encode(parts))
    return mac.hexdigest()


@lru_cache(maxsize=8)
def _keyed(key: bytes) -> hmac.HMAC:
    """What all hashes of a key begin with."""
    return hmac.new(key, digestmod="sha256")
