"""A door between a client and a server on loopback, which can be held shut without either end noticing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Gate:
    """Passes on what comes from both sides, while it is open."""

    def __init__(self, address: str) -> None:
        """`address`: host:port of the server."""
        host, _, port = address.partition(":")
        self._server = (host, int(port))
        self._door = socket.create_server(("127.0.0.1", 0))
        self._open = threading.Event()
        self._open.set()
        self._sockets = [self._door]
        self.address = f"127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._let_in, daemon=True).start()

    def hold(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self._open.clear()

    def let_go(self) -> None:
        """What was held back passes."""
        self._open.set()

    def close(self) -> None:
        self.let_go()
        for each in self._sockets:
            each.close()

    def _let_in(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._open.wait()
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def gate(address: str) -> Iterator[Gate]:
    """A gate before the server at `address`."""
    made = Gate(address)
    try:
        yield made
    finally:
        made.close()
