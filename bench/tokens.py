"""Calls with a token: the keys of a synthetic EHR, a new token for each call, what a signature alone costs."""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUER = "https://ehr.example.org"
KID = "bench"
LIFETIME_SECONDS = 300
RSA_BITS = 2048
ROUNDS = 200


@cache
def key_of(algorithm: str) -> Any:
    """The EHR's private key, made once."""
    if algorithm == "ES384":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(65537, RSA_BITS)


def configure(algorithm: str, folder: Path) -> Path:
    """Settings that let this EHR in, and nobody else; the file's name."""
    public = jwt.get_algorithm_by_name(algorithm).to_jwk(key_of(algorithm).public_key(), as_dict=True)  # type: ignore[attr-defined]
    (folder / "keys.json").write_text(json.dumps({"keys": [{**public, "kid": KID, "alg": algorithm}]}))
    settings = folder / "settings.toml"
    settings.write_text(
        f'[clients.bench]\nissuer = "{ISSUER}"\njwks_file = "keys.json"\nalgorithms = ["{algorithm}"]\n'
    )
    return settings


def token(algorithm: str, audience: str) -> str:
    """A good token that was never used."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": audience, "iat": now, "exp": now + LIFETIME_SECONDS, "jti": str(uuid4())}
    return jwt.encode(claims, key_of(algorithm), algorithm, headers={"kid": KID})


def verification_us(algorithm: str) -> float:
    """CPU of one verification of the signature, in microseconds: the least of many."""
    signed, _, signature = token(algorithm, "any").rpartition(".")
    verifier, public = jwt.get_algorithm_by_name(algorithm), key_of(algorithm).public_key()
    proof = jwt.utils.base64url_decode(signature)
    taken = []
    for _ in range(ROUNDS):
        before = time.thread_time_ns()
        if not verifier.verify(signed.encode(), public, proof):
            raise RuntimeError("a good signature was refused")
        taken.append(time.thread_time_ns() - before)
    return min(taken) / 1000
