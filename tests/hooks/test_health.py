"""Alive and ready: what the two addresses say, and that a slow database holds up nobody."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from cds_service.app import create_app
from cds_service.feedback.database import connect, upgrade, writing
from cds_service.feedback.store import Store
from cds_service.hooks import health
from cds_service.hooks.health import Probe
from cds_service.knowledge.model import Knowledge
from cds_service.metrics import Tally, read
from cds_service.settings import Settings

READY = {"status": "ready", "checks": {"knowledge": "ok", "database": "ok", "log": "ok"}}
NOT_READY = {"status": "not ready", "checks": {"knowledge": "ok", "database": "failed", "log": "ok"}}


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FRESH_SECONDS", -1.0)
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 20.0)


def client_of(url: str, knowledge: Knowledge, log: io.StringIO) -> FlaskClient:
    return create_app(Settings(), knowledge=knowledge, log=log, store=Store(connect(url))).test_client()


def test_ready(client: FlaskClient) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.get_json()) == (200, READY)
    assert response.headers["Cache-Control"] == "no-store"
    assert client.post("/readyz").status_code == 405


def test_a_log_that_cannot_be_written_is_told_and_calls_are_answered(
    tmp_path: Path, knowledge: Knowledge, make_call: Callable[..., dict[str, Any]]
) -> None:
    log = io.StringIO()
    tally = Tally(tmp_path)
    client = create_app(Settings(), knowledge=knowledge, log=log, tally=tally).test_client()
    log.close()
    for _ in range(2):
        assert client.post("/cds-services/hormone-therapy-patient-view", json=make_call()).status_code == 200
    response = client.get("/readyz")
    assert (response.status_code, response.get_json()["checks"]["log"]) == (200, "failed")
    assert dict(read(tmp_path, os.getpid()))[("cds_log_lines_dropped",)] == (2.0,)


def test_ready_by_the_state_of_the_database(tmp_path: Path, knowledge: Knowledge) -> None:
    url, log = f"sqlite:///{tmp_path}/cds.sqlite3", io.StringIO()
    client = client_of(url, knowledge, log)
    assert client.get("/readyz").get_json() == NOT_READY  # no tables
    engine = connect(url)
    upgrade(engine)
    assert client.get("/readyz").status_code == 200
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    response = client.get("/readyz")
    assert (response.status_code, response.get_json()) == (503, NOT_READY)
    assert client.get("/healthz").status_code == 200
    engine.dispose()
    states = [json.loads(line)["state"] for line in log.getvalue().splitlines()]
    assert states == ["other revision", "ok", "other revision"]


def test_a_database_that_is_not_there_is_told_without_its_address(knowledge: Knowledge) -> None:
    log = io.StringIO()
    client = client_of("postgresql+psycopg://cds:seeded-password@127.0.0.1:1/cds", knowledge, log)
    for _ in range(3):
        response = client.get("/readyz")
        assert (response.status_code, response.get_json()) == (503, NOT_READY)
    assert client.get("/healthz").status_code == 200
    (line,) = log.getvalue().splitlines()
    assert json.loads(line)["state"] == "unreachable"
    assert "seeded-password" not in line
    assert "127.0.0.1" not in line


def test_a_slow_database_is_not_ready_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.05)
    gate, asked = threading.Event(), []

    def slow() -> bool:
        asked.append(True)
        return gate.wait(60)

    probe = Probe(slow)
    began = time.monotonic()
    assert [probe.good() for _ in range(5)] == [False] * 5
    assert time.monotonic() - began < 10
    assert len(asked) == 1, "one question at a time"
    gate.set()
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 20.0)
    assert probe.good()


def test_an_answer_holds_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often anybody asks, the database is asked once a second."""
    monkeypatch.setattr(health, "FRESH_SECONDS", 3600.0)
    asked: list[bool] = []

    def question() -> bool:
        asked.append(True)
        return True

    probe = Probe(question)
    assert [probe.good() for _ in range(50)] == [True] * 50
    assert len(asked) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_question_that_cannot_be_asked_is_not_answered_by_the_last_one() -> None:
    answers = iter([True])
    probe = Probe(lambda: next(answers))
    assert probe.good()
    assert not probe.good()
