"""A site's own words for the rules: every text can be reworded, and nothing but words."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from cds_service.app import knowledge_of
from cds_service.cli import cli
from cds_service.knowledge.loader import load
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.texts import NAME, as_yaml, read_texts, texts_of, told_as
from cds_service.knowledge.yaml_file import KnowledgeError, Problem
from cds_service.settings import Settings

TODAY = date(2026, 11, 22)


def problems(folder: Path, text: str) -> list[str]:
    (folder / NAME).write_text(text, encoding="utf-8")
    with pytest.raises(KnowledgeError) as raised:
        load(words=folder)
    return [str(problem) for problem in raised.value.problems]


def test_every_place_can_be_reworded(knowledge: Knowledge) -> None:
    before = texts_of(knowledge)
    after = texts_of(told_as(knowledge, {place: f"⟦{text}⟧" for place, text in before.items()}))
    assert {place[:-1] if place[0] in ("milestones", "strengths") else place for place in after} == {
        place[:-1] if place[0] in ("milestones", "strengths") else place for place in before
    }
    assert [text for text in after.values() if not text.startswith("⟦")] == []


def test_nothing_but_words_is_changed(knowledge: Knowledge) -> None:
    before = texts_of(knowledge)
    there = told_as(knowledge, {place: f"⟦{text}⟧" for place, text in before.items()})
    back = {(*place[:-1], f"⟦{place[-1]}⟧") if place[0] in ("milestones", "strengths") else place: text
            for place, text in before.items()}  # fmt: skip
    assert msgspec.structs.asdict(told_as(there, back)) == msgspec.structs.asdict(knowledge)


def test_a_site_s_file(tmp_path: Path, knowledge: Knowledge) -> None:
    (tmp_path / NAME).write_text(
        "markers: {HCT: {name: Hämatokrit}}\n"
        "reasons: {will_monitor: {display: Wird beobachtet}}\n"
        "milestones: {3-month: 3-Monats}\n"
        "rules: {HCT-1: {title: Hämatokrit über dem Grenzwert}}\n",
        encoding="utf-8",
    )
    here = knowledge_of(Settings(words_folder=str(tmp_path)), TODAY)
    assert here.markers["HCT"].name == "Hämatokrit"
    assert here.markers["HCT"].unit_display == knowledge.markers["HCT"].unit_display
    assert here.reasons["will_monitor"].display == "Wird beobachtet"
    assert here.reasons["will_monitor"].code == "will-monitor"
    (rule,) = [rule for rule in here.rules if rule.id == "HCT-1"]
    assert rule.title == "Hämatokrit über dem Grenzwert"
    assert "3-Monats" in {one.name for p in here.protocols for s in p.schedules.values() for one in s.milestones}
    assert here.version == knowledge.version


def test_the_words_for_another_guideline(tmp_path: Path) -> None:
    """What a rule says under a profile has a place of its own, and is what its card says there."""
    text = "Endocrine Society 2018, EAU, Society for Endocrinology und BSSM handeln über 54 %."
    place = ("rules", "HCT-1", "by", "thresholds", "aua2018", "differs")
    (tmp_path / NAME).write_text(as_yaml({place: text}), encoding="utf-8")
    overlay = tmp_path / "overlay.yaml"
    change = "{who: a, why: b, until: 2027-06-30, switches: {thresholds: aua2018}}"
    overlay.write_text(f"site: Example\nchanges:\n  - {change}\n", encoding="utf-8")
    said = {
        way: next(
            rule.differs for rule in load(words=tmp_path, overlay=way, today=TODAY).rules if rule.id == "HCT-1"
        )
        for way in (overlay, None)
    }
    assert said[overlay] == text
    assert said[None].startswith("AUA 2018 acts at 54 %")


def test_all_mistakes_are_told_at_once_with_their_line(tmp_path: Path) -> None:
    told = problems(
        tmp_path,
        "drugs: {}\n"
        "markers:\n"
        "  HCT: {name: 'a|b', unit: g}\n"
        "  HKT: {name: x}\n"
        "rules:\n"
        "  HCT-1:\n"
        f"    title: {'x' * 140}\n"
        "    limits: {above: '99'}\n"
        "  C-E-3:\n"
        "    summary: 'Kontraindikation'\n"
        "  C-T-5: {notes: {'99': x}}\n"
        "  LDL-1: x\n"
        "tests: {TT: {name: 3}}\n"
        "milestones: {3-month: 4-Monats}\n",
    )
    for expected in (
        "knowledge.yaml:1: drugs: one of markers, tests, therapies, concepts, reasons, protocols, milestones,",
        "knowledge.yaml:3: markers.HCT.name: one line of plain text, without Markdown",
        "knowledge.yaml:3: markers.HCT.unit: one of name",
        "knowledge.yaml:4: markers.HKT: one of the names that it has as shipped",
        "knowledge.yaml:7: rules.HCT-1.title: at most 139 characters, not 140",
        "knowledge.yaml:8: rules.HCT-1.limits: one of title, advice,",
        "knowledge.yaml:10: rules.C-E-3.summary: what is filled in as in the shipped text: "
        "{{ condition }} {{ onset }}",
        "knowledge.yaml:11: rules.C-T-5.notes.99: one of 1",
        "knowledge.yaml:12: rules.LDL-1: names with their texts",
        "knowledge.yaml:13: tests.TT.name: a text",
        "knowledge.yaml:14: milestones.3-month: the numbers of the shipped text: 3",
    ):
        assert [line for line in told if line.startswith(expected)], (expected, told)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("Über 54 % handelt AUA 2018, EAU 2025 ab 54 %.", True),
        ("AUA 2018 und EAU 2025 handeln ab 54,0 %.", False),
        ("AUA 2018 und EAU 2025 handeln ab 55 %.", False),
        ("AUA 2018 und EAU 2025 handeln über dem Grenzwert.", False),
        ("AUA 2018 und EAU 2025: {{ limit }} 54 %.", False),
        ("{% if x %}AUA 2018 und EAU 2025 ab 54 %.", False),
    ],
)
def test_a_limit_in_a_text_stays_that_limit(text: str, taken: bool, tmp_path: Path, knowledge: Knowledge) -> None:
    """`differs` of HCT-1 names 54 % of AUA 2018 and EAU 2025."""
    (tmp_path / NAME).write_text(as_yaml({("rules", "HCT-1", "differs"): text}), encoding="utf-8")
    told: list[Problem] = []
    assert bool(read_texts(knowledge, tmp_path, told)) is taken
    assert bool(told) is not taken


def test_decimals_may_be_written_with_a_comma(tmp_path: Path, knowledge: Knowledge) -> None:
    place = next(place for place, text in texts_of(knowledge).items() if " 1.4 " in text)
    shipped = texts_of(knowledge)[place]
    (tmp_path / NAME).write_text(as_yaml({place: shipped.replace("1.4", "1,4")}), encoding="utf-8")
    told: list[Problem] = []
    assert read_texts(knowledge, tmp_path, told)
    assert told == []


def test_the_shipped_texts_are_a_site_s_texts(tmp_path: Path, knowledge: Knowledge) -> None:
    """What `knowledge texts` writes, as a translator begins, has no mistake and changes nothing."""
    out = tmp_path / NAME
    assert CliRunner().invoke(cli, ["knowledge", "texts", "--out", str(out)]).exit_code == 0
    assert yaml.safe_load(out.read_text(encoding="utf-8"))["markers"]["HCT"] == {"name": "hematocrit"}
    assert load(words=tmp_path) == knowledge


def test_the_example_of_the_documentation_has_no_mistake(tmp_path: Path, knowledge: Knowledge) -> None:
    page = Path(__file__).parents[2] / "docs" / "informaticians" / "words.md"
    (example,) = re.findall(r"```yaml\n(markers:.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / NAME).write_text(example, encoding="utf-8")
    told: list[Problem] = []
    assert len(read_texts(knowledge, tmp_path, told)) == 3
    assert told == []


def test_what_is_still_to_be_translated(
    tmp_path: Path, knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).write_text("markers: {HCT: {name: Hämatokrit}}\n", encoding="utf-8")
    monkeypatch.setenv("CDS_WORDS_FOLDER", str(tmp_path))
    left = yaml.safe_load(CliRunner().invoke(cli, ["knowledge", "texts", "--missing"]).stdout)
    assert "HCT" not in left["markers"]
    assert left["markers"]["HGB"] == {"name": knowledge.markers["HGB"].name}


def test_knowledge_diff_tells_the_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / NAME).write_text("markers: {HCT: {name: Hämatokrit}}\n", encoding="utf-8")
    monkeypatch.setenv("CDS_WORDS_FOLDER", str(tmp_path))
    told = CliRunner().invoke(cli, ["knowledge", "diff"]).stdout
    (line,) = [line for line in told.splitlines() if "markers.HCT.name" in line]
    assert "hematocrit" in line
    assert "Hämatokrit" in line
    assert "words.folder" in line
    assert "rule " not in told


def test_without_a_file_nothing_is_copied(tmp_path: Path) -> None:
    assert load(words=tmp_path) == load()
