"""The service and the baselines: how each is started, and where it is called.

What a baseline needs beyond this repository is installed on first use into `.bench/`, which git does not track.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.tokens import configure, token
from cds_service.cli_database import upgrade_database

SERVICE = "hormone-therapy-patient-view"
HERE = Path(__file__).parent
INSTALLED = HERE.parent / ".bench"
HEALTHCHAIN = "healthchain==0.16.1"
EXPRESS = "express@4.22.3"


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class SkippedError(Exception):
    """The baseline cannot be had here; the message says why."""


class Server(NamedTuple):
    """How one contender is started on a port, and the path at which it answers patient-view."""

    name: str
    about: str
    command: Callable[[int], list[str]]
    path: str = f"/cds-services/{SERVICE}"
    algorithm: str = ""
    """With which the callers sign a token for each call; '': they send none."""

    def authorization(self, port: int) -> str:
        """A header line with a token that was never used; '' for a server that asks for none."""
        if not self.algorithm:
            return ""
        return f"Authorization: Bearer {token(self.algorithm, f'http://127.0.0.1:{port}{self.path}')}\r\n"


def environment(server: Server, scratch: Path) -> Mapping[str, str]:
    """Settings of the service as it is measured: everything on, its files in `scratch`, its tables made."""
    own = {
        "CDS_DATABASE_URL": f"sqlite:///{scratch / 'bench.sqlite3'}",
        "CDS_METRICS_PORT": str(free_port()),
        "CDS_SERVER_CALLS_PER_MINUTE": "0",
    }
    upgrade_database(own["CDS_DATABASE_URL"])
    if server.algorithm:
        own["CDS_CONFIG"] = str(configure(server.algorithm, scratch))
    return {**os.environ, **own}


def _service(port: int) -> list[str]:
    return [str(Path(sys.executable).with_name("cds-service")), "serve", "--port", str(port)]


def _granian(app: str) -> Callable[[int], list[str]]:
    """Served as the service is."""
    flags = ["--interface", "wsgi", "--blocking-threads", "1", "--no-ws", "--log-level", "warning"]
    return lambda port: [sys.executable, "-m", "granian", *flags, "--port", str(port), app]


def _express(port: int) -> list[str]:
    folder = INSTALLED / "express"
    if not (shutil.which("node") and shutil.which("npm")):
        raise SkippedError("Node is not installed")
    if not (folder / "node_modules").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _install(["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", EXPRESS])
    return ["node", str(HERE / "express.js"), str(folder), str(port)]


def _healthchain(port: int) -> list[str]:
    python = INSTALLED / "healthchain" / "bin" / "python"
    if not python.with_name("uvicorn").exists():
        _install([sys.executable, "-m", "venv", "--clear", str(python.parents[1])])
        _install([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", HEALTHCHAIN])
    flags = ["--app-dir", str(HERE), "--no-access-log", "--log-level", "error", "--port", str(port)]
    return [str(python), "-m", "uvicorn", *flags, "healthchain_app:app"]


def _install(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise SkippedError(f"could not be installed: {''.join(last)}")


SERVERS = (
    Server("floor", "Flask + orjson, no checks", _granian("bench.floor:app")),
    Server("typed", "Flask + msgspec", _granian("bench.typed:app")),
    Server("service", "this service", _service),
    Server("es384", "this service, a token a call", _service, algorithm="ES384"),
    Server("rs384", "this service, a token a call", _service, algorithm="RS384"),
    Server("express", "Node, express", _express),
    Server("naive", "Flask + fhir.resources", _granian("bench.naive:app")),
    Server("healthchain", "FastAPI + fhir.resources", _healthchain, f"/cds/cds-services/{SERVICE}"),
)
