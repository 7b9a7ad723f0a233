"""One GET to a FHIR server: an address that was looked up once, checked and kept; no redirect; a bounded answer.

    get(url) -> body, or Unanswered with the kind of gap that it leaves

`Line` lets the thread that waits end the request of the thread that reads: a server that sends a byte now and then
never runs into a timeout of the socket. Imported with the first errand: requests takes longer to load than
everything else.

Nothing here logs, and no exception that leaves names the URL (it holds the patient's id) or the token.
"""

from __future__ import annotations

import http.client
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests_hardened import Config, HTTPSession
from requests_hardened.ip_filter import EXTRA_BLOCKED_NET_RANGES, InvalidIPAddress
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import BaseHTTPResponse

from cds_service import __version__
from cds_service.fhir.hosts import Reach
from cds_service.fhir.unanswered import Unanswered, not_in_time

PIECE = 64 * 1024
"""Bytes that are read at once, after decompression."""
REFUSALS = frozenset({http.client.UNAUTHORIZED, http.client.FORBIDDEN})
MEDIA = ("application/fhir+json", "application/json", "application/json+fhir", "text/json")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Where clouds keep the credentials of a machine, as far as no other word covers it; this network; addresses of IPv6
# that are no longer given out, or stand for one of IPv4 (Teredo).
NEVER = tuple(
    map(
        ipaddress.ip_network,
        ("0.0.0.0/8", "168.63.129.16/32", "fd00:ec2::254/128", "fd20:ce::254/128", "fec0::/10", "2001::/32"),
    )
)

