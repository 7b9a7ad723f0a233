"""`cds-service serve` as an operator has it: real processes, signals, several workers, metrics of all of them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from cds_service.cli_serve import PATIENCE_SECONDS
from tests.operations.running import COMMAND, TOP, Running, bare, free_ports, get, serving, status, until

pytestmark = pytest.mark.slow

SERVICE = "/cds-services/hormone-therapy-patient-view"
BODY = (TOP / "examples" / "requests" / "patient-view.json").read_bytes()
SHUTDOWN_SECONDS = PATIENCE_SECONDS + 20
"""Patience with a worker, and time for everything else on a machine that does many things."""


def call(service: Running) -> int:
    return get(service.url + SERVICE, BODY)[0]


def test_workers_share_the_load_and_their_metrics_are_one(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as service:
        until(lambda: service.metrics()["cds_workers"] == 2, "both workers count")
        assert [call(service) for _ in range(20)] == [200] * 20
        assert get(service.url + SERVICE, b"{")[0] == 400
        counted = service.metrics()
        assert counted['cds_calls_total{hook="patient-view",status="200"}'] == 20
        assert counted['cds_calls_total{hook="patient-view",status="400"}'] == 1
        for phase in ("decode", "judge", "render", "whole"):
            assert counted[f'cds_call_seconds_count{{hook="patient-view",phase="{phase}"}}'] == 20
        assert len(service.workers()) == 2
        assert service.stop() == 0


def test_a_worker_that_is_killed_is_replaced_and_what_it_counted_stays(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        assert call(service) == 200
        (worker,) = service.workers()
        os.kill(worker, signal.SIGKILL)
        until(lambda: service.workers() not in ([], [worker]), "another worker is there")
        until(lambda: status(f"{service.url}/healthz") == 200, "it answers")
        assert call(service) == 200
        assert service.metrics()['cds_calls_total{hook="patient-view",status="200"}'] == 2
        assert service.metrics()["cds_workers"] == 1
        assert service.stop() == 0


def test_metrics_are_off_unless_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path, CDS_METRICS_PORT="0") as service:
        assert call(service) == 200
        assert status(f"http://127.0.0.1:{service.metrics_port}/metrics") == 0
        assert status(f"{service.url}/metrics") == 404
        assert "Metrics" not in service.words.read_text(encoding="utf-8")


def test_it_speaks_http_1_only(tmp_path: Path) -> None:
    """With HTTP/2 one connection could hold all threads, beyond what the bound on slow bodies can cut off."""
    with serving(tmp_path) as service, socket.create_connection(("127.0.0.1", service.port), timeout=60) as caller:
        settings_frame = b"\0\0\0\4\0\0\0\0\0"
        caller.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings_frame)
        answer = caller.recv(1024)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


def test_ports_that_are_the_same_are_told(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    ended = subprocess.run(
        [*COMMAND, "serve", "--port", str(port)],
        cwd=tmp_path,
        env=bare() | {"PYTHONPATH": str(TOP), "CDS_METRICS_PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2
    assert "metrics.port: is server.port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_log_that_cannot_be_written_leaves_calls_answered(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    with serving(tmp_path) as service:
        assert [call(service) for _ in range(3)] == [200] * 3
        status_and_body = get(f"{service.url}/readyz")
        assert status_and_body[0] == 200
        assert json.loads(status_and_body[1])["checks"]["log"] == "failed"
        assert service.metrics()["cds_log_lines_dropped_total"] == 3


def test_a_folder_of_metrics_that_is_gone_leaves_calls_answered(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with serving(tmp_path / "service", TMPDIR=str(temporary)) as service:
        (folder,) = temporary.glob("cds-service-*")
        folder.rename(tmp_path / "gone")
        assert [call(service) for _ in range(3)] == [200] * 3
        assert get(service.url + SERVICE, b"{")[0] == 400
        (worker,) = service.workers()
        os.kill(worker, signal.SIGKILL)
        until(lambda: service.workers() not in ([], [worker]), "another worker is there")
        until(lambda: status(f"{service.url}/healthz") == 200, "it answers")
        assert call(service) == 200
        assert service.metrics()["cds_workers"] == 0


def test_sigterm_under_load_loses_no_call(tmp_path: Path) -> None:
    """Whatever reached the application was answered: as many answers as lines in the log."""
    answered: list[int] = []
    leaving = threading.Event()

    def caller(port: int) -> None:
        while not leaving.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.request("POST", SERVICE, BODY, {"Content-Type": "application/json"})
                response = connection.getresponse()
                response.read()
                answered.append(response.status)
            except (OSError, http.client.HTTPException):
                leaving.set()  # nobody listens any more
            finally:
                connection.close()

    with serving(tmp_path, "--workers", "2") as service:
        callers = [threading.Thread(target=caller, args=(service.port,)) for _ in range(8)]
        for thread in callers:
            thread.start()
        until(lambda: len(answered) >= 40, "calls are under way")
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < SHUTDOWN_SECONDS
        leaving.set()
        for thread in callers:
            thread.join()
        assert set(answered) == {200}
        assert len(service.log_lines()) == len(answered)
        with closing(sqlite3.connect(tmp_path / "cds-service.sqlite3")) as database:
            assert database.execute("SELECT count(*) FROM calls").fetchone() == (len(answered),)


def test_sigterm_while_a_body_arrives(tmp_path: Path) -> None:
    """The call is answered if the rest comes; a client that never sends it does not hold the service up."""
    fields = f"Host: x\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}"
    head = f"POST {SERVICE} HTTP/1.1\r\n{fields}\r\n\r\n"
    with serving(tmp_path) as service, socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(head.encode() + BODY[:100])
        time.sleep(0.5)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        client.sendall(BODY[100:])
        client.settimeout(60)
        assert client.recv(12) == b"HTTP/1.1 200"
        assert service.process.wait(SHUTDOWN_SECONDS) == 0
    with serving(tmp_path) as service, socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(head.encode() + BODY[:100])
        time.sleep(0.5)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < SHUTDOWN_SECONDS
