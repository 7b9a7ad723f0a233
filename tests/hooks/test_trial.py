"""A site's templates and sentences are tried out with findings of all kinds before the service starts."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from cds_service.app import examined
from cds_service.cli import cli, run
from cds_service.hooks import trial
from cds_service.hooks.wording import Wording, shipped, templates_folder, wording_of
from cds_service.hooks.words import Words
from cds_service.knowledge.model import Knowledge
from cds_service.settings import Settings

TODAY = date(2026, 11, 22)
THRESHOLD = shipped().templates["threshold.md"]


def site(folder: Path, **files: str) -> Wording:
    for name, text in files.items():
        suffix = ".yaml" if name == "messages" else ".md"
        (folder / f"{name}{suffix}").write_text(text, encoding="utf-8")
    return wording_of(Settings(words_folder=str(folder)))


def told(folder: Path, knowledge: Knowledge, **files: str) -> list[str]:
    return trial.try_out(knowledge, site(folder, **files))


def test_the_shipped_words_can_tell_every_sample_but_drafts_that_are_not_there(knowledge: Knowledge) -> None:
    found = trial.faults(trial._Uncut(knowledge, shipped()))
    assert {name.split(" ")[0] for name in found} <= {"C-GH-1-unapproved"}  # its summary names the draft
    assert all("list object has no element 0" in fault for fault in found.values())


def test_every_template_and_every_message_is_tried(knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()
    detail, say = Words.detail, Words.say

    def spied(self: Words, template: str, values: dict[str, object]) -> str:
        seen.add(f"{template}.md")
        return detail(self, template, values)

    def heard(self: Words, message: str, /, **values: object) -> object:
        seen.add(message)
        return say(self, message, **values)

    monkeypatch.setattr(Words, "detail", spied)
    monkeypatch.setattr(Words, "say", heard)
    trial.faults(trial._Uncut(knowledge, shipped()))
    included = {"basis.md", "earlier.md", "facts.md", "footer.md", "notes.md"}
    assert seen | included >= {*shipped().messages, *shipped().templates}


def test_a_copy_of_what_is_shipped_has_no_fault(tmp_path: Path, knowledge: Knowledge) -> None:
    copies = {path.stem: f"{path.read_text(encoding='utf-8')}\n" for path in templates_folder().glob("*.md")}
    assert told(tmp_path, knowledge, **copies) == []


def test_a_value_that_one_kind_of_finding_lacks_is_told_with_file_and_line(
    tmp_path: Path, knowledge: Knowledge
) -> None:
    """`f.values.rise` is a value of rises only: nothing static sees that a projected crossing has none."""
    broken = shipped().templates["change.md"].replace("{{ advice }}", "{{ f.values.rise|number(f.marker) }}")
    (fault,) = told(tmp_path, knowledge, change=broken)
    line = broken.split("\n").index("{{ f.values.rise|number(f.marker) }}") + 1
    assert fault.startswith(f"change.md: line {line}: UndefinedError: ")


def test_a_fault_of_an_included_file_is_told_in_its_own_line(tmp_path: Path, knowledge: Knowledge) -> None:
    notes = "{% for text in lines %}\n- {{ text|day }}\n{% endfor %}\n"
    (fault,) = told(tmp_path, knowledge, notes=notes)
    assert fault.startswith("notes.md: line 2: AttributeError: ")


def test_a_sentence_with_a_filter_that_does_not_fit(tmp_path: Path, knowledge: Knowledge) -> None:
    (fault,) = told(tmp_path, knowledge, messages='on_hold: "{{ therapy|day }}"\n')
    assert fault.startswith("messages.yaml: on_hold: line 1: ")


def test_the_basis_of_rules_is_tried_too(tmp_path: Path, knowledge: Knowledge) -> None:
    (fault,) = told(tmp_path, knowledge, basis="\n{{ evidence[7] }}\n")
    assert fault.startswith("basis.md: line 2: UndefinedError: ")


def padded(total: int, knowledge: Knowledge) -> str:
    """A template whose longest summary has so many characters."""
    long = "{% block summary -%}\n{{ f.marker|name|sentence }}XX\n{% endblock %}\n"
    name = max(len(known.name) for key, known in knowledge.markers.items() if key in of_thresholds(knowledge))
    return long.replace("XX", "x" * (total - name)) + THRESHOLD[THRESHOLD.index("{% block detail") :]


def of_thresholds(knowledge: Knowledge) -> set[str]:
    rules = [rule for rule in knowledge.rules if rule.kind == "threshold" and not rule.line_only]
    return {str(rule.spec.get("marker") or min(rule.markers)) for rule in rules if "summary" not in rule.spec}


@pytest.mark.parametrize("total", [139, 140])
def test_a_summary_that_is_too_long_is_refused(total: int, tmp_path: Path, knowledge: Knowledge) -> None:
    """CDS Hooks: fewer than 140 characters."""
    found = told(tmp_path, knowledge, threshold=padded(total, knowledge))
    assert bool(found) is (total == 140)
    assert all(f"a summary of {total} characters, at most 139: " in fault for fault in found)
    assert all(fault.startswith("threshold.md: ") for fault in found)


# -- everything at once --------------------------------------------------------------------------------


def faulty(folder: Path) -> Path:
    """A folder with a fault in every file."""
    (folder / "words.yaml").write_text("page: {skip: ''}\n", encoding="utf-8")
    (folder / "knowledge.yaml").write_text("markers: {HCT: {name: 'a|b'}}\n", encoding="utf-8")
    (folder / "messages.yaml").write_text("no_such: x\n", encoding="utf-8")
    (folder / "phrases.yaml").write_text("no_such: x\n", encoding="utf-8")
    return folder


EXPECTED = (
    "page.skip: expected a text",
    "markers.HCT.name: one line",
    "messages.yaml: no_such",
    "phrases.yaml: no_such",
)


def test_all_faults_of_a_site_are_told_together(tmp_path: Path) -> None:
    settings = Settings(host="192.0.2.1", words_folder=str(faulty(tmp_path)))
    found, _, problems = examined(settings, TODAY)
    assert found is None
    for expected in ("is not loopback", *EXPECTED):
        assert [problem for problem in problems if expected in problem], expected


def test_serve_tells_all_of_them_and_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CDS_WORDS_FOLDER", str(faulty(tmp_path)))
    monkeypatch.setenv("CDS_FHIR_MAX_PAGES", "many")
    assert run(["serve"]) == 2
    printed = capsys.readouterr().err
    for expected in ("CDS_FHIR_MAX_PAGES", *EXPECTED):
        assert expected in printed


def test_config_check_tries_the_words_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site(tmp_path, notes="{% for text in lines %}\n- {{ text|day }}\n{% endfor %}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CDS_WORDS_FOLDER", str(tmp_path))
    answer = CliRunner().invoke(cli, ["config", "check"], env=dict(os.environ))
    assert "notes.md: line 2: AttributeError" in answer.output


def test_a_site_without_a_folder_tries_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cds_service.hooks.trial.try_out", lambda *_: pytest.fail("tried"))
    assert examined(Settings(), TODAY)[2] == []
