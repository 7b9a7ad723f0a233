"""Headers that every answer carries, errors too: who may read it in a browser, and that nobody keeps it.

Browser clients such as the CDS Hooks Sandbox call across origins. Their preflight carries no token, so it
is answered for every address without asking who calls (Fetch standard, CORS-preflight). Cookies are never
in play.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

METHODS = "GET, POST, OPTIONS"
# `*` would not cover Authorization, so both are named.
REQUEST_HEADERS = "Authorization, Content-Type"
REQUEST_ID = "X-Request-Id"
NUMBER = "cds_service.request_id"
"""Name in the WSGI environment of what `REQUEST_ID` tells."""
PREFLIGHT_SECONDS = "3600"

_SECURITY = [
    (name.lower(), (name, value))
    for name, value in (
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
    )
]
"""They keep answers out of caches, frames and guesses about their type."""


def preflight() -> Response:
    """Answer to OPTIONS at any address; `completed` adds the rest."""
    response = Response(status=204)
    del response.headers["Content-Type"]
    response.headers["Allow"] = METHODS
    response.headers["Access-Control-Allow-Methods"] = METHODS
    response.headers["Access-Control-Allow-Headers"] = REQUEST_HEADERS
    response.headers["Access-Control-Max-Age"] = PREFLIGHT_SECONDS
    return response


def completed(application: WSGIApplication, allowed: frozenset[str]) -> WSGIApplication:
    """`application` with these headers on each of its answers, beside those that it has given itself.

    Pages of the origins in `allowed` (`*`: any) may read the answers. Security headers that a view has set stay as
    they are. They are added to what Flask hands over: in its own collection each would be looked at twice.
    """
    exposed = ("Access-Control-Expose-Headers", REQUEST_ID)

    def cors(origin: str) -> list[tuple[str, str]]:
        if "*" in allowed:
            return [("Access-Control-Allow-Origin", "*"), exposed]
        readable = [("Access-Control-Allow-Origin", origin)] if origin in allowed else []
        return [*([("Vary", "Origin")] if allowed else []), *readable, exposed]

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *problem: Any) -> Callable[[bytes], object]:
            present = {name.lower() for name, _ in headers}
            headers += cors(environ.get("HTTP_ORIGIN", ""))
            headers += [pair for name, pair in _SECURITY if name not in present]
            if number := environ.get(NUMBER):
                headers.append((REQUEST_ID, number))
            return start_response(status, headers, *problem)

        return application(environ, start)

    return call
