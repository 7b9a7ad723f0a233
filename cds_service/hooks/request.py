"""From the bytes of a call to a `HookRequest`, or to a HookError that names every fault of the envelope.

The body is read once: the members of the envelope become Python values, and what lies under `prefetch` and
`context` stays raw JSON (checked to be JSON, not built) until somebody needs it. CDS Hooks 2.0, Calling a CDS
Service; the fields of `context` follow the pages of the hooks.

The token of `fhirAuthorization` lives as long as the call and shows nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import msgspec
from msgspec import Raw

from cds_service.hooks.errors import HookError, Problem
from cds_service.hooks.twice import stands_twice

Value = dict[str, Raw] | list[Raw] | str | float | bool | None


class Authorization(msgspec.Struct, frozen=True):
    """`fhirAuthorization`, as far as it can be used (CDS Hooks 2.0, FHIR Resource Access)."""

    token: str = ""
    """Bearer token for `fhirServer`, '' if none came that can be sent."""
    patient: str = ""
    """Id of the only patient whom the token is for, '' if that is not said."""

    def __repr__(self) -> str:
        """Without the token."""
        return "Authorization()"


class HookRequest(msgspec.Struct, frozen=True):
    """One call of one service, checked."""

    hook: str
    hook_instance: str
    user_id: str
    """`Type/id` of who is looking."""
    patient_id: str
    prefetch: Mapping[str, Raw]
    """Every key that was sent, also with `null`, as raw JSON; empty if there was no prefetch."""
    fhir_server: str = ""
    """'' if the EHR offers none."""
    authorization: Authorization = Authorization()
    """For `fhir_server`; empty without one."""
    draft_orders: Raw | None = None
    """Bundle of drafted orders; None for patient-view."""
    selections: frozenset[str] | None = None
    """References into `draft_orders`; None if the hook has no selections."""


class Field(NamedTuple):
    """A member that holds a string."""

    name: str
    pattern: re.Pattern[str]
    expected: str
    required: bool = True


# Servers write "_" into ids although FHIR has no such character.
ID = r"[A-Za-z0-9\-._]{1,64}"
HEX = "[0-9A-Fa-f]"
TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
"""What an Authorization header can carry."""
HOOK_INSTANCE = Field(
    "hookInstance",
    re.compile(rf"(?:urn:uuid:)?{HEX}{{8}}(?:-{HEX}{{4}}){{3}}-{HEX}{{12}}"),
    "a UUID",
)
URL_CHARACTERS = r"A-Za-z0-9\-._~:\[\]@!$&'()*+,;=%"  # RFC 3986, without those that begin a query or a fragment
FHIR_SERVER = Field(
    "fhirServer",
    re.compile(rf"https?://[{URL_CHARACTERS}]+(?:/[{URL_CHARACTERS}/]*)?"),
    "an absolute http or https URL",
    required=False,
)
USER = Field(
    "userId",
    re.compile(rf"(?:Practitioner|PractitionerRole|Patient|RelatedPerson)/{ID}"),
    "Type/id of a Practitioner, PractitionerRole, Patient or RelatedPerson",
)
PATIENT = Field("patientId", re.compile(ID), "a FHIR id: at most 64 letters, digits, '-', '.'; not a reference")
ENCOUNTER = Field("encounterId", re.compile(r"(?s).+"), "a FHIR id", required=False)

MEMBERS = ("hook", "hookInstance", "fhirServer", "fhirAuthorization", "context", "prefetch", "extension")
CONTEXT_FIELDS = ("userId", "patientId", "encounterId", "selections", "draftOrders", "extension")
ORDER_HOOKS = ("order-select", "order-sign")

_ENVELOPE = msgspec.json.Decoder(dict[str, Value])
_VALUE = msgspec.json.Decoder(Value)
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def check_media(content_type: str, content_encoding: str) -> None:
    """Raise HookError unless the headers promise plain JSON in UTF-8 (RFC 8259, 8.1)."""
    if content_type == "application/json" and not content_encoding:  # as most clients say it
        return
    media, _, parameters = content_type.partition(";")
    if media.strip().lower() != "application/json":
        text = "expected the header Content-Type: application/json"
        raise HookError(415, [Problem("not-supported", text)])
    if content_encoding.strip().lower() not in ("", "identity"):
        text = "compressed bodies are not read; send the JSON without Content-Encoding"
        raise HookError(415, [Problem("not-supported", text)])
    charset = re.search(r'(?i)(?:^|;)\s*charset\s*=\s*"?([^";\s]*)', parameters)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        text = "expected JSON in UTF-8; the charset of the Content-Type header says otherwise"
        raise HookError(400, [Problem("not-supported", text)])


def read_request(body: bytes, hook: str) -> HookRequest:
    """The call in `body` to a service of `hook`. Raises HookError (400) with all faults of the envelope."""
    members = members_of(body)
    problems = _twice(body, members)
    _string(members, _field_of(hook), "", problems)
    instance = _string(members, HOOK_INSTANCE, "", problems)
    fhir_server = _string(members, FHIR_SERVER, "", problems)
    prefetch = _object(members, "prefetch", "", problems)
    grant = _object(members, "fhirAuthorization", "", problems)
    _object(members, "extension", "", problems)
    context = _object(members, "context", "", problems, required=True)
    if context is None:
        raise HookError(400, problems)
    fields = {name: _value(context[name]) for name in CONTEXT_FIELDS if name in context}
    user, patient, _ = (_string(fields, field, "context.", problems) for field in (USER, PATIENT, ENCOUNTER))
    _object(fields, "extension", "context.", problems)
    selections = _selections(fields, problems) if hook == "order-select" else None
    ordering = hook in ORDER_HOOKS
    _object(fields, "draftOrders", "context.", problems, required=ordering)
    if problems:
        raise HookError(400, problems)
    return HookRequest(
        hook=hook,
        hook_instance=instance,
        user_id=user,
        patient_id=patient,
        prefetch=prefetch or {},
        fhir_server=fhir_server,
        authorization=_authorization(grant) if grant and fhir_server else Authorization(),
        draft_orders=context["draftOrders"] if ordering else None,
        selections=selections,
    )


@cache
def _field_of(hook: str) -> Field:
    return Field("hook", re.compile(re.escape(hook)), f"{hook}, the hook of this service")


def members_of(body: bytes) -> dict[str, Value]:
    """Members of the JSON object in `body`. Raises HookError (400) if there is none."""
    fault = _fault_of_encoding(body)
    if not fault:
        try:
            return _ENVELOPE.decode(body)
        except RecursionError:
            fault = "the JSON is nested too deeply"
        except msgspec.ValidationError:
            fault = "expected a JSON object whose numbers fit into 64-bit floating point"
        except msgspec.DecodeError as error:  # tells kind and byte of the fault, nothing of the content
            fault = f"expected JSON (RFC 8259): {error}"
    raise HookError(400, [Problem("structure", f"body: {fault}")])


def _fault_of_encoding(body: bytes) -> str:
    """Why `body` is not JSON text in plain UTF-8; '' if nothing speaks against it."""
    if not body or body.isspace():
        return "empty; expected a JSON object"
    if body.startswith(_UTF8_BOM):
        return "starts with a byte order mark; expected JSON without one"
    # JSON starts with two ASCII characters: a zero byte among the first four means UTF-16 or UTF-32.
    if body.startswith(_UTF16_BOMS) or b"\0" in body[:4]:
        return "UTF-16 or UTF-32; expected UTF-8"
    # The decoder skips what nobody reads without looking at its encoding.
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            return f"not UTF-8 at byte {error.start}"
    return ""


def _twice(body: bytes, members: Mapping[str, Value]) -> list[Problem]:
    name = stands_twice(body, members)
    if name is None:
        return []
    path = name if name in MEMBERS else ""
    text = f"{path or 'body'}: stands twice, or a name inside it does; expected each name once"
    return [Problem("structure", text, path)]


def _value(raw: Raw) -> Value:
    """The raw JSON one level deep; a number beyond floating point is taken as some number."""
    try:
        value: Value = _VALUE.decode(raw)
        return value
    except msgspec.ValidationError:
        return float("inf")


def _string(members: Mapping[str, Value], field: Field, owner: str, problems: list[Problem]) -> str:
    """The field's value; '' if it is absent or at fault. null counts as absent."""
    value = members.get(field.name)
    path = owner + field.name
    if isinstance(value, str) and field.pattern.fullmatch(value):
        return value
    if isinstance(value, str):
        problems.append(Problem("value", f"{path}: expected {field.expected}", path))
    elif value is not None:
        problems.append(Problem("structure", f"{path}: expected a string, {field.expected}", path))
    elif field.required:
        problems.append(Problem("required", f"{path}: missing; expected {field.expected}", path))
    return ""


