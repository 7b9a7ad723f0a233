"""Bodies that do not arrive, against the real server: the connection is closed, and others are served meanwhile."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.operations.running import Running, serving, until

VIEW = "/cds-services/hormone-therapy-patient-view"
LIMIT = 2
SLACK = 2.5
"""For the look every half second, and a busy machine."""
HEAD = f"POST {VIEW} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
ENDINGS = {
    "drips": ("Content-Length: 1000\r\n\r\n", b" "),
    "drips chunks": ("Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "stalls": ("Content-Length: 1000\r\n\r\n", b""),
}


def hang(port: int, kind: str) -> float:
    """Send a body that never ends; after how many seconds the server closed the connection."""
    head, piece = ENDINGS[kind]
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(0.2)
        connection.sendall((HEAD + head).encode())
        while time.monotonic() - began < LIMIT + 10:
            try:
                connection.sendall(piece)
                if connection.recv(1000) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        return time.monotonic() - began


@pytest.mark.slow
def test_bodies_that_do_not_arrive_hold_nobody_up(tmp_path: Path) -> None:
    with serving(tmp_path, CDS_SERVER_BODY_SECONDS=str(LIMIT)) as service:
        ended: list[tuple[str, float]] = []

        def one(kind: str) -> None:
            ended.append((kind, hang(service.port, kind)))

        threads = [threading.Thread(target=one, args=(kind,)) for kind in ENDINGS for _ in range(8)]
        for thread in threads:
            thread.start()
        others = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        answers = []
        while any(thread.is_alive() for thread in threads):
            others.request("GET", "/cds-services")
            response = others.getresponse()
            response.read()
            answers.append(response.status)
            time.sleep(0.05)
        others.close()
        for thread in threads:
            thread.join()
        assert len(ended) == 24
        assert all(LIMIT <= seconds <= LIMIT + SLACK for _, seconds in ended), ended
        assert len(answers) > 10
        assert set(answers) == {200}
        # The connection is closed before the call's thread finds that out and writes its line.
        until(lambda: len(late(service)) >= 24, "each body that did not arrive has its line")
        assert all(line["problems"] == [":timeout"] for line in late(service))
        assert len(late(service)) == 24


def late(service: Running) -> list[dict[str, Any]]:
    """The log's lines of calls whose bodies did not arrive."""
    return [line for line in service.log_lines() if line["status"] == 408]


@pytest.mark.slow
def test_a_body_that_comes_slowly_but_in_time(tmp_path: Path) -> None:
    call = json.dumps({"hook": "patient-view"}).encode()
    with (
        serving(tmp_path, CDS_SERVER_BODY_SECONDS="8") as service,
        socket.create_connection(("127.0.0.1", service.port)) as connection,
    ):
        connection.sendall(f"{HEAD}Content-Length: {len(call)}\r\n\r\n".encode())
        for byte in call:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")
