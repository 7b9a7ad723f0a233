"""The command `cds-service serve`: the workers, and beside them the metrics.

The server (granian) runs in this process and starts the workers, each with an application of its own. SIGTERM and
SIGINT: nothing new is taken in, calls under way are answered, and the workers leave; the exit code is 0. A worker
that dies is replaced.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import click

from cds_service import __version__, metrics_page
from cds_service.app import examined, now_utc, settle_memory
from cds_service.cli_database import upgrade_database
from cds_service.hooks.discovery import SERVICES
from cds_service.metrics import FOLDER
from cds_service.settings import Settings, SettingsError, examine
from cds_service.settings_checks import GREATEST_PORT

TARGET = "cds_service.wsgi:app"
PORTS = click.IntRange(1, GREATEST_PORT)
PATIENCE_SECONDS = 10
"""How long a worker may take to answer the calls under way before it is killed."""
THREADS = 64
"""Of a worker, made when they are needed. A call mostly computes, so that one would do; but a body that comes
slowly holds a thread for `body_seconds`, a FHIR server holds one until the deadline, and meanwhile others have to
be served."""
SANDBOX = "https://sandbox.cds-hooks.org/"
TRY = "hematocrit-high"
"""The example that the first words point to."""


@click.command()
@click.option("--host", envvar="HOST", help="Address to listen on (or environment HOST; default 127.0.0.1).")
@click.option("--port", envvar="PORT", type=PORTS, help="Port to listen on (or environment PORT; default 8000).")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes.")
def serve(host: str | None, port: int | None, workers: int) -> None:
    """Start the service."""
    # The workers read their settings from the environment, so that is where the options go.
    os.environ.update({name: str(value) for name, value in (("HOST", host), ("PORT", port)) if value})
    settle_memory()  # what is loaded by now, the workers share
    settings, problems = examine(os.environ)
    knowledge, warnings, more = examined(settings, now_utc().astimezone(settings.zone).date())
    if problems or more or knowledge is None:
        raise SettingsError([*problems, *more])
    _require_free(settings.host, settings.port)
    upgrade_database(settings.database_url)  # the workers only look whether that was done
    with ExitStack() as stack:
        if settings.metrics_port:
            _require_free(settings.metrics_host, settings.metrics_port)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cds-service-"))
            os.environ[FOLDER] = folder
            labels = {"version": __version__, "knowledge": knowledge.version}
            metrics_page.serve(settings.metrics_host, settings.metrics_port, Path(folder), labels)
        _welcome(settings, warnings)
        _serve_calls(settings, workers)


def _serve_calls(settings: Settings, workers: int) -> None:
    """Serve until a signal ends it."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.log import LogLevels

    Granian(
        TARGET,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,  # one connection of HTTP/2 could hold all threads with bodies that never end
        workers=workers,
        workers_kill_timeout=PATIENCE_SECONDS,  # a signal that comes while a worker starts is lost
        respawn_failed_workers=True,
        blocking_threads=THREADS,
        websockets=False,
        log_level=LogLevels.error,  # it would warn of THREADS among the lines of our log
    ).serve()


def _welcome(settings: Settings, warnings: Sequence[str]) -> None:
    """Where the service is and what to try next; on standard error, since the log goes to standard output."""
    discovery = f"{settings.base_url}/cds-services"
    service = next(service.id for service in SERVICES if service.hook == "patient-view")
    lines = [("Open", f"{settings.base_url}/")] if settings.has_workbench else []
    lines += [
        ("Discovery", discovery),
        ("Call it", f"cds-service examples --request {TRY} |"),
        ("", f"  curl -s -H 'Content-Type: application/json' -d @- {discovery}/{service}"),
        ("See cards", f"cds-service demo {TRY}"),
        ("Sandbox", f"{SANDBOX}?serviceDiscoveryURL={quote(discovery, safe='')}"),
        ("", "  add &fhirServiceUrl=...&patientId=... for your own FHIR server; load it with the files of"),
        ("", "  cds-service examples --out DIR"),
    ]
    if settings.metrics_port:
        lines.append(("Metrics", f"http://{settings.metrics_host}:{settings.metrics_port}/metrics"))
    for warning in warnings:
        click.echo(click.style("Warning    ", bold=True, fg="red") + warning, err=True)
    for name, text in lines:
        click.echo(click.style(f"{name:<11}", bold=True) + text, err=True)


def _require_free(host: str, port: int) -> None:
    """Raise OSError with a clear sentence if nobody can listen there; the server would end in a traceback."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
