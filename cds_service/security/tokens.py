"""A JSON Web Token (RFC 7519) taken apart, and every reason why it would not be accepted.

CDS Hooks 2.0, Trusting CDS Clients. Only the compact form of three parts is read here; keys and signatures are
PyJWT's. What a token says chooses among the configured clients and their keys; it never brings a key or a place to
fetch one from.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import jwt
import msgspec

from cds_service.security.keyset import Key, fits
from cds_service.security.refusals import RefusedError
from cds_service.settings import Client
from cds_service.settings_checks import SIGNATURES

LEEWAY_SECONDS = 30
"""How far the EHR's clock and ours may be apart. `nbf` some minutes ago, as EHRs send it, needs none.
The jti is kept for longer than this after `exp` (`replay.MARGIN_SECONDS`)."""
LIFETIME_SECONDS = 3600
"""The longest time from `iat` to `exp`. Five minutes are usual; without a bound the jti would be kept for ever."""
LONGEST_TOKEN = 16_384
LONGEST_JTI = 255

_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*) *")
_GREATEST_TIME = 1e12
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_json = msgspec.json.Decoder()
_verifier = cache(jwt.get_algorithm_by_name)  # which would make all of them anew for each token


class Token(NamedTuple):
    """A token as it was sent; nothing of it is true yet."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def read_token(authorization: str | None) -> Token:
    """The token of an Authorization header. Raises RefusedError."""
    if not authorization:
        raise RefusedError("token_missing")
    if len(authorization) > LONGEST_TOKEN:
        raise RefusedError("token_too_long")
    parts = _BEARER.fullmatch(authorization)
    if parts is None:
        raise RefusedError("token_scheme")
    header, claims, signature = parts.groups()
    try:
        said = _json.decode(_from_base64(header)), _json.decode(_from_base64(claims))
        proof = _from_base64(signature)
    except (ValueError, RecursionError):  # also msgspec's and binascii's
        raise RefusedError("token_unreadable") from None
    if not all(isinstance(one, dict) for one in said):
        raise RefusedError("token_unreadable")
    return Token(*said, f"{header}.{claims}".encode(), proof)


def _from_base64(text: str) -> bytes:
    return a2b_base64(text.encode().translate(_URL_SAFE) + b"=" * (-len(text) % 4))


def choose_client(claims: dict[str, Any], clients: Sequence[Client]) -> Client:
    """The client that the token claims to come from. Raises RefusedError."""
    issuer = claims.get("iss")
    if issuer is None:
        raise RefusedError("iss_missing")
    if not isinstance(issuer, str):
        raise RefusedError("iss_malformed")
    of_issuer = [client for client in clients if client.issuer == issuer]
    if not of_issuer:
        raise RefusedError("iss_unknown")
    tenant = claims.get("tenant")
    for wanted in (tenant, ""):
        for client in of_issuer:
            if client.tenant == wanted:
                return client
    raise RefusedError("tenant_wrong", of_issuer[0].name)


def header_faults(header: dict[str, Any], client: Client) -> Iterator[str]:
    """Reasons that the token's header gives."""
    algorithm = header.get("alg")
    if algorithm not in SIGNATURES:
        yield "algorithm_forbidden"
    elif algorithm not in client.algorithms:
        yield "algorithm_not_listed"
    if "jwk" in header:
        yield "key_embedded"
    if "crit" in header or "b64" in header:
        yield "header_critical"
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        yield "kid_missing"
    # A client with a file has no address to compare with; its `jku` is not followed, as no other is.
    if client.jwks_url and header.get("jku", client.jwks_url) != client.jwks_url:
        yield "jku_foreign"


def claim_faults(claims: dict[str, Any], endpoint: str, now: float) -> Iterator[str]:
    """Reasons that the claims give. `endpoint`: the URL that was called; `now`: seconds since 1970."""
    audience = claims.get("aud")
    if audience is None:
        yield "aud_missing"
    elif isinstance(audience, list) and all(isinstance(one, str) for one in audience):
        if endpoint not in audience:
            yield "aud_wrong"
    elif not isinstance(audience, str):
        yield "aud_malformed"
    elif audience != endpoint:
        yield "aud_wrong"
    yield from _time_faults(claims, now)
    jti = claims.get("jti")
    if jti is None:
        yield "jti_missing"
    elif not isinstance(jti, str) or not 0 < len(jti) <= LONGEST_JTI or not jti.isprintable():
        yield "jti_malformed"


def _time_faults(claims: dict[str, Any], now: float) -> Iterator[str]:
    times: dict[str, float] = {}
    for name, needed in (("exp", True), ("iat", True), ("nbf", False)):
        value = claims.get(name)
        if value is None:
            if needed:
                yield f"{name}_missing"
        elif type(value) not in (int, float) or not 0 <= value <= _GREATEST_TIME:
            yield f"{name}_malformed"
        else:
            times[name] = value
    if times.get("exp", now) <= now - LEEWAY_SECONDS:
        yield "exp_past"
    if times.get("iat", now) > now + LEEWAY_SECONDS:
        yield "iat_future"
    if times.get("nbf", now) > now + LEEWAY_SECONDS:
        yield "nbf_future"
    if times.get("exp", now) - times.get("iat", now) > LIFETIME_SECONDS:
        yield "lifetime_too_long"


def key_faults(token: Token, keys: tuple[Key, ...] | None) -> Iterator[str]:
    """Reasons that the client's `keys` of the token's `kid` give, the signature last."""
    if keys is None:
        yield "keys_unavailable"
        return
    if not keys:
        yield "kid_unknown"
        return
    algorithm = token.header["alg"]
    fitting = [key for key in keys if fits(key, algorithm)]
    if not fitting:
        yield "key_unfit"
    elif not any(_is_signed(token, algorithm, key) for key in fitting):
        yield "signature_wrong"


def _is_signed(token: Token, algorithm: str, key: Key) -> bool:
    return _verifier(algorithm).verify(token.signed, key.public, token.signature)
