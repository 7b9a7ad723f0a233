"""Who may call: start here. A call's Authorization header and address in, the client's name out, or a refusal.

tokens     takes the token apart and finds its faults
keys       the keys of each client, from the configured place
replay     each token once
refusals   the reasons, with words for the operator
rates      how many calls a minute
openness   whether the service may start without asking
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from cds_service.feedback.errors import DatabaseError
from cds_service.security.keys import FileKeys, UrlKeys, make_keys
from cds_service.security.refusals import RefusedError
from cds_service.security.tokens import Token, choose_client, claim_faults, header_faults, key_faults, read_token
from cds_service.settings import Client, Settings

Report = Callable[[str, str], None]
"""Told the client's name and, in words of ours, why its keys could not be read."""
Once = Callable[[str, str, float], bool]
"""Takes issuer, jti and exp; True if this jti is here for the first time. DatabaseError: nobody can tell."""


class Callers:
    """The trusted clients and their keys. Safe to use from several threads."""

    def __init__(self, settings: Settings, report: Report) -> None:
        self.clients = settings.clients
        self._base_url = settings.base_url
        self._keys: dict[str, FileKeys | UrlKeys] = {
            client.name: make_keys(client, partial(report, client.name)) for client in settings.clients
        }

    def endpoint(self, path: str) -> str:
        """The `aud` of a call at `path`: the address under which the EHR knows it, and as it called it."""
        return self._base_url + path

    def check(self, authorization: str | None, path: str, now: float) -> tuple[Client, dict[str, Any]]:
        """The client that calls and the claims of its token, all checked but the jti's use. Raises RefusedError."""
        token = read_token(authorization)
        client = choose_client(token.claims, self.clients)
        for reason in self.faults(token, client, self.endpoint(path), now):
            raise RefusedError(reason, client.name)
        return client, token.claims

    def faults(self, token: Token, client: Client, endpoint: str, now: float) -> Iterator[str]:
        """Every reason to refuse the token of `client`; what is cheap is looked at first, the signature last."""
        wrong = False
        for reason in header_faults(token.header, client):
            wrong = True
            yield reason
        yield from claim_faults(token.claims, endpoint, now)
        if not wrong:
            yield from key_faults(token, self._keys[client.name].find(token.header["kid"]))


def admit(client: Client, claims: dict[str, Any], once: Once) -> None:
    """Use up the token's jti. Raises RefusedError if that was done before, or if nobody can tell."""
    try:
        first = once(client.issuer, claims["jti"], claims["exp"])
    except DatabaseError:
        raise RefusedError("replay_unknown", client.name) from None
    if not first:
        raise RefusedError("jti_used", client.name)
