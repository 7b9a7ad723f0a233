"""A JWK Set (RFC 7517) as public keys that can verify, by `kid`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MOST_BYTES = 65_536
"""Of a JWK Set: a hundred keys."""
MOST_KEYS = 100
SHORTEST_RSA = 2048
"""Bits (RFC 7518, 3.3)."""

_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
# A private key is published by mistake only; its public half is all that is looked at.
_PUBLIC = ("kty", "crv", "x", "y", "n", "e")


class KeySetError(ValueError):
    """No key can be had from a JWK Set. The message is ours and repeats nothing of it."""


class Key(NamedTuple):
    """A public key and what it may be used for."""

    kty: str
    crv: str
    """'' for RSA."""
    alg: str
    """The only algorithm that its owner uses it for; '' if it does not say."""
    public: Any


KeySet = Mapping[str, tuple[Key, ...]]
"""By `kid`. Usually one each; two that share it are told apart by their type."""


def read_keys(content: bytes) -> KeySet:
    """The keys of a JWK Set that can verify. Raises KeySetError if there is none.

    Keys of other kinds and uses, and those that cannot be read, are passed over: a set may hold keys for
    encryption, or of a kind that is newer than this service.
    """
    if len(content) > MOST_BYTES:
        raise KeySetError(f"more than {MOST_BYTES} bytes")
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        raise KeySetError("not JSON") from None
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise KeySetError("not a JWK Set: no list 'keys'")
    found: dict[str, tuple[Key, ...]] = {}
    for member in members[:MOST_KEYS]:
        kid = member.get("kid") if isinstance(member, dict) else None
        if isinstance(kid, str) and kid and (key := _read_key(member)):
            found[kid] = (*found.get(kid, ()), key)
    if not found:
        raise KeySetError("no key with a kid that can verify a signature")
    return found


def _read_key(member: dict[str, Any]) -> Key | None:
    operations = member.get("key_ops", ["verify"])
    if member.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    kty, crv, alg = (member.get(name, "") for name in ("kty", "crv", "alg"))
    reader = "RS256" if kty == "RSA" else next((name for name in _CURVES if _CURVES[name] == crv), "")
    if kty not in ("RSA", "EC") or not reader or not isinstance(alg, str):
        return None
    try:
        algorithm = jwt.get_algorithm_by_name(reader)
        public: Any = algorithm.from_jwk({name: member[name] for name in _PUBLIC if name in member})
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if isinstance(public, RSAPublicKey) and public.key_size < SHORTEST_RSA:
        return None
    return Key(kty, crv if kty == "EC" else "", alg, public)


def fits(key: Key, algorithm: str) -> bool:
    """True if a signature by `algorithm`, as ES384, can be one of this key."""
    kty = "EC" if algorithm in _CURVES else "RSA"
    return key.kty == kty and key.crv == _CURVES.get(algorithm, "") and key.alg in ("", algorithm)
