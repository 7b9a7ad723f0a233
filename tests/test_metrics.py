"""Counting in a worker, adding up all workers, and that no label can come from a request."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from cds_service import metrics
from cds_service.app import create_app
from cds_service.chart import Gap, GapKind
from cds_service.hooks.discovery import SERVICES
from cds_service.hooks.prefetch import build_expected
from cds_service.metrics import METRICS, Tally, Watch, read, tally_of
from cds_service.metrics_export import AllWorkers
from cds_service.settings import Settings


@pytest.fixture
def tally(tmp_path: Path) -> Tally:
    return Tally(tmp_path)


def counted(folder: Path) -> dict[tuple[str, ...], tuple[float, ...]]:
    return dict(read(folder, os.getpid()))


def page(workers: AllWorkers) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(workers)
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_counts_add_up(tally, tmp_path):
    for _ in range(3):
        tally.count("cds_feedback", "accepted")
    tally.count("cds_feedback", "overridden", by=2)
    assert counted(tmp_path) == {("cds_feedback", "accepted"): (3.0,), ("cds_feedback", "overridden"): (2.0,)}


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (0.001, 0), (0.0011, 1), (0.5, 8), (0.51, 9), (2.5, 10), (2.6, 11), (900.0, 11)],
)
def test_a_time_falls_into_the_bucket_whose_bound_it_does_not_pass(seconds, bucket, tally, tmp_path):
    tally.time(seconds, "cds_fetch_seconds", "ok")
    *buckets, total = counted(tmp_path)[("cds_fetch_seconds", "ok")]
    assert [index for index, number in enumerate(buckets) if number] == [bucket]
    assert total == seconds


def test_buckets_of_the_page_are_cumulative(tally, tmp_path):
    for seconds in (0.0005, 0.03, 0.04, 9.0):
        tally.time(seconds, "cds_fetch_seconds", "ok")
    shown = page(AllWorkers(tmp_path, {}))
    bucket = {name.partition('le="')[2].partition('"')[0]: value for name, value in shown.items() if "le=" in name}
    assert bucket["0.001"] == 1
    assert bucket["0.025"] == 1
    assert bucket["0.05"] == 3
    assert bucket["2.5"] == 3
    assert bucket["+Inf"] == 4
    assert shown['cds_fetch_seconds_count{outcome="ok"}'] == 4
    assert shown['cds_fetch_seconds_sum{outcome="ok"}'] == pytest.approx(9.0705)


def test_a_call_is_counted_by_its_facts(tally, tmp_path):
    facts = {
        "hook": "patient-view",
        "phases": {"decode": 0.002, "judge": 0.001},
        "cards": 3,
        "rules": ["A", "B"],
        "unknown_rules": ["C"],
        "snoozed": ["E"],
        "silent": ["F"],
        "failed": {"D": "ValueError"},
        "gaps": {"labs1": "absent"},
    }
    tally.call("cds_hooks.call", facts, 200, 0.004)
    tally.call("", {"refusal": "expired"}, 401, 0.001)
    numbers = {name: cells for name, cells in counted(tmp_path).items() if METRICS[name[0]].kind == "count"}
    assert numbers == {
        ("cds_calls", "patient-view", "200"): (1.0,),
        ("cds_calls", "none", "401"): (1.0,),
        ("cds_cards", "patient-view"): (3.0,),
        ("cds_rule_outcomes", "A", "finding"): (1.0,),
        ("cds_rule_outcomes", "B", "finding"): (1.0,),
        ("cds_rule_outcomes", "C", "unknown"): (1.0,),
        ("cds_rule_outcomes", "D", "failed"): (1.0,),
        ("cds_rule_outcomes", "E", "snoozed"): (1.0,),
        ("cds_rule_outcomes", "F", "silent"): (1.0,),
        ("cds_prefetch_gaps", "labs1", "absent"): (1.0,),
        ("cds_refusals", "expired"): (1.0,),
    }
    times = {name[1:]: cells[-1] for name, cells in counted(tmp_path).items() if METRICS[name[0]].kind == "time"}
    assert times == {
        ("patient-view", "whole"): 0.004,
        ("patient-view", "decode"): 0.002,
        ("patient-view", "judge"): 0.001,
    }


def test_other_addresses_are_told_apart_from_calls(tally, tmp_path):
    tally.call("cds_hooks.feedback", {"hook": "order-sign", "outcomes": {"accepted": 2}}, 200, 0.001)
    tally.call("cds_hooks.discovery", {}, 304, 0.001)
    assert counted(tmp_path) == {
        ("cds_calls", "feedback", "200"): (1.0,),
        ("cds_calls", "discovery", "304"): (1.0,),
        ("cds_feedback", "accepted"): (2.0,),
    }


def test_what_is_no_metric_is_refused(tally):
    with pytest.raises(KeyError):
        tally.count("cds_typo")


def test_a_full_table_fails_no_call(tally, tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "SPARE", 2)
    for rule in ("A", "B", "C", "D"):
        tally.count("cds_rule_outcomes", rule, "finding")
    tally.time(0.2, "cds_fetch_seconds", "ok")
    assert {name[1]: cells for name, cells in counted(tmp_path).items()} == {"A": (1.0,), "B": (1.0,)}


def test_the_spare_cells_have_room_for_any_name():
    assert metrics.SPARE + max(metrics.WIDTH.values()) == metrics.CELLS


def test_a_folder_that_is_gone_fails_no_call_and_names_count_once_it_is_back(tmp_path):
    folder, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    folder.mkdir()
    tally = Tally(folder)
    tally.count("cds_feedback", "accepted")
    folder.rename(elsewhere)
    for _ in range(2):
        tally.count("cds_feedback", "accepted")
        tally.count("cds_feedback", "overridden")
        tally.time(0.2, "cds_fetch_seconds", "ok")
    assert page(AllWorkers(folder, {}))["cds_workers"] == 0
    elsewhere.rename(folder)
    tally.count("cds_feedback", "overridden")
    assert counted(folder) == {("cds_feedback", "accepted"): (3.0,), ("cds_feedback", "overridden"): (1.0,)}


def test_what_a_full_disk_left_of_a_name_is_written_over(tally, tmp_path):
    tally.count("cds_feedback", "accepted")
    with (tmp_path / f"{os.getpid()}.names").open("ab") as names:
        names.write(b'["cds_rule_outcomes","A rule with a long name","finding"]\n["cds')
    tally.count("cds_cards", "order-sign", by=2)
    assert counted(tmp_path) == {("cds_feedback", "accepted"): (1.0,), ("cds_cards", "order-sign"): (2.0,)}


def test_cells_lie_on_the_disk_from_the_start(tally, tmp_path):
    """A hole in a file that is mapped kills the process once the disk is full."""
    found = (tmp_path / f"{os.getpid()}.cells").stat()
    assert found.st_blocks * 512 >= found.st_size == metrics.CELLS * metrics.CELL_BYTES


def test_without_a_folder_nobody_counts_and_the_service_starts(tmp_path):
    assert tally_of({metrics.FOLDER: str(tmp_path / "gone")}) is None


def test_a_name_that_is_being_written_waits_for_the_next_reader(tally, tmp_path):
    tally.count("cds_records_dropped")
    with (tmp_path / f"{os.getpid()}.names").open("ab") as file:
        file.write(b'["cds_feed')
    assert counted(tmp_path) == {("cds_records_dropped",): (1.0,)}


def test_workers_are_added_up_and_the_gone_stay(tally, tmp_path):
    """Prometheus takes a counter that falls for a restart: what a dead worker counted must not go with it."""
    script = (
        "import sys, pathlib; from cds_service.metrics import Tally;"
        "tally = Tally(pathlib.Path(sys.argv[1])); tally.count('cds_feedback', 'accepted', by=5);"
        "tally.time(0.2, 'cds_fetch_seconds', 'ok')"
    )
    top = Path(metrics.__file__).parents[1]
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=top, timeout=60)
    tally.count("cds_feedback", "accepted", by=2)
    workers = AllWorkers(tmp_path, {"version": "1"})
    first = page(workers)
    tally.count("cds_feedback", "accepted")
    second = page(workers)
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"{os.getpid()}.cells", f"{os.getpid()}.names"]
    assert [shown['cds_feedback_total{outcome="accepted"}'] for shown in (first, second)] == [7, 8]
    assert [shown['cds_fetch_seconds_count{outcome="ok"}'] for shown in (first, second)] == [1, 1]
    assert second["cds_workers"] == 1
    assert second['cds_service_info{version="1"}'] == 1


def test_a_number_that_another_user_has_got_since_is_no_worker(tally, tmp_path, monkeypatch):
    """A worker that was killed leaves its files; the system may give its number to a process of anybody."""
    tally.count("cds_feedback", "accepted", by=3)

    def foreign(_process: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", foreign)
    workers = AllWorkers(tmp_path, {})
    shown = [page(workers) for _ in range(2)]
    assert [each["cds_workers"] for each in shown] == [0, 0]
    assert [each['cds_feedback_total{outcome="accepted"}'] for each in shown] == [3, 3]
    assert list(tmp_path.iterdir()) == []


def test_nobody_counts_where_nobody_asked(tmp_path):
    assert tally_of({}) is None
    assert tally_of({metrics.FOLDER: str(tmp_path)}) is not None


def test_watch_adds_up_laps():
    watch = Watch()
    for phase in ("decode", "judge", "decode"):
        watch.lap(phase)
    assert list(watch.phases) == ["decode", "judge"]
    assert all(seconds >= 0 for seconds in watch.phases.values())


def test_labels_never_come_from_a_request(tally, tmp_path, knowledge, make_call):
    """A hostile client may name hooks, keys, methods and addresses as it likes: no label knows them."""
    client = create_app(Settings(), knowledge=knowledge, log=io.StringIO(), tally=tally).test_client()
    seed = "Zebulon-Quist"
    view = f"/cds-services/{SERVICES[0].id}"
    bodies = [
        make_call(),
        make_call(hook=seed, hookInstance=seed, context={"patientId": seed, "userId": seed}),
        make_call(prefetch={seed: {"resourceType": seed, "id": seed}, "labs1": {"resourceType": seed}}),
        make_call(prefetch={"labs1": {"resourceType": "OperationOutcome", "issue": [{"diagnostics": seed}]}}),
        make_call(context={seed: seed}, fhirAuthorization={"access_token": seed}),
    ]
    for body in bodies:
        client.post(view, data=json.dumps(body), content_type="application/json")
        client.post(f"/cds-services/{seed}", data=json.dumps(body), content_type="application/json")
    word = {"card": seed, "outcome": "accepted", "outcomeTimestamp": "2026-03-15T11:00:00Z"}
    for entry in (word | {"acceptedSuggestions": [{"id": seed}]}, word | {"outcome": seed}):
        client.post(f"{view}/feedback", json={"feedback": [entry]})
    client.open(f"/{seed}", method=seed.upper(), headers={seed: seed, "Authorization": f"Bearer {seed}"})
    client.post(view, data=f'{{"{seed}":', content_type=f"text/{seed}")

    rules = {rule.id for rule in knowledge.rules}
    allowed = {
        "hook": {service.hook for service in SERVICES} | {"none", "feedback"},
        "phase": {"decode", "fetch", "judge", "render", "whole"},
        "status": {"200", "400", "404", "405", "412", "415"},
        "rule": rules,
        "outcome": {"finding", "unknown", "failed", "accepted", "overridden", "ok", *get_args(GapKind)},
        "key": {expected.key for expected in build_expected(knowledge, "patient-view")},
        "kind": set(get_args(get_type_hints(Gap)["kind"])),
    }
    names = [name for name, _ in read(tmp_path, os.getpid())]
    assert len(names) > 10
    for name, *labels in names:
        for label, value in zip(METRICS[name].labels, labels, strict=True):
            assert value in allowed[label], f"{name}: {label}={value}"
