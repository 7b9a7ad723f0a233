"""A real browser and a real server. Without Chromium these tests are skipped by name; where CI=true they fail."""

from __future__ import annotations

import io
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask, Response
from playwright.sync_api import Browser, Page, expect, sync_playwright
from werkzeug.serving import make_server

from cds_service.app import create_app
from cds_service.feedback.store import Store, memory
from cds_service.knowledge.model import Knowledge
from cds_service.scenarios.workbench import TOOLS
from cds_service.settings import Settings

# 23:30 UTC on the 15th is the 16th in Kolkata, and the 15th for the browser, which runs in UTC.
NOW = datetime(2026, 3, 15, 23, 30, tzinfo=UTC)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += [
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

expect.set_options(timeout=20_000)  # several browsers may share few cores


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


@pytest.fixture
def bench_store() -> Store:
    """The records of the service: each test has its own, for a word of one would silence the cards of another."""
    return memory()


@pytest.fixture
def address(knowledge: Knowledge, bench_store: Store) -> Iterator[str]:
    """The service with its workbench."""
    settings = Settings(time_zone="Asia/Kolkata", smart_client_id="chart-page")
    yield from serve(
        create_app(
            settings, knowledge=knowledge, clock=lambda: NOW, log=io.StringIO(), tools=TOOLS, store=bench_store
        )
    )


@pytest.fixture
def open_bench(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Opens the workbench on an example. Fails in the end if the console complained or another host was asked."""
    faults: list[str] = []
    hosts: set[str] = set()
    opened: list[Page] = []

    def open_on(example: str = "", width: int = 1280, scheme: Any = "light") -> Page:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname or ""))
        opened.append(page)
        page.goto(address)
        settled(page)
        if example:
            page.get_by_label("Example patient").select_option(example)
            settled(page)
        return page

    yield open_on
    for page in opened:
        page.close()
    assert faults == []
    assert hosts <= {"127.0.0.1"}


def settled(page: Page) -> None:
    """Wait until the last call was answered and explained."""
    expect(page.locator("#answer[aria-busy=false]")).to_be_visible(timeout=60_000)


@pytest.fixture(scope="session")
def other_origin() -> Iterator[str]:
    """Address of an empty page on another origin than the service, as the Sandbox is."""
    app = Flask("other_origin", static_folder=None)
    app.add_url_rule("/", view_func=lambda: Response("<!doctype html><title>EHR</title>", mimetype="text/html"))
    yield from serve(app)