def _object(
    members: Mapping[str, Value], name: str, owner: str, problems: list[Problem], required: bool = False
) -> dict[str, Raw] | None:
    """The member's members; None if it is absent or at fault. null counts as absent."""
    value = members.get(name)
    path = owner + name
    if isinstance(value, dict):
        return value
    if value is not None:
        problems.append(Problem("structure", f"{path}: expected an object", path))
    elif required:
        problems.append(Problem("required", f"{path}: missing; expected an object", path))
    return None


def _authorization(grant: Mapping[str, Raw]) -> Authorization:
    """What can be used of the block. A token of another type, or one that no header can hold, is none."""
    values = {name: _value(grant[name]) for name in ("access_token", "token_type", "patient") if name in grant}
    token, kind, patient = (values.get(name) for name in ("access_token", "token_type", "patient"))
    is_bearer = kind is None or (isinstance(kind, str) and kind.lower() == "bearer")
    usable = is_bearer and isinstance(token, str) and TOKEN.fullmatch(token)
    return Authorization(
        token=str(token) if usable else "",
        patient=patient.removeprefix("Patient/") if isinstance(patient, str) else "",
    )


def _selections(fields: Mapping[str, Value], problems: list[Problem]) -> frozenset[str]:
    """References of the selected drafts; what they refer to is not judged here."""
    path = "context.selections"
    value = fields.get("selections")
    if value is None:
        problems.append(Problem("required", f"{path}: missing; expected an array of Type/id strings", path))
        return frozenset()
    if isinstance(value, list):
        items = [_value(raw) for raw in value]
        found = frozenset(item for item in items if isinstance(item, str))
        if all(isinstance(item, str) for item in items):
            return found
    problems.append(Problem("structure", f"{path}: expected an array of Type/id strings", path))
    return frozenset()
