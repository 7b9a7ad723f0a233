"""Codes that no rule reads: counted once over processes and retries, bounded, by day, and purged."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine

from cds_service import cli
from cds_service.feedback.codes import MOST, CodeFigures, codes
from cds_service.feedback.database import connect, upgrade
from cds_service.feedback.records import CallRecord, Recorder, write
from cds_service.feedback.report import purge

FIRST = date(2026, 3, 1)
HCT = ("urn:lab", "HCT-L", "HCT")
TT = ("", "T-77", "TT")


def call(number: int, *found: tuple[str, str, str], day: date = FIRST, client: str = "epic") -> CallRecord:
    return CallRecord(
        id=f"call-{number}", time=datetime(day.year, day.month, day.day, 12, tzinfo=UTC), service="s",
        hook="patient-view", client=client, patient="p", knowledge="k", ms=1.0, results={}, gaps={}, day=day,
        codes=Counter(found),
    )  # fmt: skip


def test_they_are_counted_by_client_with_first_and_last_day(fresh: Engine) -> None:
    second = FIRST + timedelta(days=1)
    write(fresh, b"k", [call(1, HCT, HCT, TT), call(2, HCT, client="other"), call(3)])
    write(fresh, b"k", [call(4, HCT, day=second)])
    assert codes(fresh, since=FIRST, until=second) == (
        CodeFigures("epic", *HCT, 3, FIRST, second),
        CodeFigures("epic", *TT, 1, FIRST, FIRST),
        CodeFigures("other", *HCT, 1, FIRST, FIRST),
    )
    assert codes(fresh, since=second, until=second) == (CodeFigures("epic", *HCT, 1, second, second),)
    assert codes(fresh, since=second + timedelta(days=1), until=date(2027, 1, 1)) == ()


def test_a_batch_that_comes_again_is_counted_once(fresh: Engine) -> None:
    """The commit went through and its answer did not: the recorder writes the batch again."""
    write(fresh, b"k", [call(1, HCT)])
    write(fresh, b"k", [call(1, HCT), call(2, HCT)])
    (one,) = codes(fresh, since=FIRST, until=FIRST)
    assert one.results == 2


def test_what_is_too_many_is_counted_together(fresh: Engine) -> None:
    many = [("urn:lab", f"c{number:04}", "HCT") for number in range(MOST + 3)]
    write(fresh, b"k", [call(1, *many[: MOST - 1])])
    write(fresh, b"k", [call(2, *many[MOST - 1 :]), call(3, *many, client="other")])
    write(fresh, b"k", [call(4, many[0], many[MOST]), call(5, many[MOST], day=FIRST + timedelta(days=1))])
    found = codes(fresh, since=FIRST, until=FIRST)
    for client, others in (("epic", 4), ("other", 3)):
        mine = [one for one in found if one.client == client]
        assert len([one for one in mine if one.code]) == MOST
        assert [one.results for one in mine if not one.code] == [others]
    assert found[0].results == 4  # those that are told together
    assert next(one for one in found if one.client == "epic" and one.code == "c0000").results == 2
    assert len(codes(fresh, since=FIRST + timedelta(days=1), until=date(2027, 1, 1))) == 1


def test_several_processes_count_into_the_same_rows(empty: Engine, database_url: str) -> None:
    upgrade(empty)
    engines = [connect(database_url) for _ in range(4)]

    def work(number: int) -> None:
        for turn in range(5):
            write(engines[number], b"k", [call(100 * number + turn, HCT, TT)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for engine in engines:
        engine.dispose()
    assert {(one.code, one.results) for one in codes(empty, since=FIRST, until=FIRST)} == {
        ("HCT-L", 20),
        ("T-77", 20),
    }


def test_a_restart_loses_nothing(fresh: Engine) -> None:
    for number in range(2):
        recorder = Recorder(fresh, lambda: b"k")
        assert recorder.put(call(number, HCT))
        recorder.close()
    (one,) = codes(fresh, since=FIRST, until=FIRST)
    assert one.results == 2


def test_a_purge_removes_older_days(fresh: Engine) -> None:
    write(fresh, b"k", [call(1, HCT), call(2, HCT, day=FIRST + timedelta(days=1))])
    purge(fresh, datetime(2026, 3, 2, 15, tzinfo=UTC))
    assert [one.first for one in codes(fresh, since=FIRST, until=date(2027, 1, 1))] == [FIRST + timedelta(days=1)]


def test_the_report_tells_them(
    fresh: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(fresh, b"k", [call(1, HCT, HCT), call(2, TT, day=date(2026, 4, 1))])
    monkeypatch.setenv("CDS_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "120")
    assert cli.run(["report", "--since", "2026-03-01", "--until", "2026-03-31"]) == 0
    told = capsys.readouterr().out
    (line,) = (line for line in told.splitlines() if "HCT-L" in line)
    assert [cell.strip() for cell in line.strip("│ ").split("│")] == [
        "epic", "urn:lab", "HCT-L", "HCT", "2", "2026-03-01", "2026-03-01",
    ]  # fmt: skip
    assert "T-77" not in told


def test_a_code_that_looks_like_markup_is_told_as_it_is(
    fresh: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = ("[/bold]", "[red]:smile:", "[link=https://e.example]")
    write(fresh, b"k", [call(1, *(("urn:lab", code, "HCT") for code in odd))])
    monkeypatch.setenv("CDS_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "160")
    assert cli.run(["report", "--since", "2026-03-01", "--until", "2026-03-31"]) == 0
    told = capsys.readouterr().out
    assert all(code in told for code in odd)
