"""A PostgreSQL server of its own for the tests, from Debian's package, on a free port of loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

LIKELY = "/usr/lib/postgresql"
ACCOUNT = "postgres"
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "40"}
PATIENCE_SECONDS = 60


def binaries() -> Path | None:
    """Folder of the newest installed server's programs, None if there is none."""
    found = sorted(Path(LIKELY).glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


class Cluster(NamedTuple):
    """A running server, which may be stopped and started again."""

    address: str
    """`host:port`."""
    start: Callable[[], None]
    stop: Callable[[], None]


@contextmanager
def server(programs: Path) -> Iterator[str]:
    """A running server; gives `host:port`."""
    with cluster(programs) as running:
        yield running.address


@contextmanager
def cluster(programs: Path, **settings: str) -> Iterator[Cluster]:
    """A running server, with `settings` beside ours. It does not run as root, so root gives it to the account
    postgres."""
    folder = Path(tempfile.mkdtemp(prefix="cds-postgres-"))
    as_account = ["runuser", "-u", ACCOUNT, "--"] if os.geteuid() == 0 else []
    if as_account:
        shutil.chown(folder, ACCOUNT)
    data = folder / "data"
    port = _free_port()
    place = {"port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder)}

    def run(*command: str) -> None:
        # Into a file: the server inherits the output and would keep a pipe open.
        with tempfile.TemporaryFile() as out:
            done = subprocess.run(
                [*as_account, *command], stdout=out, stderr=out, cwd="/", timeout=PATIENCE_SECONDS, check=False
            )
            out.seek(0)
            assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {out.read().decode()}"

    try:
        run(f"{programs}/initdb", "--pgdata", str(data), "--username", ACCOUNT, "--auth", "trust", "--no-sync")
        told = " ".join(f"-c {name}={value}" for name, value in (SETTINGS | place | settings).items())
        log = str(folder / "log")
        control = (f"{programs}/pg_ctl", "--pgdata", str(data), "--wait")
        start = partial(run, *control, "--options", told, "--log", log, "start")
        stop = partial(run, *control, "--mode", "immediate", "stop")
        start()
        try:
            yield Cluster(f"127.0.0.1:{port}", start, stop)
        finally:
            stop()
    finally:
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
