"""The words on cards: Jinja2 templates and messages of `cards_templates/`, compiled at start-up.

Everything a template prints passes `_print`: text that came from outside is escaped for Markdown and cannot
become a link, an image or HTML; our own texts and formatted numbers are marked `Own` and printed as they are.
A name that is missing is an error (StrictUndefined), never an empty place in a card.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from cds_service.chart import Condition, Draft, Measurement, Therapy
from cds_service.knowledge.model import Knowledge, Rule
from cds_service.knowledge.units import for_display
from cds_service.rules.outcome import Line

LONGEST_SUMMARY = 139
LONGEST_FOREIGN = 100
SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~!&])")
AT_START = re.compile(r"^([-+=]+|\d+[.)])(?=\s|$)")
LINKS = re.compile(r"(?i)://|www\.|@")
INVISIBLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


class Own(str):
    """Text of ours: printed as it is."""

    __slots__ = ()


def plain(text: str, longest: int = LONGEST_FOREIGN) -> str:
    """Foreign text on one line, without control characters, cut at `longest` characters."""
    line = INVISIBLE.sub(" ", text).strip()
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def escape(text: str) -> str:
    """Foreign text made inert for GitHub-flavoured Markdown: no markup, no HTML, no automatic links."""
    unlinked = LINKS.sub(_unlink, plain(text))
    return AT_START.sub(r"\\\1", SPECIAL.sub(r"\\\1", unlinked))


def _unlink(match: re.Match[str]) -> str:
    return {":": ": //", "w": "www. ", "@": "(at)"}[match[0][0].lower()]


def summary_of(text: str) -> str:
    """A summary: one line of plain text of at most 139 characters (CDS Hooks: fewer than 140)."""
    return plain(text, LONGEST_SUMMARY)


def _print(value: object) -> str:
    return value if isinstance(value, Own) else escape(str(value))


class Words:
    """Templates and messages of one folder, bound to the knowledge that they speak of."""

    def __init__(self, knowledge: Knowledge, folder: Path | None = None) -> None:
        """Compile everything; a broken template stops the start."""
        self.knowledge = knowledge
        self.folder = folder or templates_folder()
        detail = self._environment(_print)
        summary = self._environment(lambda value: plain(str(value)))
        names = [path.name for path in self.folder.glob("*.md")]
        self._details = {name.removesuffix(".md"): detail.get_template(name) for name in names}
        self._summaries = {name.removesuffix(".md"): summary.get_template(name) for name in names}
        messages = yaml.safe_load((self.folder / "messages.yaml").read_text(encoding="utf-8"))
        self._messages = {name: detail.from_string(text) for name, text in messages.items()}
        own = {rule.spec["summary"] for rule in knowledge.rules if "summary" in rule.spec}
        self._basis = {rule.id: self._basis_of(rule, detail.get_template("basis.md")) for rule in knowledge.rules}
        self._own_summaries = {text: summary.from_string(text) for text in own}

    def _environment(self, printer: Callable[[Any], str]) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(self.folder),
            undefined=StrictUndefined,
            finalize=printer,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            auto_reload=False,
        )
        environment.filters.update(
            day=lambda when: Own(when.isoformat() if isinstance(when, date) else str(when)),
            value=self.value,
            number=self.number,
            reported=reported,
            own=Own,
            name=self.name,
            therapy=self.therapy,
            when=moment,
            sentence=self.sentence,
        )
        environment.globals.update(line=self.line, markers=self.knowledge.markers, tests=self.knowledge.tests)
        return environment

    # -- formats -------------------------------------------------------------------------------------

    def number(self, value: Decimal, marker: str) -> Own:
        """A canonical value at the marker's display precision with its unit."""
        known = self.knowledge.markers[marker]
        shown = for_display(known, value)
        return Own(f"{shown:f} {known.unit_display}".strip())

    def value(self, measurement: Measurement) -> Own:
        """A result as it is compared: `55.2 %`, `>150 ng/dL`."""
        if measurement.value is None:
            return Own(escape(reported(measurement)))
        return Own(measurement.comparator + self.number(measurement.value, measurement.marker))

    def name(self, marker: str) -> Own:
        """Name of a marker or an area, as in a sentence."""
        known = self.knowledge.markers.get(marker)
        return Own(known.name if known else marker)

    def therapy(self, course: Therapy | Draft) -> str:
        """Agent and form of a course or draft."""
        return course.agent if course.form == "unknown" else f"{course.agent} ({course.form})"

    @staticmethod
    def sentence(text: str) -> Own:
        """Own words as the beginning of a sentence: `PSA` stays, `hematocrit` becomes `Hematocrit`."""
        return Own(text[:1].upper() + text[1:])

    def onset(self, condition: Condition) -> str:
        """Date of a condition for a summary, `` of 2026-05-01``, or ''."""
        shown = moment(condition)
        return f" of {shown}" if shown else ""

    # -- texts ---------------------------------------------------------------------------------------

    def line(self, line: Line) -> Own:
        """A sentence of a card."""
        return self.say(line.message, text=Own(line.text), **line.values) if line.message else Own(line.text)

    def say(self, message: str, /, **values: Any) -> Own:
        """A message of `messages.yaml` on one line."""
        return Own(" ".join(self._messages[message].render(**values).split()))

    def summary(self, template: str, own: str, values: Mapping[str, Any]) -> str:
        """Summary of a card: the rule's own words if it has some, else the template's `summary` block."""
        if own:
            return summary_of(self._own_summaries[own].render(values))
        return summary_of(_block(self._summaries[template], "summary", values))

    def _basis_of(self, rule: Rule, template: Template) -> Own:
        evidence = [(self.knowledge.sources[e.source], e) for e in rule.evidence]
        return Own(template.render(rule=rule, differs=Own(rule.differs), evidence=evidence).strip())

    def basis(self, rule: Rule) -> Own:
        """Guideline with strength, where others differ, rule id and version: the same on every card of a rule."""
        return self._basis[rule.id]

    def detail(self, template: str, values: Mapping[str, Any]) -> str:
        """Detail of a card in Markdown: paragraphs parted by one empty line."""
        text = _block(self._details[template], "detail", values)
        return re.sub(r"\n{3,}", "\n\n", text).strip()


def _block(template: Template, block: str, values: Mapping[str, Any]) -> str:
    return "".join(template.blocks[block](template.new_context(dict(values))))


def reported(measurement: Measurement) -> str:
    """A result as the laboratory wrote it."""
    return f"{measurement.reported} {measurement.reported_unit}".strip()


def moment(condition: Condition) -> Own:
    """Onset (else date of record) of a condition, in the precision in which it was written; '' if none."""
    when = condition.onset or condition.recorded
    if when is None:
        return Own("")
    length = {"year": 4, "month": 7}.get(when.precision, 10)
    return Own(when.day.isoformat()[:length])


def templates_folder() -> Path:
    """`cards_templates/`: inside the installed package, or beside it in a source checkout."""
    inside = Path(__file__).parents[1] / "cards_templates"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "cards_templates"
