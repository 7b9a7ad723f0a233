"""A pseudo-translation of the whole service: every Latin letter of ours becomes a Greek one.

`write_site` writes it as a site's folder, so that it takes the way of a real translation. `left_over` then finds
every sequence of Latin letters that nobody could have translated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from cds_service.hooks.wording import shipped, templates_folder
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.texts import as_yaml, texts_of
from cds_service.web.page_words import shipped as page_words

GREEK = str.maketrans(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "αβγδεφγηιικλμνοπκρστυβωξψζΑΒΓΔΕΦΓΗΙΙΚΛΜΝΟΠΚΡΣΤΥΒΩΞΨΖ"
)
FILLED = re.compile(r"(\{\{.*?\}\}|\{%.*?%\}|\{\w+\})", re.DOTALL)
SAID = re.compile(r"""(?<![\w(\[])(["'])(?P<text>[A-Za-z][A-Za-z :-]*)\1(?= if | else |[ ,]|\}\[| -%\}| \}\})""")
"""A literal inside a tag of a template that is printed: `"due" if …`, `else "results" }}`, `set lead = "…"`."""
LATIN = re.compile(r"[A-Za-z]{2,}")


def pseudo(text: str, *, literals: bool = True) -> str:
    """The text with what is filled in as it was, but for literals that a tag prints."""
    parts = enumerate(FILLED.split(text))
    return "".join(
        (_tag(part) if literals else part) if place % 2 else part.translate(GREEK) for place, part in parts
    )


def _tag(tag: str) -> str:
    if "include" in tag or "block" in tag or ("==" in tag and "from memory" in tag):
        return tag
    return SAID.sub(lambda found: f"{found[1]}{found['text'].translate(GREEK)}{found[1]}", tag)


def _tree(words: Any) -> Any:
    return {name: _tree(word) for name, word in words.items()} if isinstance(words, Mapping) else pseudo(words)


def write_site(folder: Path, knowledge: Knowledge) -> Path:
    """The folder with every text of the service in pseudo-translation."""
    phrases = yaml.safe_load((templates_folder() / "phrases.yaml").read_text(encoding="utf-8"))
    pages = {**_tree(page_words()), "lang": "de"}
    files = {
        "messages.yaml": {name: pseudo(text) for name, text in shipped().messages.items()},
        "phrases.yaml": {phrase: pseudo(text) for phrase, text in phrases.items()},
        "words.yaml": pages,
    }
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    for name, text in shipped().templates.items():
        (folder / name).write_text(pseudo(text), encoding="utf-8")
    texts = {place: pseudo(text, literals=False) for place, text in texts_of(knowledge).items()}
    (folder / "knowledge.yaml").write_text(as_yaml(texts), encoding="utf-8")
    return folder


def exempt(knowledge: Knowledge) -> frozenset[str]:
    """What is no text: units, codes and ids, drugs, citations."""
    sources = (part for source in knowledge.sources.values() for part in (source.label, source.url))
    schedules = [schedule for protocol in knowledge.protocols for schedule in protocol.schedules.values()]
    wordings = [wording for rule in knowledge.rules for each in rule.by.values() for wording in each.values()]
    evidence = [one for rule in knowledge.rules for one in rule.evidence]
    evidence += [one for part in schedules for one in part.evidence]
    evidence += [one for part in wordings for one in part.evidence]
    cited = [one.section for one in evidence]
    products = (part for product in knowledge.products.values() for part in (product.agent, product.name))
    keys = (*knowledge.markers, *knowledge.tests, *knowledge.switches, *knowledge.therapies, *knowledge.concepts)
    profiles = (schedule.profile for schedule in schedules)
    chosen = (word for spec in knowledge.switch_specs.values() for word in (*spec.allowed, *knowledge.presets))
    units = {*(marker.unit_display for marker in knowledge.markers.values()), *knowledge.spellings.values()}
    ids = (part for rule in knowledge.rules for part in (rule.id, rule.topic, f"{rule.id} v{rule.version}"))
    displays = (test.order_display for test in knowledge.tests.values())
    hints = (hint.agent for pattern in knowledge.patterns for hint in getattr(pattern, "hints", ()))
    groups = (*sources, *cited, *products, *keys, *profiles, *chosen, *units, *ids, *displays, *hints)
    return frozenset(text for text in (*groups, "patient-view", "order-select", "order-sign") if LATIN.search(text))


def left_over(text: str, kept: Iterable[str]) -> list[str]:
    """Sequences of Latin letters, each with what stands around it, that are in none of the texts that are kept."""
    return list(dict.fromkeys(_left_over(text, sorted(set(kept), key=len, reverse=True))))


def _left_over(text: str, kept: list[str]) -> Iterator[str]:
    found = {word for word in kept if word in text}
    if found:
        either = "|".join(re.escape(word) for word in sorted(found, key=len, reverse=True))
        text = re.sub(rf"(?<![A-Za-z])(?:{either})(?![A-Za-z])", "·", text)
    for match in LATIN.finditer(text):
        yield f"…{text[max(0, match.start() - 25) : match.end() + 25]}…".replace("\n", " ")
