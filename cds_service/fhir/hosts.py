"""Where the service may call: the FHIR servers that the site lists, and nothing outside their path.

    fhirServer of a call --Hosts.find--> Server, or None: not on the list
    a URL on the way     --Server.own--> the URL as it is sent, or None: it leads elsewhere

An address is compared after it was taken apart, and sent as it was put together again, so that no two readers can
understand it differently. Which IP addresses a server's name may stand for is its `reach`; `transport.py` holds
it to that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple
from urllib.parse import quote, urljoin

import msgspec

from cds_service.settings import FhirServer, Settings
from cds_service.settings_checks import GREATEST_PORT, is_loopback

Reach = Literal["public", "private", "loopback"]
"""Addresses that a name may stand for: those of the internet; those of the hospital's network too; this machine."""

DEFAULT_PORTS = {"http": "80", "https": "443"}
SAFE = "/?&=:,%-._~$+;@!*'()"
"""Characters of a filled template that stay as they are."""

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_.\-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[a-z0-9\-._~!$&'()*+,;=:@%|/]*)?(?:\?(?P<query>[\x21-\x22\x24-\x7e]*))?",
    re.IGNORECASE,
)
# What another reader may decode to a dot, a slash or a percent sign makes another path.
_DISGUISED = re.compile(r"%(?:2e|2f|5c|25|00)", re.IGNORECASE)


class Place(NamedTuple):
    """A URL, taken apart."""

    origin: str
    host: str
    path: str
    query: str


class Server(msgspec.Struct, frozen=True):
    """A FHIR server that may be called."""

    origin: str
    """Scheme, host in small letters, and the port unless it is the scheme's own."""
    path: str
    """Path of its base without a slash at the end; '' if it is at the root."""
    reach: Reach
    ca_file: str = ""
    """Certificates that alone may vouch for it; '': the public ones."""
    smart_client_id: str = ""
    """Client id of the chart page at this EHR; '' if it has none of its own."""

    def own(self, url: str) -> str | None:
        """The URL as it is sent if it lies at or below the server's base, else None; it may be relative."""
        try:
            place = take_apart(urljoin(f"{self.origin}{self.path}/", url))
        except ValueError:
            return None
        if place is None or place.origin != self.origin or not _is_below(place.path, self.path):
            return None
        return f"{place.origin}{place.path}" + (f"?{place.query}" if place.query else "")

    def ask(self, template: str, patient_id: str) -> str | None:
        """The URL of a prefetch template for this patient, None if the id makes no address."""
        filled = template.replace("{{context.patientId}}", quote(patient_id, safe=""))
        return self.own(f"{self.origin}{self.path}/{quote(filled, safe=SAFE)}")


class Hosts:
    """The servers of a site."""

    def __init__(self, settings: Settings) -> None:
        """None listed: FHIR servers on loopback if the service is for this machine alone; else nobody."""
        self._listed = tuple(_listed(settings.fhir_servers))
        self._loopback = settings.for_this_machine and not settings.fhir_servers

    def find(self, fhir_server: str) -> Server | None:
        """The server that `fhir_server` names, None if it may not be called."""
        place = take_apart(fhir_server)
        if place is None or place.query:
            return None
        path = place.path.rstrip("/")
        for listed in self._listed:
            if place.origin == listed.origin and _is_below(path, listed.path):
                return msgspec.structs.replace(listed, path=path)
        if self._loopback and is_loopback(place.host.strip("[]")):
            return Server(place.origin, path, "loopback")
        return None


def _listed(servers: Iterable[FhirServer]) -> Iterable[Server]:
    for server in servers:
        place = take_apart(server.url)
        if place is not None and (server.allow_http or place.origin.startswith("https:")):
            reach: Reach = "private" if server.allow_private else "public"
            path = place.path.rstrip("/")
            yield Server(place.origin, path, reach, server.ca_file, server.smart_client_id)


def can_fetch(settings: Settings) -> bool:
    """True if there can be a FHIR server that the service calls."""
    return settings.fhir_deadline_ms > 0 and (bool(settings.fhir_servers) or settings.for_this_machine)


def take_apart(url: str) -> Place | None:
    """The parts of an absolute http or https URL; None for one that could be read in more than one way."""
    found = _URL.fullmatch(url)
    if found is None:
        return None
    scheme, host, port = found["scheme"].lower(), found["host"].lower(), found["port"]
    path = found["path"] or ""
    if _DISGUISED.search(path) or not {".", ".."}.isdisjoint(path.split("/")):
        return None
    if port and int(port) > GREATEST_PORT:
        return None
    shown = "" if not port or port == DEFAULT_PORTS[scheme] else f":{int(port)}"
    return Place(f"{scheme}://{host}{shown}", host, path, found["query"] or "")


def _is_below(path: str, base: str) -> bool:
    return path == base or path.startswith(f"{base}/")
