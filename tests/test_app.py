"""The wiring: what an application is made of, and what a worker does with it."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from datetime import UTC

import pytest

from cds_service import __version__
from cds_service.app import create_app, now_utc, settle_memory
from cds_service.cli_database import upgrade_database
from cds_service.settings import Settings


def test_clock_has_a_zone():
    assert now_utc().tzinfo is UTC


def test_application_loads_what_is_shipped(log):
    client = create_app(Settings(), log=log).test_client()
    assert client.get("/cds-services").status_code == 200


def test_health(client, knowledge):
    response = client.get("/healthz")
    assert response.get_json() == {"status": "ok", "version": __version__, "knowledge": knowledge.version}
    assert response.headers["Cache-Control"] == "no-store"
    assert client.post("/healthz").status_code == 405


def test_addresses_are_taken_as_they_come(app):
    assert not app.url_map.merge_slashes
    assert not app.url_map.strict_slashes


def test_applications_share_nothing(knowledge, log):
    """Two in one process, as tests and the scenario runner have them."""
    strict = create_app(Settings(cors_origins=()), knowledge=knowledge, log=log).test_client()
    open_to_all = create_app(Settings(), knowledge=knowledge, log=log).test_client()
    assert "Access-Control-Allow-Origin" not in strict.get("/healthz").headers
    assert open_to_all.get("/healthz").headers["Access-Control-Allow-Origin"] == "*"


def test_collector_is_told_to_look_seldom():
    before = gc.get_threshold()
    try:
        settle_memory()
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold()[0] >= 50_000
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_a_worker_logs_to_standard_output(tmp_path):
    """In a process of its own: the module makes the application at import."""
    url = f"sqlite:///{tmp_path}/records.sqlite3"
    upgrade_database(url)
    script = "from werkzeug.test import Client; from cds_service.wsgi import app; Client(app).get('/cds-services')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "CDS_DATABASE_URL": url},
    )
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["status"] == 200
    assert done.stderr == ""


LARGE_AND_SMALL = """
import os, sys
from pathlib import Path
from cds_service.app import settle_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

settle_memory()
small = []
for _ in range(2):  # after the first time the C library would keep blocks of this size
    large = []
    for _ in range(30):
        large.append(os.urandom(2 * 2**20))
        small.append(os.urandom(600))  # lies in between and stays
    most = resident()
    del large
print(most - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux how much memory the process has")
def test_the_memory_of_large_bodies_goes_back():
    done = subprocess.run(
        [sys.executable, "-c", LARGE_AND_SMALL], capture_output=True, text=True, timeout=60, check=True
    )
    assert float(done.stdout) > 50  # of 60
