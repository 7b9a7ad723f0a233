"""Calls with a token: the keys of a synthetic EHR, a new token for each call, what checking one costs."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cds_service.cli_database import upgrade_database
from cds_service.feedback.database import connect
from cds_service.feedback.driver import Driver
from cds_service.security.callers import Callers, admit
from cds_service.security.replay import Replays
from cds_service.settings import load

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


def checking_us(algorithm: str, folder: Path) -> tuple[float, float]:
    """CPU of a checked token in microseconds, the least of many: of its signature alone, and of all else.

    All else is what `hooks.access` does beside it: the token taken apart, its client, claims and key found, its id
    kept in an SQLite file in `folder`. The two are measured in turn, each with a new token.
    """
    settings = load({"CDS_CONFIG": str(configure(algorithm, folder))})
    url = f"sqlite:///{folder / 'tokens.sqlite3'}"
    upgrade_database(url)
    replays = Replays(Driver(connect(url)), lambda: datetime.now(UTC))
    callers = Callers(settings, lambda _client, problem: print(problem))
    verifier, public = jwt.get_algorithm_by_name(algorithm), key_of(algorithm).public_key()
    alone, whole = [], []
    for _ in range(ROUNDS):
        new = token(algorithm, callers.endpoint("/"))
        signed, _, signature = new.rpartition(".")
        proof = jwt.utils.base64url_decode(signature)
        before = time.thread_time_ns()
        if not verifier.verify(signed.encode(), public, proof):
            raise RuntimeError("a good signature was refused")
        between = time.thread_time_ns()
        client, claims = callers.check(f"Bearer {new}", "/", time.time())
        admit(client, claims, replays.first_use)
        after = time.thread_time_ns()
        alone.append(between - before)
        whole.append(after - between)
    return min(alone) / 1000, (min(whole) - min(alone)) / 1000
