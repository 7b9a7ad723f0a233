"""From JSON to the structs of `resources`, with what can be saved of resources that are not quite FHIR.

What the structs refuse, because a list was sent as a single object or an unimportant element has a wrong type,
`salvage` may still read. What stays unreadable raises `UnreadableError`, also nesting without end.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from cds_service.fhir import resources as fhir
from cds_service.fhir.resources import ABSENT

NULL = Raw(b"null")

SHORT = 20
"""Characters of a number without an exponent that need no further look."""
MOST_CHARACTERS = 48
MOST_DIGITS = 40
MOST_EXPONENT = 30

T = TypeVar("T")

TYPES: dict[str, type[Any]] = {
    "Observation": fhir.Observation,
    "DiagnosticReport": fhir.DiagnosticReport,
    "MedicationRequest": fhir.MedicationRequest,
    "MedicationStatement": fhir.MedicationStatement,
    "MedicationDispense": fhir.MedicationDispense,
    "MedicationAdministration": fhir.MedicationAdministration,
    "Medication": fhir.Medication,
    "Condition": fhir.Diagnosis,
    "Procedure": fhir.ProcedureResource,
    "Device": fhir.DeviceResource,
    "ServiceRequest": fhir.ServiceRequest,
    "Patient": fhir.PatientResource,
    "OperationOutcome": fhir.OperationOutcome,
}
DECODERS: dict[str, msgspec.json.Decoder[Any]] = {name: msgspec.json.Decoder(kind) for name, kind in TYPES.items()}

# Without these a resource cannot be understood, or would be understood wrongly; anything else may be left out.
_NEEDED: dict[str, frozenset[str]] = {
    "Observation": frozenset(fhir.Observation.__struct_fields__)
    - {"id", "issued", "specimen", "meta", "interpretation", "reference_range"},
    "DiagnosticReport": frozenset({"resource_type", "status", "subject", "code"}),
    "MedicationRequest": frozenset(fhir.Drug.__struct_fields__) - {"id"} | {"intent", "do_not_perform"},
    "MedicationStatement": frozenset(fhir.Drug.__struct_fields__) - {"id"} | {"adherence"},
    "MedicationDispense": frozenset(fhir.Drug.__struct_fields__) - {"id"} | {"days_supply"},
    "MedicationAdministration": frozenset(fhir.Drug.__struct_fields__) - {"id"},
    "Condition": frozenset({"resource_type", "subject", "code", "clinical_status", "verification_status"}),
    "Procedure": frozenset({"resource_type", "subject", "code", "status"}),
    "Device": frozenset({"resource_type", "patient", "type", "status"}),
    "ServiceRequest": frozenset({"resource_type", "subject", "code", "status", "intent", "do_not_perform"}),
    "Patient": frozenset(fhir.PatientResource.__struct_fields__),
    "Medication": frozenset({"code", "ingredient"}),
}

_HEAD = msgspec.json.Decoder(fhir.Resource)
_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_ITEMS = msgspec.json.Decoder(list[Raw])


class UnreadableError(ValueError):
    """JSON that is not what it should be. The message holds nothing of its content."""


def is_type_name(text: str) -> bool:
    """True for a word that may name a resource type; anything else is kept out of what people read."""
    return len(text) <= MOST_CHARACTERS and text.isascii() and text.isalpha()


def given(raw: Raw) -> bool:
    """True if the element is there and not `null`."""
    return raw is not ABSENT and bool(raw) and raw != NULL


def members(raw: Raw | bytes) -> dict[str, Raw]:
    """The members of a JSON object. Raises UnreadableError for anything else."""
    try:
        return _MEMBERS.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableError("not a JSON object") from error


def loosely(raw: Raw, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode, also a single value in place of a list of one, or the reverse. Raises UnreadableError."""
    try:
        return decoder.decode(raw)
    except msgspec.DecodeError:
        pass
    except RecursionError as error:
        raise UnreadableError("nested too deeply") from error
    try:
        return decoder.decode(b"[" + bytes(raw) + b"]")
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        (only,) = _ITEMS.decode(raw)
        return decoder.decode(only)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise UnreadableError("an element has a wrong type") from error


def salvage(raw: Raw, name: str) -> Any:
    """A resource of type `name`, element by element. Raises UnreadableError if one that matters cannot be read."""
    parts = members(raw)
    needed = _NEEDED.get(name, frozenset())
    values = {}
    for field, encoded, decoder in _fields(name):
        part = parts.get(encoded)
        if part is None:
            continue
        try:
            values[field] = loosely(part, decoder)
        except UnreadableError:
            if field in needed:
                raise
    return TYPES[name](**values)


@cache
def _fields(name: str) -> tuple[tuple[str, str, msgspec.json.Decoder[Any]], ...]:
    fields = msgspec.structs.fields(TYPES[name])
    return tuple((field.name, field.encode_name, msgspec.json.Decoder(field.type)) for field in fields)


def number(raw: Raw) -> tuple[Decimal, str]:
    """A JSON number exactly, and as it was written.

    Raises UnreadableError if it is none, or beyond 40 digits or an exponent of 30: no laboratory writes such
    numbers, and calculating with them costs memory.
    """
    try:
        text = (b"" + raw).decode()
        if len(text) > SHORT or "e" in text or "E" in text:
            _check_size(text)
        return Decimal(text), text
    except (InvalidOperation, UnicodeDecodeError):  # JSON, but no number
        raise UnreadableError("not a number") from None


def _check_size(text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise UnreadableError("not a number of ordinary size")
    mantissa, _, exponent = text.lower().partition("e")
    if sum(map(str.isdigit, mantissa)) > MOST_DIGITS or len(exponent.lstrip("+-0")) > len(str(MOST_EXPONENT)):
        raise UnreadableError("not a number of ordinary size")
    if exponent.lstrip("+-").isdecimal() and int(exponent) not in range(-MOST_EXPONENT, MOST_EXPONENT + 1):
        raise UnreadableError("not a number of ordinary size")


def whole_number(raw: Raw) -> int | None:
    """A JSON number that is a whole one, else None."""
    digits = bytes(raw)
    if len(digits) <= SHORT and digits.isdigit():
        return int(digits)
    try:
        value, _ = number(raw)
    except UnreadableError:
        return None
    return int(value) if value == value.to_integral_value() else None


def head_of(raw: Raw) -> fhir.Resource:
    """Type and id of a resource as far as they can be seen."""
    try:
        return _HEAD.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        parts = members(raw)
    except UnreadableError:
        return fhir.Resource()
    return fhir.Resource(resource_type=_text(parts.get("resourceType")), id=_text(parts.get("id")))


def _text(raw: Raw | None) -> str | None:
    try:
        return None if raw is None else msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return None


def decode(raw: Raw, name: str) -> Any:
    """A resource of type `name`, leniently. Raises UnreadableError."""
    if name not in DECODERS:
        raise UnreadableError("no type that is read")
    try:
        return DECODERS[name].decode(raw)
    except RecursionError as error:
        raise UnreadableError("nested too deeply") from error
    except msgspec.DecodeError:
        return salvage(raw, name)
