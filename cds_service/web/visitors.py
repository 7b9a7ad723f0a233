"""Who may look at the pages that know no password: a browser on the machine on which the service runs."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import request

from cds_service.hooks.errors import HookError, Problem
from cds_service.settings_checks import is_loopback

PAGES = ("/", "/chart", "/governance")
"""What a link from elsewhere may open."""
PROXIED = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip")
LOOPBACK_SERVERS = ("http://127.0.0.1:*", "http://localhost:*")
"""Any server on this machine, in a Content-Security-Policy."""


def refuse_strangers() -> None:
    """Raise HookError (403) unless a browser on this machine asks, for a page that came from here.

    A name that an attacker points at this machine (DNS rebinding), a page of another origin and a proxy that lets
    others in are strangers.
    """
    own_origin = f"{request.scheme}://{request.host}"
    foreign = request.headers.get("Origin", own_origin) != own_origin
    if request.method != "GET" or request.path not in PAGES:
        foreign = foreign or request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none")
    # No browser speaks HTTP/1.0 (granian: "HTTP/1"); nginx does, unless its configuration says otherwise.
    proxied = any(name in request.headers for name in PROXIED) or request.environ["SERVER_PROTOCOL"] != "HTTP/1.1"
    if foreign or proxied or not is_loopback(urlsplit(own_origin).hostname or ""):
        text = "this page answers only a browser on the machine on which the service runs"
        raise HookError(403, [Problem("forbidden", text)])
