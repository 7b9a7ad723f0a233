"""A real browser and a real server. Without Chromium these tests are skipped by name; where CI=true they fail."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, Response
from playwright.sync_api import Browser, sync_playwright
from werkzeug.serving import make_server

from cds_service.app import create_app
from cds_service.knowledge.model import Knowledge
from cds_service.settings import Settings

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += [
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def chromium() -> str:
    """Path of Chromium. Skips the test without one, and fails it where CI=true."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail("no Chromium: install Debian's package chromium")
    pytest.skip("no Chromium on PATH")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium that reaches nothing but loopback."""
    path = chromium()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield running
        running.close()


def serve(app: Flask, port: int = 0) -> Iterator[str]:
    """Serve an application on a port of loopback, 0: a free one; its address."""
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def service(knowledge: Knowledge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the service with its default settings."""
    with Path(tmp_path_factory.mktemp("log") / "log").open("w", encoding="utf-8") as log:
        yield from serve(create_app(Settings(), knowledge=knowledge, log=log))


@pytest.fixture(scope="session")
def other_origin() -> Iterator[str]:
    """Address of an empty page on another origin than the service, as the Sandbox is."""
    app = Flask("other_origin", static_folder=None)
    app.add_url_rule("/", view_func=lambda: Response("<!doctype html><title>EHR</title>", mimetype="text/html"))
    yield from serve(app)
