"""The command line: what it prints, what it writes, and one clear line for each mistake."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
import time_machine

from cds_service import __version__, cli, cli_examples
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.yaml_file import KnowledgeError, Problem
from cds_service.scenarios.bundles import example_cases


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.run(arguments) == 0
    return capsys.readouterr().out


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("cds-service: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "--version") == f"cds-service {__version__}\n"


def test_without_a_command_it_tells_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"serve", "demo", "examples"} <= set(re.findall(r"^  (\w+)", said(capsys), re.MULTILINE))


def test_main_leaves_with_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["cds-service", "nonsense"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nonsense"], "nonsense"),
        (["demo", "nobody"], "nobody"),
        (["demo", "--hook", "patient-open"], "patient-open"),
        (["examples"], "--out DIR"),
        (["examples", "--as-of", "tomorrow", "--out", "."], "'tomorrow' is neither 'today' nor a date"),
        (["examples", "--request", "nobody"], "nobody"),
        (["serve", "--port", "0"], "--port"),
        (["serve", "--port", "http"], "--port"),
        (["serve", "--workers", "0"], "--workers"),
        (["serve", "--host", "not a host"], "host name or an IP address"),
    ],
)
def test_mistakes(
    arguments: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert expected in complaint(capsys, *arguments)


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = complaint(capsys, "serve", "--host", "127.0.0.1", "--port", str(port))
    assert f"cannot listen on 127.0.0.1 port {port}" in words


def test_every_mistake_of_the_knowledge_has_its_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Knowledge:
        raise KnowledgeError([Problem("rules.yaml", line, "limit", "a number") for line in (3, 7)])

    monkeypatch.setattr(cli_examples, "load_knowledge", broken)
    assert cli.run(["demo"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "cds-service: rules.yaml:3: limit: a number",
        "cds-service: rules.yaml:7: limit: a number",
    ]


# -- demo ----------------------------------------------------------------------------------------------


def test_list_has_one_line_for_each_example(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "demo", "--list").splitlines()
    assert [line.split()[0] for line in lines] == [case.id for case in example_cases()]


def test_demo_shows_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "demo", "hematocrit-high")
    for word in ("CRITICAL", "55.2 %", "0.552 L/L", "2026-11-12"):
        assert word in text


def test_demo_shows_suggestions(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Suggestions" in said(capsys, "demo", "three-months-due")


def test_demo_says_that_there_is_no_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert "No card" in said(capsys, "demo", "all-fine")


def test_demo_of_all_names_each_example(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "demo")
    assert all(case.id in text for case in example_cases())


def test_demo_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    (card,) = json.loads(said(capsys, "demo", "hematocrit-high", "--json"))["cards"]
    assert card["indicator"] == "critical"


def test_demo_with_another_hook(capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(said(capsys, "demo", "prostate-cancer", "--hook", "patient-view", "--json"))
    assert answer == {"cards": []}


def test_demo_does_not_ask_for_the_day(capsys: pytest.CaptureFixture[str]) -> None:
    with time_machine.travel("2031-01-01", tick=False):
        assert "2026-11-12" in said(capsys, "demo", "hematocrit-high")


# -- examples ------------------------------------------------------------------------------------------


def test_examples_are_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said(capsys, "examples", "--as-of", "2027-05-01", "--out", str(tmp_path))
    names = {path.stem for path in (tmp_path / "patients").glob("*.json")}
    assert names == {case.id for case in example_cases()}
    bundle = json.loads((tmp_path / "patients" / "hematocrit-high.json").read_bytes())
    dates = {entry["resource"].get("effectiveDateTime", "")[:10] for entry in bundle["entry"]}
    assert "2027-04-21" in dates  # ten days before


def test_request_of_today(capsys: pytest.CaptureFixture[str]) -> None:
    with time_machine.travel("2027-05-01T12:00:00Z", tick=False):
        request = json.loads(said(capsys, "examples", "--request", "hematocrit-high"))
    assert request["hook"] == "patient-view"
    assert "2027-04-21" in json.dumps(request["prefetch"])


def test_folder_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "patients").write_text("a file where a folder should be", encoding="utf-8")
    complaint(capsys, "examples", "--out", str(tmp_path))


# -- serve ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_serve(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name != "CDS_CONFIG"}
    command = [sys.executable, "-c", "from cds_service.cli import main; main()", "serve", "--port", str(port)]
    top = Path(cli.__file__).parents[1]
    words = tmp_path / "words"
    with (
        words.open("wb") as errors,
        subprocess.Popen(
            command,
            cwd=top,
            env=environment | {"HOST": "127.0.0.1"},
            stdout=subprocess.DEVNULL,
            stderr=errors,
        ) as server,
    ):
        try:
            document = json.loads(patiently(f"http://127.0.0.1:{port}/cds-services", server))
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=60)
    assert {service["hook"] for service in document["services"]} == {
        "patient-view",
        "order-select",
        "order-sign",
    }
    text = words.read_text(encoding="utf-8")
    assert f"http://127.0.0.1:{port}/cds-services" in text
    assert f"Open       http://127.0.0.1:{port}/\n" in text
    for hint in ("curl", "cds-service demo", "serviceDiscoveryURL="):
        assert hint in text
    assert server.returncode == 0


def patiently(address: str, server: subprocess.Popen[bytes]) -> bytes:
    for _ in range(600):
        assert server.poll() is None, "the server left"
        try:
            with urlopen(address, timeout=5) as response:
                return bytes(response.read())
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server does not answer")
