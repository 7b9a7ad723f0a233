"""What stands at an address of the settings: one GET, no redirect, a bounded answer in bounded time."""

from __future__ import annotations

import threading

import requests
import urllib3
from requests_hardened import Config, HTTPSession
from urllib3.response import BaseHTTPResponse

from cds_service.fhir.transport import Cuttable, Line, holding
from cds_service.security.keyset import MOST_BYTES, KeySetError

FETCH_SECONDS = 5
"""How long it may take altogether."""
SILENT_SECONDS = 2
"""How long the server may say nothing."""
PIECE = 4096
NO_REDIRECT = Config(
    ip_filter_allow_loopback_ips=True,
    ip_filter_enable=False,  # the site names the address; EHRs on private ones are normal in hospitals
    never_redirect=True,
    default_timeout=(SILENT_SECONDS, SILENT_SECONDS),
    user_agent_override="cds-service",
)


def download(url: str, ca_file: str = "") -> bytes:
    """The content at `url`.

    Raises RequestException; KeySetError if it is too much, too slow, cut off, not 200, or not of a trusted server.
    """
    line = Line()
    # A byte now and then, in the head too, would never run into the socket's own timeout.
    clock = threading.Timer(FETCH_SECONDS, line.cut)
    clock.daemon = True
    clock.start()
    try:
        with holding(line):
            content = _download(url, ca_file)
        if line.is_cut:
            raise TimeoutError
    except (OSError, KeySetError) as error:  # a RequestException is an OSError
        if line.is_cut:
            raise KeySetError(f"took more than {FETCH_SECONDS} seconds") from error
        if isinstance(error, requests.exceptions.SSLError):
            raise KeySetError("no trusted TLS connection") from error
        raise
    finally:
        clock.cancel()
    return content


def _download(url: str, ca_file: str) -> bytes:
    with HTTPSession(NO_REDIRECT) as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, Cuttable())
        session.trust_env = False  # neither a proxy nor a password of this machine
        session.verify = ca_file or True
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        with session.get(url, headers=headers, stream=True) as response:
            if response.status_code != requests.codes.ok:
                raise KeySetError(f"answer {response.status_code}")
            try:
                return _content(response.raw)
            except urllib3.exceptions.HTTPError as error:  # which requests does not translate
                raise KeySetError("stopped in the middle of the answer") from error


def _content(raw: BaseHTTPResponse) -> bytes:
    content = b""
    while piece := raw.read1(PIECE):
        content += piece
        if len(content) > MOST_BYTES:
            raise KeySetError(f"more than {MOST_BYTES} bytes")
    return content
