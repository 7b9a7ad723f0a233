"""The documentation tells the truth: it builds, its commands exist, its exercise can be done."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cds_service.cli import cli
from cds_service.hooks.prefetch import build_expected
from cds_service.knowledge import loader
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.yaml_file import KnowledgeError
from cds_service.scenarios.judge import differences
from cds_service.scenarios.reading import read
from cds_service.scenarios.run import Runner
from cds_service.settings import load
from tests.tls import Authority

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
COMMAND = re.compile(r"^\s*(?:\.venv/bin/)?cds-service (.*?)\s*(?:#.*|\|.*|\\)?$", re.MULTILINE)
TARGET = re.compile(r"^ *make ([a-z]+)\b", re.MULTILINE)


def code_of(page: Path) -> list[str]:
    """Every code block, and every command between backquotes."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```[a-z]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return blocks + re.findall(r"`((?:(?:\.venv/bin/)?cds-service|make) [^`\n]+)`", text)


def commands() -> list[tuple[str, str]]:
    """(page, words after `cds-service`) of every command."""
    return [
        (page.relative_to(ROOT).as_posix(), words)
        for page in PAGES
        for code in code_of(page)
        for words in COMMAND.findall(code)
    ]


@pytest.mark.parametrize(("page", "words"), commands())
def test_every_command_exists_with_its_options(page, words):
    words = re.sub(r"\s+[>|].*", "", words)
    command: click.Command = cli
    parts = shlex.split(words)
    while isinstance(command, click.Group) and parts:
        found = command.get_command(click.Context(command), parts[0])
        if found is None:
            break
        command = found
        parts.pop(0)
    if isinstance(command, click.Group):
        assert not parts or parts == ["--version"], f"{page}: no such command: {words}"
        return
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    options = [part.partition("=")[0] for part in parts if part.startswith("--")]
    assert set(options) <= known, f"{page}: {words}"


def test_there_are_commands():
    assert len(commands()) > 20


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = {target for page in PAGES for code in code_of(page) for target in TARGET.findall(code)}
    assert used
    assert used <= targets


def settings_shown() -> list[tuple[str, str]]:
    """(page, TOML) of every block of settings."""
    found = []
    for page in PAGES:
        blocks = re.findall(
            r"^( *)```toml\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
        name = page.relative_to(ROOT).as_posix()
        found += [(name, re.sub(rf"^{indent}", "", block, flags=re.MULTILINE)) for indent, block in blocks]
    return found


@pytest.mark.parametrize(("page", "toml"), settings_shown())
def test_settings_that_are_shown_are_right(page, toml, tmp_path):
    file = tmp_path / "site.toml"
    filled = toml.replace('url = "…"', 'url = "https://ehr.example.org/keys"').replace("…", "x" * 16)
    file.write_text(filled, encoding="utf-8")
    Authority(tmp_path, "hospital-ca")
    load({"CDS_CONFIG": str(file)})


@pytest.mark.slow
def test_the_site_builds(tmp_path):
    """Strictly: a link that leads nowhere, or a page that nobody leads to, is an error."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr  # with --quiet it would not count its warnings
    assert (tmp_path / "site" / "index.html").is_file()
    assert not re.search(r'(?:src|href)="https?://(?:fonts|unpkg|cdn)', (tmp_path / "site/index.html").read_text())


def test_reasons_and_their_days_are_those_of_the_data(knowledge: Knowledge):
    text = (ROOT / "docs/clinicians/index.md").read_text(encoding="utf-8")
    table = text.partition("<!-- reasons -->")[2].partition("<!-- /reasons -->")[0]
    rows = {name: int(days) for name, days in re.findall(r"^\| (.+?) \| (\d+) days \|$", table, re.MULTILINE)}
    assert rows == {reason.display: reason.snooze_days for reason in knowledge.reasons.values()}


@pytest.mark.slow
def test_the_scopes_of_the_chart_page_are_what_it_reads(knowledge: Knowledge) -> None:
    sheet = (ROOT / "docs" / "setup" / "chart-page.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^\| scopes \| `launch`, and to read these: (.*) \|$", sheet, re.MULTILINE)
    wanted = {name for one in build_expected(knowledge, "patient-view") for name in one.types}
    assert set(listed.split(", ")) == wanted


def test_the_exercise_can_be_done(tmp_path):
    """As the page says: the rule loads, its cases pass, older cases meet it, and what is wrong is named."""
    text = (ROOT / "docs/contributors/add-a-rule.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r'```yaml title="(\w+)"\n(.*?)```', text, re.DOTALL))
    shutil.copytree(Path(loader.__file__).parent, tmp_path / "knowledge")
    shutil.copytree(ROOT / "tests/scenarios", tmp_path / "scenarios")
    protocol = tmp_path / "knowledge/protocols/spironolactone_safety.yaml"
    protocol.write_text(protocol.read_text(encoding="utf-8").rstrip("\n") + "\n" + blocks["rule"], encoding="utf-8")
    cases = tmp_path / "scenarios/spironolactone.yaml"
    whole = cases.read_text(encoding="utf-8")
    cases.write_text(whole.replace("cases:\n", "cases:\n" + blocks["cases"], 1), encoding="utf-8")
    knowledge = loader.load(tmp_path / "knowledge")
    runner = Runner(knowledge)
    failed = [
        case.title for case in read(cases) if differences(case, runner.directly(case), runner.knowledge(case))
    ]
    assert not [title for title in failed if "exercise" in title]
    assert len(failed) == 12
    broken = blocks["rule"].replace('at_or_above: "5.3"', "at_or_above: 5.3")
    protocol.write_text(protocol.read_text(encoding="utf-8").replace(blocks["rule"], broken), encoding="utf-8")
    with pytest.raises(KnowledgeError) as caught:
        loader.load(tmp_path / "knowledge")
    (problem,) = caught.value.problems
    assert "spironolactone_safety.yaml" in str(problem)
    assert "at_or_above" in str(problem)