# Both write addresses into their messages, and the address of a search holds the patient's id.
for _name in ("urllib3", "requests_hardened"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class Line:
    """The connection of one request, which another thread may cut."""

    def __init__(self) -> None:
        """No connection yet."""
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.is_cut = False

    def hold(self, connected: socket.socket | None) -> None:
        """Reading begins. Raises TimeoutError if it is too late."""
        with self._lock:
            if self.is_cut:
                raise TimeoutError
            self._socket = connected

    def let_go(self) -> None:
        """Reading is over: from here on the connection may be another request's."""
        with self._lock:
            self._socket = None

    def cut(self) -> None:
        """End the request, whatever it waits for."""
        with self._lock:
            self.is_cut = True
            if self._socket is not None:
                with suppress(OSError):
                    # Not the method of an SSL socket: it would take the TLS state away under the reader's hands.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


_mine = threading.local()
"""`line`: that of the request which this thread makes."""


@contextmanager
def holding(line: Line) -> Iterator[None]:
    """The requests of this thread are those of `line`."""
    _mine.line = line
    try:
        yield
    finally:
        line.let_go()


class _Plain(HTTPConnection):
    def getresponse(self) -> Any:
        _mine.line.hold(self.sock)
        return super().getresponse()


class _Secure(HTTPSConnection):
    def getresponse(self) -> Any:
        _mine.line.hold(self.sock)
        return super().getresponse()


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class Cuttable(HTTPAdapter):
    """Its connections are those of the `Line` of their thread."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools of such connections."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}


class _Adapter(Cuttable):
    """Looks a name up once, checks the address and connects to just that; TLS is still about the name."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        super().__init__()

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        attributes: Any = super().build_connection_pool_key_attributes(request, verify, cert)
        host, pool = attributes
        name, port = host["host"], host["port"]
        shown = f"[{name}]" if ":" in name else name
        request.headers["Host"] = f"{shown}:{port}" if port else shown
        if host["scheme"] == "https":
            pool["assert_hostname"] = pool["server_hostname"] = name
        host["host"] = address_of(name, port, self._reach)
        return host, pool


def address_of(name: str, port: int | None, reach: Reach) -> str:
    """The address that a name stands for, IPv4 first. Raises InvalidIPAddress if any of them may not be called."""
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise requests.ConnectionError("the name cannot be looked up") from error
    addresses = [ipaddress.ip_address(str(each[4][0])) for each in found]
    if not all(is_allowed(address, reach) for address in addresses):
        raise InvalidIPAddress
    address = min(addresses, key=lambda each: each.version)
    return f"[{address}]" if address.version > 4 else str(address)  # noqa: PLR2004 - of IP


def is_allowed(address: Address, reach: Reach) -> bool:
    """True if a server of this reach may be at the address."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if reach == "loopback" or address.is_loopback:
        return reach != "public" and address.is_loopback
    if any(address in network for network in (*NEVER, *EXTRA_BLOCKED_NET_RANGES)):
        return False
    if reach == "public" and not address.is_global:
        return False
    return not (address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved)


def make_session(reach: Reach, ca_file: str = "") -> requests.Session:
    """Connections that are kept, for one thread. Nothing is taken from the environment, and no cookie is kept.

    `ca_file`: certificates of the only authorities that may vouch for a server; '': the public ones.
    """
    session: requests.Session = HTTPSession(
        Config(
            ip_filter_enable=False,  # the adapters below do it
            ip_filter_allow_loopback_ips=False,
            never_redirect=True,
            default_timeout=None,
            user_agent_override=f"cds-service/{__version__}",
        )
    )
    session.trust_env = False
    session.verify = ca_file or True
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    session.headers.update({"Accept": MEDIA[0], "Accept-Encoding": "gzip"})
    session.mount("http://", _Adapter(reach))
    session.mount("https://", _Adapter(reach))
    return session


def get(
    session: requests.Session, url: str, token: str, line: Line, deadline: float, may_take: Callable[[int], bool]
) -> bytes:
    """The body of a JSON answer. Raises Unanswered.

    `deadline` is a time of `time.monotonic`; `may_take` is told of every piece that came and says False when that
    is too much.
    """
    try:
        with holding(line):
            try:
                return _read(session, url, token, line, deadline, may_take)
            except requests.ConnectionError as error:
                # A server may close a connection that was kept just as it is used again.
                if not _closed_early(error):
                    raise
                return _read(session, url, token, line, deadline, may_take)
    except Unanswered:
        raise
    except Exception as error:  # of requests, urllib3, ssl, zlib, …: whatever it is, there is no answer
        raise _reason(error, line, deadline) from None


def _closed_early(error: BaseException) -> bool:
    protocol = error.args[0] if error.args else None
    return isinstance(protocol, urllib3.exceptions.ProtocolError) and any(
        isinstance(cause, ConnectionResetError | http.client.RemoteDisconnected | BrokenPipeError)
        for cause in protocol.args
    )


def _read(
    session: requests.Session, url: str, token: str, line: Line, deadline: float, may_take: Callable[[int], bool]
) -> bytes:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    with session.get(url, headers=headers, timeout=left, stream=True) as answer:
        _check(answer)
        parts = []
        raw: BaseHTTPResponse = answer.raw
        for part in raw.stream(PIECE, decode_content=True):
            if not may_take(len(part)):
                raise Unanswered("too_much", "more bytes than are read in one call")
            if time.monotonic() > deadline:
                raise TimeoutError
            parts.append(part)
        if line.is_cut:
            raise TimeoutError
        line.let_go()
        return b"".join(parts)


def _check(answer: requests.Response) -> None:
    """Raise Unanswered if the head says that no FHIR data will follow."""
    status = answer.status_code
    if status in REFUSALS:
        raise Unanswered("denied", f"HTTP {status}")
    if status != http.client.OK:
        raise Unanswered("failed", f"HTTP {status}")
    if answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() not in MEDIA:
        raise Unanswered("not_fhir", "the FHIR server's answer is not JSON")


def _reason(error: Exception, line: Line, deadline: float) -> Unanswered:
    late = isinstance(error, TimeoutError | requests.Timeout | urllib3.exceptions.TimeoutError)
    if late or line.is_cut or time.monotonic() >= deadline:
        return not_in_time()
    if isinstance(error, InvalidIPAddress):
        return Unanswered("unreachable", "its address is not one that may be called")
    if isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError):
        return Unanswered("unreachable", "no trusted TLS connection")
    if isinstance(error, urllib3.exceptions.DecodeError):
        return Unanswered("not_fhir", "the FHIR server's answer cannot be decompressed")
    return Unanswered("unreachable", "no connection, or it broke off")
