"""The figures of a seeded database, counted by hand; and what a purge leaves."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from cds_service import cli
from cds_service.feedback import report as report_module
from cds_service.feedback.database import connect, upgrade, writing
from cds_service.feedback.entries import Entry, keep
from cds_service.feedback.errors import DatabaseError
from cds_service.feedback.records import CallRecord, Suggested, Told, write
from cds_service.feedback.report import Report, Turn, purge, report
from cds_service.feedback.tables import ACCEPTED, CALLS, CARDS, FEEDBACK, REPLAYS, SUGGESTIONS
from cds_service.knowledge.model import Knowledge

MARCH, APRIL, MAY = (datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4, 5))
HL7 = "http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes"


def call(number: int, day: datetime, *cards: Told, client: str = "", unknown: tuple[str, ...] = ()) -> CallRecord:
    return CallRecord(
        id=f"call-{number}", time=day, service="s", hook="patient-view", client=client, patient="p", knowledge="k",
        ms=1.0, results={}, gaps={}, unknown=unknown, cards=cards,
        suggestions=tuple(Suggested(f"s-{card.uuid}", card.uuid, ("CBC",)) for card in cards),
    )  # fmt: skip


def say(
    engine: Engine, entries: Iterable[Entry], client: str = "", now: datetime = APRIL + timedelta(days=20)
) -> None:
    keep(engine, entries, client=client, service="s", now=now)


def override(card: str, hour: int = 0, system: str = "", code: str = "") -> Entry:
    at = APRIL + timedelta(days=10, hours=hour)
    return Entry(card, "overridden", at, reason_system=system, reason_code=code)


def accept(card: str) -> Entry:
    return Entry(card, "accepted", APRIL + timedelta(days=10), accepted=(f"s-{card}",))


@pytest.fixture
def seeded(engine: Engine) -> Engine:
    """April: 10 calls, 11 cards shown. March: 20 calls."""
    april = [APRIL + timedelta(days=number, hours=1) for number in range(10)]
    told = [
        # MISS: five shown, of which one accepted, one overridden twice, one overridden with another's reason
        *(call(n, april[n], Told(f"miss-{n}", "MISS", 1, "info")) for n in range(5)),
        # HCT: four shown, one set aside, and once inside another card
        *(call(n, april[n], Told(f"hct-{n}", "HCT", 1, "warning")) for n in (5, 6)),
        call(7, april[7], Told("hct-7", "HCT", 1, "warning"), Told("hct-8", "HCT", 1, "warning"), unknown=("PSA",)),
        call(
            8,
            april[8],
            Told("both", "TT", 1, "info"),
            Told("both", "HCT", 1, "info", position=1),
            Told("kept-1", "HCT", 1, "info", snoozed=True),
            Told("kept-2", "NEW", 1, "info", silent=True),
            Told("kept-3", "NEW", 1, "info", silent=True),
            unknown=("PSA", "TSH"),
        ),
        call(9, april[9], Told("tt-9", "TT", 1, "info")),
        # March: HCT six times in 20 calls, GONE five times, RARE four times, MISS twice
        *(call(100 + n, MARCH + timedelta(days=n), Told(f"old-{n}", "HCT", 1, "info")) for n in range(6)),
        *(call(106 + n, MARCH + timedelta(days=n), Told(f"gone-{n}", "GONE", 1, "info")) for n in range(5)),
        *(call(111 + n, MARCH + timedelta(days=n), Told(f"rare-{n}", "RARE", 1, "info")) for n in range(4)),
        *(call(115 + n, MARCH + timedelta(days=n), Told(f"m-{n}", "MISS", 1, "info")) for n in range(2)),
        *(call(117 + n, MARCH + timedelta(days=n)) for n in range(3)),
        call(200, MAY, Told("may", "MISS", 1, "info")),  # the end of the period is not in it
    ]
    write(engine, b"key", told)
    said = [
        accept("miss-0"),
        accept("miss-0"),  # delivered again
        override("miss-1", 0, HL7, "patient-refuses"),
        override("miss-1", 1, HL7, "need-more-info"),  # the last word counts
        override("miss-2", 0, "http://ehr.example.org", "whatever"),
        accept("hct-5"),
        override("hct-5", 2),  # took the order, then closed the card
        override("hct-6", 0),
        override("both", 0, HL7, "action-completed"),
        override("nobody-1"),
        override("nobody-2"),
    ]
    say(engine, said)
    say(engine, [override("tt-9")], client="another")  # not its card
    return engine


@pytest.fixture
def april(seeded: Engine, knowledge: Knowledge) -> Report:
    return report(seeded, knowledge, since=APRIL, until=MAY)


def test_the_figures_of_each_rule(april):
    found = {
        line.rule: (
            line.shown,
            line.merged,
            line.accepted,
            line.overridden,
            line.ignored,
            line.snoozed,
            line.silent,
            line.unknown,
        )
        for line in april.lines
    }
    assert found == {
        "MISS": (5, 0, 1, {"result_pending": 1, "other reason": 1}, 2, 0, 0, 0),
        "HCT": (4, 1, 1, {"no reason": 2}, 2, 1, 0, 0),
        "TT": (2, 0, 0, {"done_elsewhere": 1}, 1, 0, 0, 0),
        "NEW": (0, 0, 0, {}, 0, 0, 2, 0),
        "PSA": (0, 0, 0, {}, 0, 0, 0, 2),
        "TSH": (0, 0, 0, {}, 0, 0, 0, 1),
    }


def test_cards_in_100_calls_and_feedback_of_strangers(april):
    """11 cards bear a name (5 MISS, 4 HCT, 2 TT) in 10 calls; three words are about no card of the client."""
    assert (april.calls, april.cards, april.cards_per_100_calls) == (10, 11, 110.0)
    assert april.strangers == 3


def test_what_a_silent_site_would_have_shown(april, engine, knowledge):
    """In April two cards of a silent rule in 10 calls; in silence one card counts once, whatever stands in it."""
    assert (april.silent, april.silent_per_100_calls) == (2, 20.0)
    told = (
        Told("one", "TT", 1, "info", silent=True),
        Told("one", "HCT", 1, "info", position=1, silent=True),
        Told("two", "PSA", 1, "info", silent=True),
    )
    write(engine, b"key", [call(300, MAY, *told)])
    figures = report(engine, knowledge, since=MAY, until=MAY + timedelta(days=1))
    assert (figures.cards, figures.silent, figures.silent_per_100_calls) == (1, 2, 100.0)


def test_rules_that_stopped_or_fire_three_times_as_often(seeded, knowledge):
    """March 1 to April 1 is as long as the period to May 2. HCT 6 in 20 calls, then 6 in 11: not three times.

    MISS 2 in 20 (10 in 100), then 6 in 11 (54.5 in 100); GONE 5, then none; RARE was too rare to tell.
    """
    figures = report(seeded, knowledge, since=APRIL, until=APRIL + (APRIL - MARCH))
    assert figures.calls == 11
    assert figures.turns == (
        Turn("GONE", "stopped", 25.0, 0.0),
        Turn("MISS", "tripled", 10.0, 600 / 11),
    )


def test_a_period_without_calls_has_no_rates_and_no_turns(engine, knowledge):
    figures = report(engine, knowledge, since=APRIL, until=MAY)
    assert (figures.calls, figures.cards_per_100_calls, figures.lines, figures.turns) == (0, 0.0, (), ())


def test_a_purge_removes_what_is_older_and_nothing_else(seeded, rows):
    before = {table: len(rows(table)) for table in (CALLS, CARDS, SUGGESTIONS, FEEDBACK, ACCEPTED)}
    removed = purge(seeded, APRIL)
    assert min(rows(CALLS, "time")) == (APRIL + timedelta(hours=1),)
    after = {table: len(rows(table)) for table in before}
    # 20 calls, 17 cards and 17 suggestions of March; feedback is all of April
    assert {table.name: before[table] - after[table] for table in before} == {
        "calls": 20,
        "cards": 17,
        "suggestions": 17,
        "feedback": 0,
        "accepted": 0,
    }
    assert removed == 54
    purge(seeded, MAY + timedelta(seconds=1))
    assert [len(rows(table)) for table in (CALLS, CARDS, SUGGESTIONS, FEEDBACK, ACCEPTED, REPLAYS)] == [0] * 6


@pytest.mark.parametrize("most", [1, 7, 20])
def test_a_purge_goes_by_batches_and_leaves_none(seeded, rows, monkeypatch, most):
    """A service at work waits for a batch and no longer; PostgreSQL ends what takes longer than its limit."""
    batches: list[int] = []

    def remove_some(*given: Any) -> int:
        batches.append(whole(*given))
        return batches[-1]

    whole = report_module._remove_some
    monkeypatch.setattr(report_module, "BATCH", most)
    monkeypatch.setattr(report_module, "_remove_some", remove_some)
    assert purge(seeded, APRIL) == 54
    assert max(batches) == most
    assert (len(rows(CALLS)), min(rows(CALLS, "time"))) == (11, (APRIL + timedelta(hours=1),))  # 10 of April


SLOW = """
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2.2); RETURN NULL; END $$;
CREATE TRIGGER slow AFTER DELETE ON calls FOR EACH STATEMENT EXECUTE FUNCTION wait()
"""


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_command_may_wait_longer_for_postgresql_than_a_call(database_url, fresh, monkeypatch, capsys):
    monkeypatch.setenv("CDS_DATABASE_URL", database_url)
    with writing(fresh) as connection:
        connection.execute(text(SLOW))
    with pytest.raises(DatabaseError):
        purge(fresh, APRIL)
    assert cli.run(["purge"]) == 0
    assert capsys.readouterr().out.startswith("0 rows from before ")


# -- the commands ------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site's SQLite database with one call of yesterday, and one of three years ago."""
    file = tmp_path / "site.sqlite3"
    monkeypatch.setenv("CDS_DATABASE_URL", f"sqlite:///{file}")
    engine = connect(f"sqlite:///{file}")
    upgrade(engine)
    now = datetime.now(UTC)
    write(
        engine,
        b"key",
        [
            call(1, now - timedelta(days=1), Told("new", "HCT-3", 1, "info")),
            call(2, now - timedelta(days=1100), Told("old", "HCT-3", 1, "info")),
        ],
    )
    keep(engine, [Entry("new", "overridden", now, reason_code="=cmd()")], client="", service="s", now=now)
    engine.dispose()
    return file


