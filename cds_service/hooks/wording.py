"""What the words on cards are made of: the shipped `cards_templates/`, and a site's own folder before it.

    *.md           a file of the site stands for the shipped one of the same name
    messages.yaml  sentences; the site's stand for the shipped ones of the same id, the others stay
    phrases.yaml   words for what the service read; the same
    locales.yaml   how numbers and dates are written (not for a site's folder)

Every mistake in a site's folder is told at once when the service starts: a file, an id or a phrase that nothing
uses, a template that cannot be compiled, and a name or an attribute that nothing in a card has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import msgspec
from jinja2 import Environment, TemplateSyntaxError, meta, nodes

from cds_service.chart import Condition, Draft, Measurement, Order, Procedure, Therapy
from cds_service.knowledge.model import Rule
from cds_service.knowledge.texts import NAME as TEXTS
from cds_service.knowledge.voice import ISO, Locale, Voice, braces
from cds_service.knowledge.yaml_file import plain_yaml, shipped_yaml
from cds_service.rules.outcome import Finding
from cds_service.settings import Settings, SettingsError

MESSAGES = "messages.yaml"
PHRASES = "phrases.yaml"
PAGES = "words.yaml"
"""The words of the pages, shipped in `web/`, which `web.page_words` reads."""
ELSEWHERE = (PAGES, TEXTS)
"""Files of a site's folder that are read in other places."""
CARDS = ("schedule.md", "threshold.md", "change.md", "precondition.md", "interaction.md")
"""Templates of findings: all are given the same values, and so is what they include."""
INCLUDE = re.compile(r'{% include "([a-z]+\.md)" %}\n')
LEFT_OVER = re.compile(r"\{(?!\w+\})|(?<!\w)\}")
"""A brace that belongs to no `{name}`."""
SHOWN = (Condition, Draft, Measurement, Order, Procedure, Therapy, Finding, Rule)


class Wording(msgspec.Struct, frozen=True):
    """All words of cards as text: templates by file name, sentences by id, phrases by those of the service."""

    templates: Mapping[str, str]
    messages: Mapping[str, str]
    phrases: Mapping[str, str]
    """Only those that were reworded."""
    locale: Locale = ISO

    @property
    def voice(self) -> Voice:
        """How the service itself speaks at this site."""
        return Voice(self.phrases, self.locale)

    def source(self, name: str) -> str:
        """A template with those that it includes put in their places: an include costs as much as a small card."""
        return INCLUDE.sub(lambda match: self.source(match[1]), self.templates[name])

    def origins(self, name: str) -> list[tuple[str, int]]:
        """File and line of each line of `source`."""
        found = []
        for number, line in enumerate(self.templates[name].splitlines(keepends=True), 1):
            include = INCLUDE.fullmatch(line)
            found += self.origins(include[1]) if include else [(name, number)]
        return found


def templates_folder() -> Path:
    """`cards_templates/`: inside the installed package, or beside it in a source checkout."""
    inside = Path(__file__).parents[1] / "cards_templates"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "cards_templates"


@cache
def locales() -> Mapping[str, Locale]:
    """What `[words] locale` may be."""
    loaded = shipped_yaml(templates_folder() / "locales.yaml")
    return msgspec.convert(loaded, dict[str, Locale])


@cache
def shipped() -> Wording:
    """The words as they are shipped."""
    folder = templates_folder()
    templates = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))}
    messages = shipped_yaml(folder / MESSAGES)
    return Wording(templates, messages, {})


@cache
def known_phrases() -> frozenset[str]:
    """What `phrases.yaml` of a site may reword."""
    return frozenset(plain_yaml((templates_folder() / PHRASES).read_text(encoding="utf-8")))


def wording_of(settings: Settings) -> Wording:
    """The words of a site. Raises SettingsError with every mistake."""
    problems: list[str] = []
    locale = locales().get(settings.words_locale)
    if locale is None:
        problems.append(f"words.locale: expected one of {', '.join(locales())}")
    wording = shipped()
    if settings.words_folder:
        wording = read_wording(Path(settings.words_folder), problems)
    if problems:
        raise SettingsError(problems)
    return msgspec.structs.replace(wording, locale=locale or ISO)


def read_wording(folder: Path, problems: list[str]) -> Wording:
    """The shipped words with those of a site's folder in their places; mistakes are added to `problems`."""
    base = shipped()
    where = f"words.folder: {folder}"
    if not folder.is_dir():
        problems.append(f"{where}: no such folder")
        return base
    templates, messages, phrases = dict(base.templates), dict(base.messages), dict[str, str]()
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        place = f"{where}/{path.name}"
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            problems.append(f"{place}: cannot be read as UTF-8 text")
            continue
        if path.name == MESSAGES:
            messages.update(_texts(text, place, frozenset(base.messages), problems))
        elif path.name == PHRASES:
            told = _texts(text, place, known_phrases(), problems)
            problems.extend(f"{place}: {fault}" for fault in _unfilled(told))
            phrases.update(told)
        elif path.name in base.templates:
            templates[path.name] = text
        elif path.name not in ELSEWHERE:
            known = ", ".join((MESSAGES, PHRASES, *ELSEWHERE, *base.templates))
            problems.append(f"{place}: nothing uses a file of this name; expected one of {known}")
    found = Wording(templates, messages, phrases)
    problems.extend(f"{where}/{problem}" for problem in _mistakes(found, base))
    return found


