"""Bodies that do not arrive, against the real server: the connection is closed, and others are served meanwhile."""

from __future__ import annotations

import http.client
import json
import resource
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.operations.running import Running, serving, status, until

VIEW = "/cds-services/hormone-therapy-patient-view"
LIMIT = 2
SLACK = 2.5
"""For the look every half second, and a busy machine."""
HEAD = "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {}\r\n"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
ENDINGS = {
    "drips": ("Content-Length: 1000\r\n\r\n", b" "),
    "drips chunks": ("Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "stalls": ("Content-Length: 1000\r\n\r\n", b""),
}


def hang(port: int, kind: str, path: str = VIEW, media: str = JSON) -> float:
    """Send a body that never ends; after how many seconds the server closed the connection."""
    head, piece = ENDINGS[kind]
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(0.2)
        connection.sendall((HEAD.format(path, media) + head).encode())
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


@pytest.mark.slow
def test_one_body_after_another_leaves_no_file_open(tmp_path: Path) -> None:
    with serving(tmp_path, CDS_SERVER_BODY_SECONDS="1") as service:
        (worker,) = service.workers()
        assert hang(service.port, "stalls") < 1 + SLACK  # with the first one comes what later ones share
        before = open_files(worker)
        for _ in range(8):
            assert hang(service.port, "stalls") < 1 + SLACK
        until(lambda: open_files(worker) <= before, "its connections are gone", seconds=5)


@pytest.mark.slow
def test_where_no_more_files_can_be_opened(tmp_path: Path) -> None:
    """Slow bodies that have taken all there is are still shut down, and then others are served again."""
    with serving(tmp_path, CDS_SERVER_BODY_SECONDS=str(LIMIT)) as service:
        (worker,) = service.workers()
        room = open_files(worker) + 20
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (room, room))
        ended: list[float] = []
        threads = [threading.Thread(target=lambda: ended.append(hang(service.port, "stalls"))) for _ in range(30)]
        for thread in threads:
            thread.start()
        until(lambda: open_files(worker) == room, "nothing more can be opened", seconds=LIMIT)
        for thread in threads:
            thread.join()
        # The others were let in when these had gone.
        assert sum(seconds <= LIMIT + SLACK for seconds in ended) >= 15, ended
        until(lambda: status(f"{service.url}/cds-services") == 200, "it answers", seconds=10)
        assert service.workers() == [worker]


@pytest.mark.slow
def test_bodies_of_pages_have_the_same_limit(tmp_path: Path) -> None:
    environ = {"CDS_SERVER_BODY_SECONDS": "1", "CDS_SMART_CLIENT_ID": "chart"}
    pages = {"/smart/view": JSON, "/workbench/call": JSON, "/workbench/explain": JSON, "/chart": FORM}
    with serving(tmp_path, **environ) as service:
        for path, media in pages.items():
            assert 1 <= hang(service.port, "stalls", path, media) < 1 + SLACK, path
        until(lambda: len(late(service)) == len(pages), "each has its line")


def open_files(process: int) -> int:
    return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())


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
        connection.sendall(f"{HEAD.format(VIEW, JSON)}Content-Length: {len(call)}\r\n\r\n".encode())
        for byte in call:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")