def test_the_report_is_printed_and_written(site, capsys, tmp_path):
    assert cli.run(["report", "--csv", str(tmp_path / "report.csv")]) == 0
    printed = capsys.readouterr().out
    assert "1 calls, 1 cards" in printed
    assert "100.0 cards in 100 calls" in printed
    assert "HCT-3 overridden: other reason 1" in printed
    with (tmp_path / "report.csv").open(newline="") as file:
        head, row = csv.reader(file)
    assert dict(zip(head, row, strict=True)) == {
        "rule": "HCT-3",
        "shown": "1",
        "overridden: other reason": "1",
        **dict.fromkeys(("merged", "accepted", "ignored", "snoozed", "silent", "unknown"), "0"),
    }


def test_the_report_tells_the_burden_of_a_silent_site(site, capsys):
    engine = connect(f"sqlite:///{site}")
    told = [Told(f"silent-{n}", "HCT-3", 1, "info", silent=True) for n in range(3)]
    write(engine, b"key", [call(3, datetime.now(UTC) - timedelta(days=1), *told)])
    engine.dispose()
    assert cli.run(["report"]) == 0
    assert "3 cards kept silent, 150.0 in 100 calls" in capsys.readouterr().out


def test_ids_of_rules_are_whole_on_a_narrow_terminal(site, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    engine = connect(f"sqlite:///{site}")
    rule = "MISS-low_dose_t_female-baseline"
    write(engine, b"key", [call(3, datetime.now(UTC) - timedelta(days=1), Told("long", rule, 1, "info"))])
    engine.dispose()
    assert cli.run(["report"]) == 0
    assert f" {rule} " in capsys.readouterr().out


def test_a_period_that_ends_before_it_begins_is_a_mistake(site, capsys):
    assert cli.run(["report", "--since", "2026-05-02", "--until", "2026-05-01"]) == 2
    assert "before the end of the period" in capsys.readouterr().err


def test_purge_keeps_what_the_settings_keep(site, capsys):
    assert cli.run(["purge"]) == 0
    assert capsys.readouterr().out.startswith("3 rows from before ")
    assert cli.run(["purge", "--days", "1000"]) == 0
    assert capsys.readouterr().out.startswith("0 rows")


def test_a_database_without_tables_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CDS_DATABASE_URL", f"sqlite:///{tmp_path}/none.sqlite3")
    for command in ("report", "purge"):
        assert cli.run([command]) == 2
        assert "cds-service database upgrade" in capsys.readouterr().err
