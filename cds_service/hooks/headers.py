"""Headers that every answer carries, errors too: who may read it in a browser, and that nobody keeps it.

Browser clients such as the CDS Hooks Sandbox call across origins. Their preflight carries no token, so it
is answered for every address without asking who calls (Fetch standard, CORS-preflight). Cookies are never
in play.
"""

from __future__ import annotations

from flask import Response

METHODS = "GET, POST, OPTIONS"
# `*` would not cover Authorization, so both are named.
REQUEST_HEADERS = "Authorization, Content-Type"
REQUEST_ID = "X-Request-Id"
PREFLIGHT_SECONDS = "3600"

_SECURITY = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)


def preflight() -> Response:
    """Answer to OPTIONS at any address; `add_cors` completes it."""
    response = Response(status=204)
    del response.headers["Content-Type"]
    response.headers["Allow"] = METHODS
    response.headers["Access-Control-Allow-Methods"] = METHODS
    response.headers["Access-Control-Allow-Headers"] = REQUEST_HEADERS
    response.headers["Access-Control-Max-Age"] = PREFLIGHT_SECONDS
    return response


def add_cors(response: Response, origin: str, allowed: frozenset[str]) -> None:
    """Let pages of `origin` read the answer if it is among `allowed` (`*`: any). '' is no browser."""
    if "*" in allowed:
        response.headers.add("Access-Control-Allow-Origin", "*")
    elif allowed:
        response.headers.add("Vary", "Origin")
        if origin in allowed:
            response.headers.add("Access-Control-Allow-Origin", origin)
    response.headers.add("Access-Control-Expose-Headers", REQUEST_ID)


def add_security(response: Response) -> None:
    """Keep answers out of caches, frames and guesses about their type, unless the view has said otherwise."""
    present = {name.lower() for name, _ in response.headers}
    for name, value in _SECURITY:
        if name.lower() not in present:
            response.headers.add(name, value)
