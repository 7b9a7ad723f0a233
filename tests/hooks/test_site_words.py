"""A site's own words and its way to write numbers and dates."""

from __future__ import annotations

import ast
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from jinja2 import Environment

import cds_service
from cds_service.chart import Form, GapKind, Measurement, Patient, Phrase
from cds_service.hooks.cards import make_renderer
from cds_service.hooks.wording import (
    FILTERS,
    Wording,
    known_phrases,
    locales,
    read_wording,
    shipped,
    templates_folder,
    wording_of,
)
from cds_service.hooks.words import Words, day
from cds_service.knowledge.loader import load
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.voice import Locale, Voice
from cds_service.rules.outcome import Line
from cds_service.settings import Settings, SettingsError
from tests.hooks.tour import numbered, stops
from tests.rules.conftest import condition, course, measurement, month

PACKAGE = Path(cds_service.__file__).parent


def site(folder: Path) -> Wording:
    """The words of a site's folder, which has no mistake."""
    return wording_of(Settings(words_folder=str(folder)))


def problems(folder: Path) -> list[str]:
    """The mistakes of a site's folder, without the path of the folder."""
    with pytest.raises(SettingsError) as raised:
        site(folder)
    return [problem.replace(f"words.folder: {folder}/", "") for problem in raised.value.problems]


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        suffix = ".md" if name not in ("messages", "phrases", "locales") else ".yaml"
        (folder / f"{name}{suffix}").write_text(text, encoding="utf-8")


# -- a folder ----------------------------------------------------------------------------------------


def test_a_site_may_reword_one_message(tmp_path: Path, knowledge: Knowledge) -> None:
    write(tmp_path, messages='on_hold: "{{ therapy.agent }} pausiert."\n')
    words = Words(knowledge, site(tmp_path))
    assert words.say("on_hold", therapy=course()) == "testosterone cypionate pausiert."
    assert words.say("month_only") == "Only the month of the sample is known."


def test_a_site_may_reword_what_the_service_read(tmp_path: Path, knowledge: Knowledge) -> None:
    write(tmp_path, phrases="injection: Injektion\nfree text: Freitext\n")
    words = Words(knowledge, site(tmp_path))
    assert words.therapy(course()) == "testosterone cypionate (Injektion)"
    assert words.recognised('free text "testo"') == 'Freitext "testo"'
    assert words.recognised("ATC G03BA03") == "ATC G03BA03"


def test_a_site_may_replace_a_template(tmp_path: Path, knowledge: Knowledge) -> None:
    write(tmp_path, notes="{% for text in lines %}\n* {{ text }}\n{% endfor %}\n")
    render = make_renderer(knowledge, "generic", site(tmp_path))
    stop = next(stop for stop in stops() if stop.name == "gap absent")
    details = [card["detail"] for card in render(stop.evaluation(knowledge), stop.chart, numbered())]
    assert any("* Laboratory results" in detail or "* " in detail for detail in details)
    assert not any("\n- " in detail.split("Basis")[0] for detail in details if "all-clear" in detail)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        messages='on_hold: "{{ drug }} x"\nno_such: x\nmonth_only: 3\n'
        'conflict: "{{ result|dey }}"\nclosing: "{% if"\n',
        phrases="injektion: x\n",
        threshold="{% block summary %}{{ f.foo }}{% endblock %}",
        hello="x",
        locales="de: {}\n",
    )
    told = "\n".join(problems(tmp_path))
    for expected in (
        "messages.yaml: on_hold: {{ drug }}: there is no such value here; expected one of therapy",
        "messages.yaml: no_such: nothing uses a text of this name",
        "messages.yaml: month_only: expected a text",
        "messages.yaml: conflict: line 1: No filter named 'dey'.",
        "messages.yaml: closing: line 1:",
        "phrases.yaml: injektion: nothing uses a text of this name",
        "threshold.md: .foo: nothing in a card has it",
        "threshold.md: no block detail",
        "hello.md: nothing uses a file of this name",
        "locales.yaml: nothing uses a file of this name",
    ):
        assert expected in told


def test_a_template_that_does_not_compile_is_told_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, notes="one\n{% for text in lines %}")
    assert any(problem.startswith("notes.md: line 2:") for problem in problems(tmp_path))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{% include "facts.md" %}', []),
        ('{%- include "facts.md" -%}', ["threshold.md: an include stands alone on its line"]),
        ('see {% include "facts.md" %} there', ["threshold.md: an include stands alone on its line"]),
        ('{% include "none.md" %}', ["threshold.md: includes none.md, which is no file of the cards"]),
    ],
)
def test_includes_as_they_can_be_put_in_place(tmp_path: Path, line: str, told: list[str]) -> None:
    whole = shipped().templates["threshold.md"].replace("{% endblock %}", f"{line}\n{{% endblock %}}")
    write(tmp_path, threshold=whole)
    found: list[str] = []
    read_wording(tmp_path, found)
    said = {problem.replace(f"words.folder: {tmp_path}/", "").partition(", as {%")[0] for problem in found}
    assert said == set(told)


