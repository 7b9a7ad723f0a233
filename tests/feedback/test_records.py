"""What is written of a call stands in the tables as it was said, and once."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from time import monotonic, sleep
from typing import Any

import pytest
from sqlalchemy import create_engine

from cds_service.feedback import records
from cds_service.feedback.records import CallRecord, Recorder, Suggested, Told, write
from cds_service.feedback.store import Store
from cds_service.feedback.tables import CALLS, CARDS, SUGGESTIONS

NINE_IN_MUMBAI = datetime(2026, 3, 15, 9, 30, 0, 250_000, tzinfo=timezone(timedelta(hours=5, minutes=30)))
THEN = datetime(2026, 3, 15, 4, 0, 0, 250_000, tzinfo=UTC)
RECORD = CallRecord(
    id="call",
    time=NINE_IN_MUMBAI,
    service="services",
    hook="order-sign",
    client="epic",
    patient="p" * 64,
    knowledge="abc",
    ms=12.34,
    results={"findings": 1, "fine": 2, "unknown": 3, "not_applicable": 4},
    gaps={"labs1": "absent", "größe": "null"},
    unknown=("HCT-1", "PSA-1"),
    cards=(
        Told("card", "HCT-1", 2, "critical", tests=("HCT", "HGB")),
        Told("card", "HCT-2", 1, "warning", position=1),
        Told("unseen", "PSA-1", 1, "info", snoozed=True),
    ),
    suggestions=(Suggested("both", "card", ("HCT", "HGB")), Suggested("one", "card", ("HCT",))),
)
CALL = ("call", THEN, "services", "order-sign", "epic", "p" * 64, "abc", 12.34, 1, 2, 3, 4, 0)
CARD_COLUMNS = ("uuid", "rule", "call", "time", "rule_version", "position", "silent", "snoozed", "tests", "basis")


def test_each_value_stands_where_it_belongs(store: Store, rows: Any) -> None:
    write(store.engine, b"key", [RECORD])
    assert rows(CALLS) == [(*CALL, {"labs1": "absent", "größe": "null"}, "HCT-1 PSA-1")]
    assert sorted(rows(CARDS, *CARD_COLUMNS)) == [
        ("card", "HCT-1", "call", THEN, 2, 0, False, False, "HCT HGB", ""),
        ("card", "HCT-2", "call", THEN, 1, 1, False, False, "", ""),
        ("unseen", "PSA-1", "call", THEN, 1, 0, False, True, "", ""),
    ]
    assert sorted(rows(SUGGESTIONS)) == [
        ("both", "HCT", "card", THEN),
        ("both", "HGB", "card", THEN),
        ("one", "HCT", "card", THEN),
    ]


def test_what_comes_again_stays_as_it_was(store: Store, rows: Any) -> None:
    write(store.engine, b"key", [RECORD])
    before = [rows(table) for table in (CALLS, CARDS, SUGGESTIONS)]
    write(store.engine, b"other key", [RECORD, CallRecord(**{**_fields(RECORD), "id": "next", "cards": ()})])
    assert [rows(CALLS)[:1], rows(CARDS), rows(SUGGESTIONS)] == [before[0], *before[1:]]
    assert len(rows(CALLS)) == 2


def _fields(record: CallRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


# -- the list and its thread -----------------------------------------------------------------------------


@pytest.fixture
def frequent() -> Iterator[None]:
    """The collector runs at nearly every new object, and then others may have their turn."""
    usual, callbacks = gc.get_threshold(), [*gc.callbacks]
    gc.set_threshold(1)
    yield
    gc.set_threshold(*usual)
    gc.callbacks[:] = callbacks


def _recorder(monkeypatch: pytest.MonkeyPatch, written: list[CallRecord]) -> Recorder:
    """Writes to a list."""
    monkeypatch.setattr(records, "write", lambda _engine, _key, batch: written.extend(batch))
    return Recorder(create_engine("sqlite://"), lambda: b"key")


def test_records_are_taken_while_the_oldest_are_looked_at(monkeypatch: pytest.MonkeyPatch, frequent: None) -> None:
    written: list[CallRecord] = []
    recorder = _recorder(monkeypatch, written)
    recorder._thread = threading.current_thread()  # none of its own
    for _ in range(3):
        recorder.put(RECORD)
    left = [RECORD] * 50
    gc.callbacks.append(lambda *_: recorder.put(left.pop()) if left else None)
    assert recorder.drain()
    recorder.close()
    assert (len(written), len(left), recorder.dropped) == (53, 0, 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_failed_has_a_follower(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[CallRecord] = []
    recorder = _recorder(monkeypatch, written)
    with monkeypatch.context() as broken:
        broken.setattr(recorder, "drain", lambda: 1 / 0)
        assert recorder.put(RECORD)
        assert recorder._thread is not None
        recorder._thread.join(timeout=10)
    assert (len(recorder), written) == (1, [])
    assert recorder.put(RECORD)
    end = monotonic() + 10
    while len(written) < 2 and monotonic() < end:
        sleep(0.01)
    assert len(written) == 2
    recorder.close()
