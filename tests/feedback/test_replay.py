"""Each token once: the ids of tokens, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from cds_service.feedback.driver import Driver
from cds_service.feedback.errors import DatabaseError
from cds_service.feedback.tables import REPLAYS
from cds_service.security.replay import MARGIN_SECONDS, TIDY_SECONDS, Replays
from cds_service.security.tokens import LEEWAY_SECONDS
from tests.conftest import NOON

NOW = int(NOON.timestamp())


def test_only_one_of_many_at_once(engine):
    replays = Replays(Driver(engine), lambda: NOON)
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(replays.first_use("ehr", "same", NOW + 300.0)))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False] * 9 + [True]


def test_ids_are_kept_until_no_token_with_them_can_be_valid(engine):
    """On both databases, and as SQLAlchemy reads it."""
    now = NOON
    replays = Replays(Driver(engine), lambda: now)
    assert replays.first_use("ehr", "1", NOW + 300.25)
    assert replays.first_use("other", "1", NOW + 300.0)
    with engine.connect() as connection:
        expires = connection.execute(select(REPLAYS.c.expires).where(REPLAYS.c.issuer == "ehr")).scalar_one()
    assert expires == NOON + timedelta(seconds=300.25 + MARGIN_SECONDS)
    assert MARGIN_SECONDS > LEEWAY_SECONDS
    now = NOON + timedelta(seconds=300 + MARGIN_SECONDS)
    assert replays.tidy() == 0
    assert not replays.first_use("ehr", "1", NOW + 300.0)
    now += timedelta(seconds=1)
    assert replays.tidy() == 2


def test_tidied_now_and_then_off_the_hot_path(engine):
    now = NOON
    replays = Replays(Driver(engine), lambda: now)
    replays.first_use("ehr", "old", NOW + 1.0)
    now = NOON + timedelta(seconds=TIDY_SECONDS + MARGIN_SECONDS + 2)
    replays.first_use("ehr", "new", now.timestamp() + 300)
    for thread in threading.enumerate():
        if thread.name == "replays":
            thread.join(10)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(REPLAYS)).scalar_one() == 1


def test_database_that_does_not_answer(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE replays RENAME TO elsewhere")
    try:
        with pytest.raises(DatabaseError):
            Replays(Driver(engine), lambda: NOON).first_use("ehr", "1", NOW + 300.0)
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO replays")
