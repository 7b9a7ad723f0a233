"""A real service for tests: `cds-service serve` in a process of its own, on loopback, with ports that are free."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

import cds_service

TOP = Path(cds_service.__file__).parents[1]
COMMAND = (sys.executable, "-c", "from cds_service.cli import main; main()")
PATIENCE = 120.0
"""Seconds for what takes one, on a machine that does many other things."""


class Running(NamedTuple):
    """A service that answers."""

    process: subprocess.Popen[bytes]
    port: int
    metrics_port: int
    log: Path
    words: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log_lines(self) -> list[dict[str, Any]]:
        """The lines that are written whole."""
        lines = self.log.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def metrics(self) -> dict[str, float]:
        """Each sample as Prometheus reads it, by name with labels."""
        page = get(f"http://127.0.0.1:{self.metrics_port}/metrics")[1].decode()
        lines = (line for line in page.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        return [int(child) for child in children.split()]

    def stop(self) -> int:
        """Ask it to leave, as a service manager does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def needed(found: Any, words: str) -> Any:
    """What a test needs of the machine; without it the test is skipped by name, and fails where CI=true."""
    if found:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(words)
    pytest.skip(words)


def free_ports(number: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@contextmanager
def serving(folder: Path, *options: str, **environ: str) -> Iterator[Running]:
    """A service with default settings but for `environ`, ended when the block ends; its files lie in `folder`."""
    folder.mkdir(exist_ok=True)
    port, metrics_port = free_ports(2)
    log, words = folder / "log", folder / "words"
    with log.open("wb") as out, words.open("wb") as errors:
        process = subprocess.Popen(
            [*COMMAND, "serve", "--host", "127.0.0.1", "--port", str(port), *options],
            cwd=folder,
            env=bare() | {"PYTHONPATH": str(TOP), "CDS_METRICS_PORT": str(metrics_port)} | environ,
            stdout=out,
            stderr=errors,
        )
    running = Running(process, port, metrics_port, log, words)
    with process:
        try:
            until(lambda: process.poll() is not None or status(f"{running.url}/healthz") == 200, "it answers")
            assert process.poll() is None, words.read_text(encoding="utf-8")
            yield running
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(PATIENCE)


def bare() -> dict[str, str]:
    """This process's environment without settings of the service."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("CDS_", "HOST", "PORT"))}


def until(holds: Any, words: str, seconds: float = PATIENCE) -> None:
    """Wait until `holds()` is true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds} s in vain until {words}"
        time.sleep(0.05)


def get(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body; a POST of JSON if there is a body. Raises OSError if nobody answers."""
    request = Request(url, body, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urlopen(request, timeout=60) as response:
            return response.status, response.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def status(url: str) -> int:
    """Status of a GET, 0 if nobody answers."""
    try:
        return get(url)[0]
    except OSError:
        return 0