def _texts(text: str, place: str, known: frozenset[str], problems: list[str]) -> dict[str, str]:
    """Texts by id, without those that nothing uses."""
    from cds_service.knowledge.strict_yaml import NotYAMLError

    try:
        loaded = plain_yaml(text)
    except NotYAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problems.append(f"{place}{f':{mark.line + 1}' if mark else ''}: not YAML")
        return {}
    if not isinstance(loaded, dict):
        problems.append(f"{place}: expected ids with their texts")
        return {}
    found = {}
    for name, value in loaded.items():
        if name not in known:
            problems.append(f"{place}: {name}: nothing uses a text of this name")
        elif not isinstance(value, str) or not value.strip():
            problems.append(f"{place}: {name}: expected a text")
        else:
            found[name] = value
    return found


def _unfilled(phrases: Mapping[str, str]) -> Iterator[str]:
    """Phrases that do not hold what is filled into the shipped ones."""
    for shipped_one, text in phrases.items():
        if braces(text) != braces(shipped_one) or LEFT_OVER.search(text):
            expected = ", ".join(f"{{{name}}}" for name in sorted(braces(shipped_one))) or "nothing"
            yield f"{shipped_one}: expected to be filled in: {expected}"


# -- what a template may use ---------------------------------------------------------------------------


def _mistakes(site: Wording, base: Wording) -> Iterator[str]:
    """What is wrong with the templates and sentences that differ from the shipped ones."""
    parser = Environment(autoescape=False)
    parser.filters.update(dict.fromkeys(FILTERS, str))
    attributes = _attributes(base, parser)
    of_findings = frozenset().union(*(_names(parser.parse(base.source(name))) for name in CARDS))
    for name, text in site.templates.items():
        if text != base.templates[name]:
            own = _names(parser.parse(base.source(name)))
            alone = name in ("basis.md", "merged.md", "unknown.md")
            blocks = set(re.findall(r"{% block (\w+)", base.templates[name]))
            yield from _faults(parser, text, name, own if alone else own | of_findings, attributes)
            yield from (f"{name}: no block {block}" for block in sorted(blocks) if f"block {block}" not in text)
            for other in re.findall(r'{%-? *include "([^"]*)"', text):
                if other not in site.templates:
                    yield f"{name}: includes {other}, which is no file of the cards"
            if re.search(r"{%[-+]? *include", INCLUDE.sub("", text)):
                yield f'{name}: an include stands alone on its line, as {{% include "facts.md" %}}'
    for name, text in site.messages.items():
        if text != base.messages[name]:
            own = _names(parser.parse(base.messages[name]))
            yield from _faults(parser, text, f"{MESSAGES}: {name}", own, attributes)


def _faults(
    parser: Environment, text: str, place: str, names: frozenset[str], attributes: frozenset[str]
) -> Iterator[str]:
    try:
        tree = parser.parse(text)
        used = _names(tree)
    except TemplateSyntaxError as error:
        yield f"{place}: line {error.lineno}: {error.message}"
        return
    for name in sorted(used - names):
        yield f"{place}: {{{{ {name} }}}}: there is no such value here; expected one of {', '.join(sorted(names))}"
    for name in sorted({node.attr for node in tree.find_all(nodes.Getattr)} - attributes):
        yield f"{place}: .{name}: nothing in a card has it"


def _names(tree: nodes.Template) -> frozenset[str]:
    """Values that a template is given: names that it reads and does not make itself."""
    return frozenset(meta.find_undeclared_variables(tree))


def _attributes(base: Wording, parser: Environment) -> frozenset[str]:
    trees = [parser.parse(text) for text in (*base.templates.values(), *base.messages.values())]
    shown = {name for kind in SHOWN for name in dir(kind) if not name.startswith("_")}
    return frozenset(shown | {node.attr for tree in trees for node in tree.find_all(nodes.Getattr)})


FILTERS = frozenset(
    {
        *("as_reported", "clock", "code", "codes", "day", "decimals", "limit", "name", "number", "own", "phrase"),
        *("recognised", "reported", "reports", "sentence", "some", "therapy", "unit", "value", "whole", "zip"),
    }
)
"""Filters of cards, besides Jinja2's own."""
