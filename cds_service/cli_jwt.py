"""The command `cds-service check-jwt`: what is wrong with a token, and what to do about it."""

from __future__ import annotations

import os
import sys
from typing import Any

import click
import msgspec

from cds_service.app import now_utc
from cds_service.hooks.discovery import SERVICES
from cds_service.security.refusals import REASONS, RefusedError
from cds_service.settings import Client, Settings, load

REFUSED = 1
LONGEST_SHOWN = 120

IN_HEADER = {"algorithm": "alg", "kid": "kid", "jku": "jku"}
"""Beginning of a reason's id -> the member of the token's header that it is about."""
IN_CLAIMS = ("iss", "tenant", "aud", "exp", "iat", "nbf")


@click.command("check-jwt")
@click.argument("token")
@click.option("--endpoint", metavar="URL", help="Address that is called with it; by default any of this service.")
def check_jwt(token: str, endpoint: str | None) -> int:
    """Say whether TOKEN ('-': from standard input) would be accepted, and if not, which claim fails and what to do.

    The token is not used up, and it is never printed. Exit code 0: accepted; 1: refused.
    """
    settings = load(os.environ)
    if not settings.clients:
        raise click.UsageError("the settings name no [clients.NAME], so nobody is asked for a token")
    said = (sys.stdin.read() if token == "-" else token).strip()
    reasons = _examine(said.removeprefix("Bearer ").strip(), endpoint, settings)
    for reason, seen in reasons:
        click.echo(f"refused   {reason}: {REASONS[reason].wrong}")
        if seen:
            click.echo(f"          it is {seen}")
        click.echo(f"          {REASONS[reason].hint}")
    if not reasons:
        click.echo("accepted  once: whether its jti was used before is not looked at here")
    return REFUSED if reasons else 0


def _examine(said: str, endpoint: str | None, settings: Settings) -> list[tuple[str, str]]:
    """All reasons to refuse the token, each with what the token says there."""
    from cds_service.security.callers import Callers
    from cds_service.security.tokens import choose_client, read_token

    try:
        token = read_token(f"Bearer {said}")
    except RefusedError as refused:
        return [(refused.reason, "")]
    now = now_utc().timestamp()
    try:
        client = choose_client(token.claims, settings.clients)
    except RefusedError as refused:
        return [(refused.reason, _seen(refused.reason, token.header, token.claims, now))]
    called = endpoint or _meant(token.claims.get("aud"), settings.base_url)
    _tell(client, called)
    callers = Callers(msgspec.structs.replace(settings, clients=(client,)), _tell_problem)
    reasons = callers.faults(token, client, called, now)
    return [(reason, _seen(reason, token.header, token.claims, now)) for reason in reasons]


def _meant(audience: Any, base_url: str) -> str:
    """The address of ours that the token names; that of discovery if it names none."""
    discovery = f"{base_url}/cds-services"
    services = [f"{discovery}/{service.id}" for service in SERVICES]
    ours = [discovery, f"{discovery}/", *services, *(f"{service}/feedback" for service in services)]
    named = audience if isinstance(audience, list) else [audience]
    return next((address for address in ours if address in named), discovery)


def _tell(client: Client, called: str) -> None:
    click.echo(f"client    {client.name}, keys from {client.jwks_url or client.jwks_file}")
    click.echo(f"endpoint  {called}")


def _tell_problem(client: str, problem: str) -> None:
    click.echo(f"keys      of {client} cannot be read: {problem}")


def _seen(reason: str, header: dict[str, Any], claims: dict[str, Any], now: float) -> str:
    """What the token says where it fails, safe to print; '' if nothing or if it is nobody's business."""
    about = reason.partition("_")[0]
    if about in IN_HEADER:
        value = header.get(IN_HEADER[about])
    elif about in IN_CLAIMS:
        value = claims.get(about)
    else:
        return ""
    if value is None:
        return ""
    if about in ("exp", "iat", "nbf") and not reason.endswith("_malformed"):
        seconds = round(value - now)
        return f"in {seconds} seconds" if seconds >= 0 else f"{-seconds} seconds ago"
    return ascii(value)[:LONGEST_SHOWN]
