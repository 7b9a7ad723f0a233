"""A service that asks for tokens, and the EHR whose tokens it takes."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient

from cds_service.app import create_app
from cds_service.feedback.database import connect, upgrade
from cds_service.feedback.store import Store
from cds_service.knowledge.model import Knowledge
from cds_service.settings import Client, Settings
from tests.conftest import NOON
from tests.security import ehr

BASE = "https://cds.example.org/hormones"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


KINDS = ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with tables and nothing in them."""
    file = tmp_path_factory.mktemp("tables") / "records.sqlite3"
    engine = connect(f"sqlite:///{file}")
    upgrade(engine)
    engine.dispose()
    return file


def site(folder: Path, tables: Path) -> Settings:
    """One client, whose keys are in a file; a public URL; any origin; an empty database with tables."""
    file = folder / "jwks.json"
    file.write_bytes(ehr.key_set(*(ehr.jwk(name, kid=ehr.KID if name == "ES384" else name) for name in KINDS)))
    url = f"sqlite:///{shutil.copy(tables, folder)}"
    client = Client(name="ehr", issuer=ehr.ISSUER, jwks_file=str(file), algorithms=KINDS)
    return Settings(public_url=BASE, cors_origins=("*",), database_url=url, clients=(client,), calls_per_minute=0)


@pytest.fixture
def settings(tmp_path: Path, tables: Path) -> Settings:
    """Those of a site of its own."""
    return site(tmp_path, tables)


@pytest.fixture
def key_server() -> Iterator[ehr.KeyServer]:
    with ehr.key_server() as server:
        yield server


@pytest.fixture
def serve(settings: Settings, knowledge: Knowledge, clock: Clock, log: io.StringIO) -> Callable[..., FlaskClient]:
    """A test client of a service with the settings changed as told."""

    def do(**changes: Any) -> FlaskClient:
        changed = msgspec.structs.replace(settings, **changes)
        return create_app(
            changed, knowledge=knowledge, clock=clock, log=log, store=Store(connect(changed.database_url))
        ).test_client()

    return do


@pytest.fixture(scope="session")
def shared(
    tmp_path_factory: pytest.TempPathFactory, tables: Path, knowledge: Knowledge, stream: io.StringIO
) -> Flask:
    settings = site(tmp_path_factory.mktemp("shared"), tables)
    return create_app(settings, knowledge=knowledge, clock=lambda: NOON, log=stream)


@pytest.fixture
def service(shared: Flask, log: io.StringIO) -> FlaskClient:
    """A service that other tests use too: its clock stands at noon, nobody is counted."""
    return shared.test_client()
