"""The database locked, full, away or stopped, and back: calls are answered, feedback is kept or refused.

What waits to be written is written afterwards; what finds no room is counted. The recorder's thread is not started:
the tests ask for each attempt, so that they know what has been tried.
"""

from __future__ import annotations

import io
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, func, select

from cds_service.app import create_app
from cds_service.feedback import bounded, database, records
from cds_service.feedback.database import connect, upgrade
from cds_service.feedback.store import RECALL_SECONDS, Store
from cds_service.feedback.tables import CALLS, FEEDBACK
from cds_service.knowledge.model import Knowledge
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.run import Runner
from cds_service.settings import Settings
from tests.conftest import NOON
from tests.feedback.gate import gate
from tests.feedback.postgres import ACCOUNT, binaries, cluster
from tests.operations.running import needed, until

pytestmark = pytest.mark.slow

VIEW = "/cds-services/hormone-therapy-patient-view"
SECONDS_OF_A_CALL = 2.0
"""A call that does not wait for the database, on a machine that does many other things."""


class Site(NamedTuple):
    """A service with a database that breaks."""

    client: FlaskClient
    store: Store
    body: bytes
    log: io.StringIO

    def call(self) -> list[dict[str, Any]]:
        """The cards of one call."""
        answer = self.client.post(VIEW, data=self.body, content_type="application/json")
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return list(answer.get_json()["cards"])

    def say(self, card: str) -> int:
        """Status of one word of feedback."""
        entry = {"card": card, "outcome": "overridden", "outcomeTimestamp": "2026-03-15T11:59:30Z"}
        answer = self.client.post(f"{VIEW}/feedback", json={"feedback": [entry]})
        if answer.status_code != 200:
            assert answer.get_json()["issue"][0]["code"] == "transient"
        return answer.status_code

    def kept(self) -> set[str]:
        with self.store.engine.connect() as connection:
            return set(connection.execute(select(FEEDBACK.c.card)).scalars())

    def recorded(self) -> int:
        with self.store.engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(CALLS)).scalar_one())

    def told(self) -> list[str]:
        """What the log says of the records."""
        lines = map(json.loads, self.log.getvalue().splitlines())
        return [line["event"] for line in lines if line["event"].startswith("records")]


@pytest.fixture
def make_site(knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Site]]:
    stores: list[Store] = []
    monkeypatch.setattr(records, "CLOSING_SECONDS", 0.0)

    def make(url: str) -> Site:
        store, log = Store(connect(url)), io.StringIO()
        upgrade(store.engine)
        stores.append(store)
        monkeypatch.setattr(store.recorder, "_thread", threading.Thread())
        settings = Settings(fhir_deadline_ms=0)
        app = create_app(settings, knowledge=knowledge, clock=lambda: NOON, log=log, store=store)
        case = next(case for case in example_cases(NOON.date()) if case.id == "hematocrit-high")
        return Site(app.test_client(), store, Runner(knowledge).body(case), log)

    yield make
    for store in stores:
        store.close()


def broken(site: Site, before: list[dict[str, Any]]) -> None:
    """While nothing can be written: cards as before, at once; feedback refused; the record waits."""
    began = time.monotonic()
    assert [card["summary"] for card in site.call()] == [card["summary"] for card in before]
    assert time.monotonic() - began < SECONDS_OF_A_CALL
    assert site.say("while it is broken") == 503
    waiting = len(site.store.recorder)
    assert not site.store.recorder.drain()
    assert len(site.store.recorder) == waiting > 0


def back(site: Site, acknowledged: set[str], calls: int) -> None:
    """Afterwards: what was acknowledged is there, what waited is written, new words are taken in."""
    assert site.say("sent again") == 200
    assert site.store.recorder.drain()
    assert site.recorded() == calls
    assert site.kept() == acknowledged | {"sent again"}
    assert site.store.recorder.dropped == 0
    assert site.told() == ["records cannot be written", "records are written again"]


def good(site: Site) -> tuple[list[dict[str, Any]], set[str]]:
    """One call and one word of feedback before anything breaks."""
    cards = site.call()
    assert cards[0]["indicator"] == "critical"
    assert site.say("before") == 200
    assert site.store.recorder.drain()
    return cards, {"before"}


def test_another_writer_holds_the_lock(make_site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database, "_BUSY_MS", 300)  # each attempt to write waits so long
    file = tmp_path / "records.sqlite3"
    site = make_site(f"sqlite:///{file}")
    cards, acknowledged = good(site)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        broken(site, cards)
        other.execute("COMMIT")
    back(site, acknowledged, calls=2)


def test_a_lock_of_seconds_is_waited_for_and_the_feedback_is_kept(make_site, tmp_path: Path):
    """Shorter than the patience of 5 seconds; calls meanwhile do not wait."""
    file = tmp_path / "records.sqlite3"
    site = make_site(f"sqlite:///{file}")
    cards, acknowledged = good(site)
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(2.0, lambda: other.execute("COMMIT"))
        timer.start()
        began = time.monotonic()
        assert len(site.call()) == len(cards)
        assert time.monotonic() - began < SECONDS_OF_A_CALL
        assert site.say("late") == 200
        timer.join()
    assert site.kept() == acknowledged | {"late"}


