"""The body of a call: how large it may be, and how long it may take to arrive (`[server] body_seconds`).

The server reads a body in the thread of its call, and that thread waits for as long as the client likes: a byte now
and then, or none, would hold it for ever. Nothing in WSGI ends that wait, so the connection is shut down under it.
Which connection a call belongs to the server does not tell. It is one of the caller's address on which nothing was
sent for as long as the body has been waited for; an idle one of that address looks the same, and may go too.

Needs Linux, which says when something was last sent; elsewhere a proxy that reads whole requests has to do it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from werkzeug.wsgi import get_content_length

from cds_service.hooks.current import this_call
from cds_service.hooks.errors import HookError, Problem
from cds_service.settings import MEBIBYTE

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

MOST_TAKEN = 64 * MEBIBYTE
"""How much of a body that is too large is let in before the connection is closed."""
SERVER = "Granian"
"""What SERVER_SOFTWARE is under the server that `cds-service serve` starts."""
LOOK_SECONDS = 0.5
OPEN_FILES = Path("/proc/self/fd")
_LAST_DATA_SENT = struct.Struct("=44xI")
"""Where Linux's struct tcp_info tells how many milliseconds ago something was last sent."""


class Patience:
    """Reads bodies, and ends the connections of those that do not arrive. Safe to use from several threads."""

    def __init__(self, seconds: float, port: int, most: int = MOST_TAKEN) -> None:
        """`port`: where the service listens, so that connections to elsewhere are let alone.

        `most`: bytes that a body may have.
        """
        self.seconds = seconds
        self._most = most
        self._port = port
        self._waiting: dict[object, tuple[float, str]] = {}
        self._cut: set[object] = set()
        self._watch: threading.Thread | None = None

    def read(self, environ: WSGIEnvironment) -> bytes:
        """The body of a call. Raises HookError (408, 413)."""
        if self._watch is None and environ.get("SERVER_SOFTWARE") == SERVER:
            self._watch = threading.Thread(target=self._look, name="patience", daemon=True)
            self._watch.start()
        began = time.monotonic()
        me = object()
        self._waiting[me] = (began, environ.get("REMOTE_ADDR", ""))
        try:
            body = _read(environ, self._most)
        finally:
            del self._waiting[me]
            was_cut = me in self._cut
            self._cut.discard(me)
        if was_cut or time.monotonic() - began > self.seconds:
            text = f"body: expected to arrive within {self.seconds} seconds"
            raise HookError(408, [Problem("timeout", text)])
        return body

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            with suppress(Exception):  # a look that fails is not the last: nobody would start another
                self._cut_late_ones()

    def _cut_late_ones(self) -> None:
        now = time.monotonic()
        self._cut.intersection_update(self._waiting)  # without those that ended while they were being cut
        waiting = list(self._waiting.items())
        for address in {address for _, (began, address) in waiting if now - began > self.seconds}:
            # A body that began a moment later may be on a connection that goes now: it is late, not malformed.
            near = self.seconds - LOOK_SECONDS
            self._cut.update(me for me, (began, whose) in waiting if whose == address and now - began > near)
            self._shut_down(address)

    def _shut_down(self, address: str) -> None:
        for file in _open_files():
            with suppress(OSError):
                connection = socket.socket(fileno=file)
                try:
                    if self._is_stuck(connection, address):
                        connection.shutdown(socket.SHUT_RDWR)
                finally:
                    connection.detach()

    def _is_stuck(self, connection: socket.socket, address: str) -> bool:
        """True of a connection from `address` to the service on which nothing was sent for so long."""
        if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.type != socket.SOCK_STREAM:
            return False
        if connection.getsockname()[1] != self._port or connection.getpeername()[0] != address:
            return False
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_SENT.size)
        (silent_ms,) = _LAST_DATA_SENT.unpack(state)
        return bool(silent_ms > self.seconds * 1000)


def _open_files() -> Iterable[int]:
    """The descriptors of this process.

    They are used as they are, without a copy: there may be no room for one, and to close the copy of one that has
    just become an SQLite file would end the process's locks on that file (POSIX, fcntl).
    """
    try:
        return [int(file.name) for file in OPEN_FILES.iterdir()]
    except OSError as error:
        # Without room for the list, which is a file too, every number below the limit is an open file.
        return range(os.sysconf("SC_OPEN_MAX")) if error.errno == errno.EMFILE else ()


def read_body(patience: Patience) -> bytes:
    """The body of the current call. Raises HookError (408, 413)."""
    return patience.read(this_call().request.environ)


def _read(environ: WSGIEnvironment, limit: int) -> bytes:
    """Read at one go: Werkzeug copies it in small pieces, which for a large body costs as much as decoding it."""
    told = get_content_length(environ)
    # Without a length: chunks, whose end the server sees, or no body. One byte beyond the limit is too much.
    untold = limit + 1 if environ.get("wsgi.input_terminated") else 0
    if told is None or told <= limit:
        length = untold if told is None else told
        body = b"".join(_parts(environ, length, length))
        if len(body) <= limit:
            return body
    # A client that is cut off while it sends never reads the answer: let the rest come in, up to a bound.
    for _ in _parts(environ, min(told or MOST_TAKEN, MOST_TAKEN), MEBIBYTE):
        pass
    raise HookError(413, [Problem("too-long", f"body: expected at most {limit // MEBIBYTE} MiB")])


def _parts(environ: WSGIEnvironment, size: int, most: int) -> Iterator[bytes]:
    """The next `size` bytes of the body, or as many as there are, in parts of at most `most`."""
    stream = environ["wsgi.input"]
    while size > 0 and (part := stream.read(min(size, most))):
        size -= len(part)
        yield part
