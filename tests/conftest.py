"""Fixtures of the tests that talk to the service over the wire."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from cds_service.app import create_app
from cds_service.knowledge.loader import load
from cds_service.knowledge.model import Knowledge
from cds_service.settings import Settings

NOON = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    """The knowledge that is shipped."""
    return load()


@pytest.fixture(scope="session")
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(stream: io.StringIO) -> io.StringIO:
    """Where `app` logs to, empty."""
    stream.seek(0)
    stream.truncate()
    return stream


@pytest.fixture(scope="session")
def app(knowledge: Knowledge, stream: io.StringIO) -> Flask:
    """The service with default settings, but it calls nobody; its clock stands at noon of 2026-03-15, UTC."""
    return create_app(Settings(fhir_deadline_ms=0), knowledge=knowledge, clock=lambda: NOON, log=stream)


@pytest.fixture
def client(app: Flask, log: io.StringIO) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def make_call() -> Callable[..., dict[str, Any]]:
    """A valid call of a hook as Python data; keywords replace top-level members, `context` adds to the context."""

    def make(hook: str = "patient-view", context: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
        base = {"userId": "Practitioner/COREPRACTITIONER1", "patientId": "trt-man"}
        if hook != "patient-view":
            base["draftOrders"] = {"resourceType": "Bundle", "entry": []}  # type: ignore[assignment]
        if hook == "order-select":
            base["selections"] = ["MedicationRequest/request-123"]  # type: ignore[assignment]
        call = {
            "hook": hook,
            "hookInstance": "f884bacc-b073-4de5-9cd6-06473b50f1c9",
            "fhirServer": "http://127.0.0.1:8081/fhir",
            "context": base | (context or {}),
            "prefetch": {
                "patient": {"resourceType": "Patient", "id": "trt-man", "birthDate": "1970-05-01", "gender": "male"}
            },
        }
        return call | members

    return make


@pytest.fixture
def log_lines(log: io.StringIO) -> Callable[[], list[dict[str, Any]]]:
    """What was logged so far."""
    return lambda: [json.loads(line) for line in log.getvalue().splitlines()]
