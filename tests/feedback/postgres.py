"""A PostgreSQL server of its own for the tests, from Debian's package, on a free port of loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIKELY = "/usr/lib/postgresql"
ACCOUNT = "postgres"
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "40"}
PATIENCE_SECONDS = 60


def binaries() -> Path | None:
    """Folder of the newest installed server's programs, None if there is none."""
    found = sorted(Path(LIKELY).glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


@contextmanager
def server(programs: Path) -> Iterator[str]:
    """A running server; gives `host:port`. It does not run as root, so root gives it to the account postgres."""
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
        told = " ".join(f"-c {name}={value}" for name, value in (SETTINGS | place).items())
        log = str(folder / "log")
        run(f"{programs}/pg_ctl", "--pgdata", str(data), "--options", told, "--log", log, "--wait", "start")
        try:
            yield f"127.0.0.1:{port}"
        finally:
            run(f"{programs}/pg_ctl", "--pgdata", str(data), "--mode", "immediate", "--wait", "stop")
    finally:
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