def test_a_folder_that_is_not_there_and_a_locale_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        wording_of(Settings(words_folder=str(tmp_path / "none"), words_locale="xx"))
    assert raised.value.problems == (
        f"words.locale: expected one of {', '.join(locales())}",
        f"words.folder: {tmp_path / 'none'}: no such folder",
    )


def test_not_yaml_and_not_text(tmp_path: Path) -> None:
    write(tmp_path, messages="a: b: c\n", phrases="- x\n")
    (tmp_path / "notes.md").write_bytes(b"\xff\xfe")
    assert problems(tmp_path) == [
        "messages.yaml:1: not YAML",
        "notes.md: cannot be read as UTF-8 text",
        "phrases.yaml: expected ids with their texts",
    ]


def test_the_shipped_words_are_a_site_s_words(tmp_path: Path) -> None:
    """A copy of all files, as a translator begins, has no mistake."""
    for path in templates_folder().glob("*"):
        if path.name != "locales.yaml":
            text = path.read_text(encoding="utf-8")
            (tmp_path / path.name).write_text(text if path.suffix == ".yaml" else f"{text}\n", encoding="utf-8")
    found = site(tmp_path)
    assert found.messages == shipped().messages
    assert set(found.phrases.items()) == {(phrase, phrase) for phrase in known_phrases()}


# -- everything can be reworded ----------------------------------------------------------------------


def test_phrases_are_those_of_the_code() -> None:
    """Each form, source of the sex and reason that a card can tell has its phrase, and there are no others."""
    hints = get_type_hints(Patient)
    told = {*get_args(Form), *get_args(hints["sex_source"])} - {"unknown", ""}
    recognised = {"RxNorm product", "RxNorm ingredient", "local drug code", "ATC", "free text"}
    literals = {
        node.value
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    problems = {word for word in get_args(get_type_hints(Measurement)["problem"]) if word} | {"conflict"}
    kinds = {word.replace("_", " ") for word in (*problems, *get_args(GapKind))}
    reasons = known_phrases() - told - recognised - kinds - {"fasting"}
    assert told <= known_phrases()
    assert recognised | kinds <= known_phrases()
    assert reasons - literals == set()


def test_a_phrase_with_values_is_a_known_one_and_is_reworded() -> None:
    """Why something is not known holds counts and types in the words of the site."""
    calls = [
        node
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Phrase"
    ]
    literal = [call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)]
    assert len(calls) > 4
    assert set(literal) <= known_phrases()
    said = Phrase("{count} of {total} entries hold no resource", count=3, total=9)
    assert said == "3 of 9 entries hold no resource"
    voice = Voice({said.phrase: "von {total} Einträgen sind {count} leer"})
    assert voice.put(said) == "von 9 Einträgen sind 3 leer"
    assert Voice().put(said) == said


def test_an_empty_entry_is_told_in_the_words_of_a_site(tmp_path: Path, knowledge: Knowledge) -> None:
    write(tmp_path, phrases='"{count} of {total} entries hold no resource": "von {total} sind {count} leer"\n')
    words = Words(knowledge, site(tmp_path))
    detail = Phrase("{count} of {total} entries hold no resource", count=1, total=2)
    line = words.say("refused", area="results", detail=detail)
    assert "von 2 sind 1 leer" in line


def test_what_is_filled_into_a_phrase_stays(tmp_path: Path) -> None:
    write(
        tmp_path, phrases='"crossing on {day}": Schnitt\n"card {topic}": "Karte {topic.x} {topic}"\nATC: "{ATC}"\n'
    )
    assert problems(tmp_path) == [
        "phrases.yaml: crossing on {day}: expected to be filled in: {day}",
        "phrases.yaml: card {topic}: expected to be filled in: {topic}",
        "phrases.yaml: ATC: expected to be filled in: nothing",
    ]


def marked(text: str) -> str:
    """A template whose own words are capitals in ⟦…⟧; what it prints and decides stays."""
    parts = re.split(r"(\{%.*?%\}|\{\{.*?\}\})", text, flags=re.DOTALL)
    return "".join(
        part if place % 2 or not re.search("[A-Za-z]", part) else re.sub(r"[A-Za-z][\w' ,;:()-]*", "⟦…⟧", part)
        for place, part in enumerate(parts)
    )


def test_nothing_of_the_code_is_left_after_a_translation(knowledge: Knowledge) -> None:
    """With every message and phrase reworded, what cards still say of the old words comes from the knowledge."""
    words = shipped()
    messages = {name: marked(text) for name, text in words.messages.items()}
    phrases = dict.fromkeys(known_phrases(), "⟦…⟧")
    templates = {name: marked(text) for name, text in words.templates.items()}
    render = make_renderer(knowledge, "generic", Wording(templates, messages, phrases))
    of_rules = "".join(rule.advice + "".join(note.text for note in rule.notes) for rule in knowledge.rules)
    fixed = (text for text in words.messages.values() if "{" not in text)
    ours = [text for text in (*known_phrases(), *fixed) if " " in text and text not in of_rules]
    seen = ""
    for stop in stops("⟦…⟧"):
        for card in render(stop.evaluation(knowledge), stop.chart, numbered()):
            text = "\n".join((card["summary"], card["detail"], str(card.get("suggestions", ""))))
            assert [one for one in ours if one in text] == [], stop.name
            assert not re.search(r"\b(more|of) ⟦|\band \d+ more|\((injection|topical|oral)\)", text), stop.name
            seen += text
    assert "⟦…⟧" in seen


