"""The words on cards: Jinja2 templates and messages of `cards_templates/`, compiled at start-up.

Everything a template prints passes `_print`: text that came from outside is escaped for Markdown and cannot
become a link, an image or HTML; our own texts and formatted numbers are marked `Own` and printed as they are.
A name that is missing is an error (StrictUndefined), never an empty place in a card.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from cds_service.chart import Condition, Draft, Measurement, Supply, Therapy, When
from cds_service.hooks.templates import compiled, filled
from cds_service.hooks.wording import Wording, shipped
from cds_service.knowledge.model import Knowledge, Rule
from cds_service.knowledge.units import for_display, normalise_unit
from cds_service.knowledge.vocabulary import Evidence
from cds_service.knowledge.voice import ISO
from cds_service.rules.outcome import Line

LONGEST_SUMMARY = 139
LONGEST_FOREIGN = 100
MOST_DIGITS = 20
"""Digits before or after the point beyond which a number is written with an exponent."""

PRECISION = {"year": 4, "month": 7}
"""Characters of an ISO date that were written."""

HARMLESS = re.compile(r"[A-Za-z][A-Za-z0-9%,/()+-]*(?: [A-Za-z0-9%,/()+-]+)*")
"""Text in which nothing has to be escaped, cleaned or taken apart: most names and units."""
SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~!&])")
LISTED = re.compile(r"^(\d*)([-+=.)])(?!\d)")
# What Markdown readers make a link of by themselves: addresses, e-mail, and (beyond GFM) bare names of hosts.
HOST = re.compile(r"(?i)(?<=www)\.")
LINKS = re.compile(r"://|@|(?<=\w)\.(?=[^\W\d_]{2})")
UNLINKED = {"://": ": //", "@": "(at)", ".": ". "}
BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
# What shows nothing, or turns the direction of what follows; half a surrogate pair cannot be sent at all.
HIDDEN = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


class Own(str):
    """Text of ours: printed as it is."""

    __slots__ = ()


def plain(text: str, longest: int = LONGEST_FOREIGN) -> str:
    """Foreign text on one line, without control characters, cut at `longest` characters."""
    text = text.strip()
    if len(text) <= longest and text.isascii() and text.isprintable() and "  " not in text:
        return text
    line = BLANK.sub(" ", HIDDEN.sub("", text)).strip()
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def escape(text: str, longest: int = LONGEST_FOREIGN) -> str:
    """Foreign text made inert for GitHub-flavoured Markdown: no markup, no HTML, no automatic links."""
    if len(text) <= longest and HARMLESS.fullmatch(text):
        return text
    unlinked = LINKS.sub(lambda match: UNLINKED[match[0]], HOST.sub(" .", plain(text, longest)))
    return LISTED.sub(r"\1\\\2", SPECIAL.sub(r"\\\1", unlinked))


def as_code(text: str) -> Own:
    """Foreign text as a code span."""
    return Own("`" + (plain(text).replace("`", "'") or "?") + "`")


def summary_of(text: str) -> str:
    """A summary: one line of plain text of at most 139 characters (CDS Hooks: fewer than 140)."""
    return plain(text, LONGEST_SUMMARY)


def _print(value: object) -> str:
    if type(value) is Own:
        return value
    return str(value) if type(value) is int else escape(str(value))


class Words:
    """The words of a site, bound to the knowledge that they speak of."""

    def __init__(self, knowledge: Knowledge, wording: Wording | None = None) -> None:
        """Compile everything; a broken template stops the start. `wording` None: the words as they are shipped."""
        self.knowledge = knowledge
        self.wording = wording or shipped()
        self.voice = self.wording.voice
        locale = self.wording.locale
        self.day: Callable[[Any], Own] = day if locale == ISO else lambda when: day(when, locale.date)
        self._digits: Callable[[str], str] = str if locale == ISO else locale.number
        self._rest: dict[int, str] = {}
        detail = self._environment(_print if locale == ISO else lambda value: _print(self._shown(value)))
        summary = self._environment(lambda value: value if type(value) is Own else plain(str(self._shown(value))))
        sources = {name: self.wording.source(name) for name in self.wording.templates}
        messages = self.wording.messages
        own = {rule.spec["summary"] for rule in knowledge.rules if "summary" in rule.spec}
        as_shipped = (self.wording.templates, messages) == (shipped().templates, shipped().messages)
        details = compiled(detail, [*sources.values(), *messages.values()], "details" if as_shipped else "")
        summaries = compiled(summary, [*sources.values(), *own], "summaries" if as_shipped else "")
        self._details = {name.removesuffix(".md"): details[text] for name, text in sources.items()}
        self._summaries = {name.removesuffix(".md"): summaries[text] for name, text in sources.items()}
        self._messages = {name: details[text] for name, text in messages.items()}
        self._fixed = {name: Own(" ".join(text.split())) for name, text in messages.items() if "{" not in text}
        self.rules = {rule.id: rule for rule in knowledge.rules}
        areas = {name.removeprefix("area_"): text for name, text in messages.items() if name.startswith("area_")}
        markers = {key: marker.name for key, marker in knowledge.markers.items()}
        concepts = {key: concept.name for key, concept in knowledge.concepts.items()}
        named = {rule.id: self._subject(rule) for rule in knowledge.rules} | concepts | areas | markers
        self._names = {area: Own(name) for area, name in named.items()}
        tests = [test.name for test in knowledge.tests.values()]
        self._sentences = {name: _capitalised(name) for name in (*markers.values(), *tests)}
        self._schedules = {protocol.key: protocol.schedules for protocol in knowledge.protocols}
        self._basis = dict(self._bases(self._details["basis"]))
        self._own_summaries = {text: summaries[text] for text in own}

    def _shown(self, value: object) -> object:
        return self._digits(str(value)) if isinstance(value, Decimal) else value

    def _environment(self, printer: Callable[[Any], str]) -> Environment:
        environment = Environment(
            undefined=StrictUndefined,
            finalize=printer,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            auto_reload=False,
        )
        environment.filters.update(
            as_reported=self.as_reported,
            clock=clock,
            code=as_code,
            codes=lambda texts: Own(", ".join([as_code(text) for text in texts])),
            day=self.day,
            decimals=self.decimals,
            limit=self.limit,
            name=self.name,
            number=self.number,
            own=Own,
            phrase=self.phrase,
            recognised=self.recognised,
            reported=reported,
            reports=lambda results: [self.as_reported(result) for result in results],
            sentence=self.sentence,
            some=self.some,
            therapy=self.therapy,
            unit=lambda marker: Own(self.knowledge.markers[marker].unit_display),
            value=self.value,
            whole=lambda text: Own(escape(text, LONGEST_SUMMARY)),
            zip=zip,
        )
        return environment

    # -- formats -------------------------------------------------------------------------------------

    def number(self, value: Decimal, marker: str) -> Own:
        """A canonical value at the marker's display precision with its unit: `54.0 %`."""
        known = self.knowledge.markers[marker]
        return Own(f"{self._digits(_written(for_display(known, value)))} {known.unit_display}".strip())

    def limit(self, value: Decimal, marker: str) -> Own:
        """A limit with its unit, without zeros that say nothing: `54 %`."""
        known = self.knowledge.markers[marker]
        return Own(f"{self._digits(_written(for_display(known, value).normalize()))} {known.unit_display}".strip())

    def value(self, measurement: Measurement) -> Own:
        """A result as it is compared: `55.2 %`, `>150 ng/dL`."""
        if measurement.value is None:
            return Own(escape(reported(measurement)))
        return Own(measurement.comparator + self.number(measurement.value, measurement.marker))

    def as_reported(self, measurement: Measurement) -> str:
        """The result as the laboratory wrote it, '' where that is the number and the unit that `value` shows."""
        known = self.knowledge.markers[measurement.marker]
        if measurement.value is None:
            return ""
        unit = self.knowledge.spellings.get(normalise_unit(measurement.reported_unit), "")
        try:
            same = Decimal(measurement.reported.lstrip("<>= ")) == for_display(known, measurement.value)
        except InvalidOperation:
            same = False
        return "" if same and unit == known.unit else reported(measurement)

    def name(self, area: str) -> Own:
        """Name of a marker or another area of the chart, as in a sentence; of a rule what it looks at."""
        if isinstance(area, Own):
            return area
        return self._names.get(area) or Own(escape(area))

    def _subject(self, rule: Rule) -> str:
        marker = self.knowledge.markers.get(rule.spec.get("marker", ""))
        return marker.name if marker else rule.title

    def therapy(self, course: Therapy | Draft | Supply) -> str:
        """Agent and form of a course, a draft or one product."""
        return course.agent if course.form == "unknown" else f"{course.agent} ({self.phrase(course.form)})"

    def phrase(self, text: str) -> str:
        """Words of the service for what it read, as the site says them; anything else as it is."""
        return self.voice.put(text)

    def recognised(self, text: str) -> str:
        """From what a therapy was recognised, `RxNorm product 835829`, as the site says it."""
        return self.voice.recognised(text)

    def decimals(self, number: Decimal, places: int) -> Own:
        """A number of so many decimals, rounded half up."""
        return Own(self._digits(f"{number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):f}"))

    def some(self, names: Sequence[str], lead: str) -> Own:
        """As many of our names as fit into a summary after `lead`, at least one, and how many more there are."""
        for count in range(len(names), 0, -1):
            rest = len(names) - count
            text = ", ".join(names[:count]) + (self._more(rest) if rest else "")
            if count == 1 or len(lead) + len(text) <= LONGEST_SUMMARY:
                return Own(text)
        return Own("")

    def _more(self, rest: int) -> str:
        if rest not in self._rest:
            self._rest[rest] = f" {self.say('and_more', count=rest)}"
        return self._rest[rest]

    def sentence(self, text: str) -> Own:
        """Own words as the beginning of a sentence: `PSA` stays, `hematocrit` becomes `Hematocrit`."""
        return self._sentences.get(text) or _capitalised(text)

    def onset(self, condition: Condition) -> Own:
        """Date of a condition for a summary, `` of 2026-05-01``, that of its record if need be, or ''."""
        shown = self.day(condition)
        if not shown:
            return Own("")
        told = self.say("onset_of", day=shown) if condition.onset else self.say("onset_unknown", day=shown)
        return Own(f" {told}")

    # -- texts ---------------------------------------------------------------------------------------

    def line(self, line: Line) -> Own:
        """A sentence of a card."""
        return self.say(line.message, text=Own(line.text), **line.values) if line.message else Own(line.text)

    def say(self, message: str, /, **values: Any) -> Own:
        """A message of `messages.yaml` on one line."""
        fixed = self._fixed.get(message)
        return fixed or Own(" ".join(filled(self._messages[message], values).split()))

    def summary(self, template: str, own: str, values: dict[str, Any]) -> str:
        """Summary of a card: the rule's own words if it has some, else the template's `summary` block."""
        return summary_of(self.uncut(template, own, values))

    def uncut(self, template: str, own: str, values: dict[str, Any]) -> str:
        """The same as it comes out of the template, however long it is."""
        if own:
            return filled(self._own_summaries[own], values)
        return filled(self._summaries[template], values, "summary")

    def _bases(self, template: Template) -> Iterator[tuple[tuple[str, str], Own]]:
        for rule in self.knowledge.rules:
            for profile in ("", *(self._schedules[rule.protocol] if rule.kind == "schedule" else ())):
                evidence = [(self.knowledge.sources[e.source], e) for e in self.evidence(rule, profile)]
                differs = (self._schedules[rule.protocol][profile].differs if profile else "") or rule.differs
                values = {"differs": Own(differs), "evidence": evidence}
                yield (rule.id, profile), Own(filled(template, values).strip())

    def evidence(self, rule: Rule, profile: str) -> tuple[Evidence, ...]:
        """What a card rests on: the schedule of the profile that it tells, else the rule itself."""
        return self._schedules[rule.protocol][profile].evidence if profile else rule.evidence

    def basis(self, rule: Rule, profile: str = "") -> Own:
        """Guideline with strength, and where others differ: the same on every card of a rule and profile."""
        return self._basis[rule.id, profile]

    def detail(self, template: str, values: dict[str, Any]) -> str:
        """Detail of a card in Markdown: paragraphs parted by one empty line."""
        text = filled(self._details[template], values, "detail")
        while "\n\n\n" in text:
            text = text.replace("\n\n\n", "\n\n")
        return text.strip()