def test_a_full_disk(make_site, tmp_path: Path):
    """SQLite is told that its file may not grow, and says what it says where the disk is full (SQLITE_FULL)."""
    site = make_site(f"sqlite:///{tmp_path}/records.sqlite3")
    cards, acknowledged = good(site)
    full = True

    def limit(connection: Any, _record: Any, _proxy: Any) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages if full else 2**30}")

    event.listen(site.store.engine, "checkout", limit)
    # The last pages have some room; when that is used up, feedback is refused.
    words = (f"{number} {'x' * 60}" for number in range(500))
    acknowledged.update(takewhile(lambda word: site.say(word) == 200, words))
    assert len(acknowledged) < 500
    for _ in range(40):
        site.call()
    broken(site, cards)
    full = False
    back(site, acknowledged, calls=42)


def test_the_file_is_spoilt_and_put_back(make_site, tmp_path: Path):
    """As by a disk that fails: it opens, and it is no database."""
    file = tmp_path / "records.sqlite3"
    site = make_site(f"sqlite:///{file}")
    cards, acknowledged = good(site)
    site.store.engine.dispose()
    away = {path: path.rename(tmp_path / f"away-{path.name}") for path in tmp_path.glob("records.sqlite3*")}
    file.write_bytes(b"no database at all, but text " * 300)
    broken(site, cards)
    site.store.engine.dispose()
    for path, moved in away.items():
        moved.rename(path)
    until(lambda: not site.store.blind, "the database is read again")
    back(site, acknowledged, calls=2)


def test_the_folder_is_gone_and_back(make_site, tmp_path: Path):
    folder = tmp_path / "data"
    folder.mkdir()
    site = make_site(f"sqlite:///{folder}/records.sqlite3")
    cards, acknowledged = good(site)
    site.store.engine.dispose()
    folder.rename(tmp_path / "away")
    broken(site, cards)
    (tmp_path / "away").rename(folder)
    until(lambda: not site.store.blind, "the database is read again")
    back(site, acknowledged, calls=2)


def test_a_file_that_is_removed_leaves_no_acknowledged_feedback_in_the_air(make_site, tmp_path: Path):
    """What was in the file is lost with it; a new empty file has no tables, so nothing more is acknowledged."""
    file = tmp_path / "records.sqlite3"
    site = make_site(f"sqlite:///{file}")
    cards, _ = good(site)
    site.store.engine.dispose()
    for path in tmp_path.glob("records.sqlite3*"):
        path.unlink()
    broken(site, cards)
    upgrade(site.store.engine)
    assert site.say("sent again") == 200
    assert site.kept() == {"sent again"}


def test_postgresql_is_stopped_and_started_again(make_site):
    programs = needed(binaries(), "PostgreSQL is not installed (make postgres)")
    # As it is by default: what is committed outlives the server.
    with cluster(programs, synchronous_commit="on") as running:
        site = make_site(f"postgresql+psycopg://{ACCOUNT}@{running.address}/postgres")
        cards, acknowledged = good(site)
        running.stop()
        broken(site, cards)
        running.start()
        until(lambda: not site.store.blind, "the database is read again")
        back(site, acknowledged, calls=2)


def test_postgresql_hangs_and_goes_on(make_site):
    """It takes what is sent and never answers: no call waits for long, and none waits twice."""
    programs = needed(binaries(), "PostgreSQL is not installed (make postgres)")
    with cluster(programs) as running, gate(running.address) as between:
        site = make_site(f"postgresql+psycopg://{ACCOUNT}@{between.address}/postgres")
        cards, acknowledged = good(site)
        between.hold()
        for longest in (RECALL_SECONDS + SECONDS_OF_A_CALL, SECONDS_OF_A_CALL):
            began = time.monotonic()
            assert [card["summary"] for card in site.call()] == [card["summary"] for card in cards]
            assert time.monotonic() - began < longest
        began = time.monotonic()
        assert site.say("while it hangs") == 503
        assert time.monotonic() - began < bounded.SECONDS + SECONDS_OF_A_CALL
        between.let_go()
        until(lambda: not site.store.blind, "the database is read again")
        assert site.say("while it hangs") == 200
        assert site.store.recorder.drain()
        assert site.kept() == {*acknowledged, "while it hangs"}
        assert site.recorded() == 3


def test_a_full_list_drops_with_a_count_and_is_written_when_the_database_is_back(
    make_site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(records, "CAPACITY", 3)
    folder = tmp_path / "data"
    folder.mkdir()
    site = make_site(f"sqlite:///{folder}/records.sqlite3")
    lost: list[int] = []
    monkeypatch.setattr(site.store.recorder, "lost", lost.append)
    cards, acknowledged = good(site)
    site.store.engine.dispose()
    folder.rename(tmp_path / "away")
    for _ in range(5):
        assert len(site.call()) == len(cards)
    assert (site.store.recorder.dropped, sum(lost), len(site.store.recorder)) == (2, 2, 3)
    (tmp_path / "away").rename(folder)
    assert site.store.recorder.drain()
    assert site.recorded() == 1 + 3
    site.call()
    assert site.store.recorder.drain()
    assert site.recorded() == 1 + 3 + 1
    assert site.kept() == acknowledged