# -- numbers and dates -------------------------------------------------------------------------------

WRITTEN = {
    "en": ("2026-02-03", "2026-02", "1.4 ng/mL"),
    "en-GB": ("03/02/2026", "02/2026", "1.4 ng/mL"),
    "en-US": ("02/03/2026", "02/2026", "1.4 ng/mL"),
    "de": ("03.02.2026", "02.2026", "1,4 ng/mL"),
    "fr": ("03/02/2026", "02/2026", "1,4 ng/mL"),
    "nl": ("03-02-2026", "02-2026", "1,4 ng/mL"),
    "sv": ("2026-02-03", "2026-02", "1,4 ng/mL"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_numbers_and_dates_by_locale(name: str, knowledge: Knowledge) -> None:
    words = Words(knowledge, wording_of(Settings(words_locale=name)))
    whole, of_month, number = WRITTEN[name]
    assert words.day(date(2026, 2, 3)) == whole
    assert words.day(month(date(2026, 2, 1))) == of_month
    assert words.day(None) == ""
    assert words.limit(Decimal("1.4"), "PSA") == number
    assert words.decimals(Decimal("70.905"), 2) == ("70,91" if "," in number else "70.91")
    assert words.onset(condition("mi", onset=date(2026, 2, 3))) == f" of {whole}"


def test_what_the_laboratory_wrote_stays(knowledge: Knowledge) -> None:
    words = Words(knowledge, wording_of(Settings(words_locale="de")))
    odd = measurement("HCT", "55.2", reported="0.552", reported_unit="L/L")
    assert words.value(odd) == "55,2 %"
    assert words.as_reported(odd) == "0.552 L/L"


def test_a_year_is_a_year() -> None:
    assert Locale(",", "DD.MM.YYYY", "MM.YYYY").date("2026") == "2026"


def test_every_locale_has_all_parts() -> None:
    raw: dict[str, Any] = yaml.safe_load((templates_folder() / "locales.yaml").read_text(encoding="utf-8"))
    for name, locale in raw.items():
        assert locale["decimal"] in (".", ","), name
        assert sorted(re.findall("[A-Z]+", locale["day"])) == ["DD", "MM", "YYYY"], name
        assert sorted(re.findall("[A-Z]+", locale["month"])) == ["MM", "YYYY"], name
    assert locales()["en"] == Locale()


def test_a_limit_of_the_site_is_told_in_its_words_and_numbers(tmp_path: Path) -> None:
    """A haematologist's 51.0 % in the place of 52.0 %: the sentence on the card is a message like any other."""
    overlay = tmp_path / "overlay.yaml"
    change = "{who: a, why: b, until: 2027-06-30, rules: {HCT-2: {limits: {above: '51.0'}}}}"
    overlay.write_text(f"site: Example\nchanges:\n  - {change}\n", encoding="utf-8")
    here = load(overlay=overlay, today=date(2026, 11, 22))
    (note,) = [note for rule in here.rules if rule.id == "HCT-2" for note in rule.notes if note.message]
    line = Line(note.message, note.values, note.text)
    german = Words(here, wording_of(Settings(words_locale="de")))
    assert note.text == "The limit of 51.0 % is this site's own; the shipped one is 52.0 %."
    assert Words(here).line(line) == note.text
    assert german.line(line) == "The limit of 51,0 % is this site's own; the shipped one is 52,0 %."


@pytest.mark.parametrize("name", ["en", "de", "en-GB", "nl"])
def test_summaries_fit_in_every_locale(name: str, knowledge: Knowledge) -> None:
    """CDS Hooks: fewer than 140 characters, with the longest values."""
    render = make_renderer(knowledge, "generic", wording_of(Settings(words_locale=name)))
    iso = re.compile(r"\b\d{4}-\d\d-\d\d\b")
    for stop in stops("m" * 300):
        for card in render(stop.evaluation(knowledge), stop.chart, numbered()):
            assert 0 < len(card["summary"]) < 140
            own = card["summary"] + card["detail"].split("Rule ")[0]
            assert name == "en" or not iso.search(own), (stop.name, own)


def test_filters_are_named(knowledge: Knowledge) -> None:
    """What a site's template may use is what the environment of cards has."""
    words = Words(knowledge)
    plain_names = set(Environment().filters)
    assert set(words._environment(str).filters) - plain_names == FILTERS


def test_the_default_writes_iso_without_a_detour(knowledge: Knowledge) -> None:
    """Cards are worded on the hot path: without a locale the plain function is the filter."""
    assert Words(knowledge).day is day


def test_read_wording_without_mistakes_adds_none(tmp_path: Path) -> None:
    told: list[str] = []
    assert read_wording(tmp_path, told).messages == shipped().messages
    assert told == []