def _capitalised(text: str) -> Own:
    return Own(text[:1].upper() + text[1:])


def reported(measurement: Measurement) -> str:
    """A result as the laboratory wrote it."""
    return f"{measurement.reported} {measurement.reported_unit}".strip()


def _written(number: Decimal) -> str:
    """A number in digits; with an exponent only where the digits would fill the card."""
    return f"{number:f}" if abs(number.adjusted()) < MOST_DIGITS else str(number)


def day(when: date | When | Measurement | Condition | None, write: Callable[[str], str] = str) -> Own:
    """A day in the precision in which it was written (`2026-11`); of a condition its onset, else its record.

    `write` puts an ISO date as the site does.
    """
    if isinstance(when, Measurement):
        when = when.when
    elif isinstance(when, Condition):
        when = when.onset or when.recorded
    if when is None:
        return Own("")
    if isinstance(when, date):
        return Own(write(when.isoformat()))
    first = write(when.day.isoformat()[: PRECISION.get(when.precision, 10)])
    return Own(f"{first} – {write(when.last_day.isoformat())}" if when.precision == "period" else first)


def clock(measurement: Measurement) -> Own:
    """Time of collection as it was written, `07:30`; '' if only the day is known."""
    when = measurement.when
    if when is None or when.hour is None:
        return Own("")
    return Own(f"{when.hour:02d}:{when.minute or 0:02d}")
