"""What is written of a call stands in the tables as it was said, and once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from cds_service.feedback.records import CallRecord, Suggested, Told, write
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
