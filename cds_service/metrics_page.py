"""Serves the page of `metrics_export`, from a thread of the process that started the workers.

The page and Prometheus' client library are loaded when somebody asks for the first time: they take a seventh of the
time in which the service is to start.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class _Server(ThreadingMixIn, WSGIServer):
    """A client that dawdles keeps nobody else waiting, nor the end of the process."""

    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: standard error is for people."""


def serve(host: str, port: int, folder: Path, labels: dict[str, str]) -> int:
    """Serve the metrics that the workers count in `folder`; the port. Raises OSError if nobody can listen there.

    `labels`: what is told of the service itself, e.g. its version.
    """

    made: list[WSGIApplication] = []
    making = Lock()  # two pages would each count the workers that are gone

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with making:
            if not made:
                from cds_service import metrics_export

                made.append(metrics_export.page(folder, labels))
        return made[0](environ, start_response)

    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    server_class: type[_Server] = type("_Server", (_Server,), {"address_family": family})
    server = make_server(str(address[0]), port, answer, server_class, _Silent)
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server.server_port
