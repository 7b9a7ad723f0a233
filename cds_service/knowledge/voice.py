"""How the service puts what it found: in its own phrases or a site's, with the numbers and dates of a locale."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal

import msgspec

from cds_service.chart import Phrase

_BRACES = re.compile(r"\{(\w+)\}")
RECOGNISED = ("RxNorm product", "RxNorm ingredient", "local drug code", "ATC", "free text")
_NUMBER = re.compile(r"-?\d+\.\d+")


class Locale(msgspec.Struct, frozen=True):
    """How numbers and dates are written."""

    decimal: str = "."
    day: str = "YYYY-MM-DD"
    month: str = "YYYY-MM"

    def date(self, iso: str) -> str:
        """An ISO date of any precision, `2026-11-22`, `2026-11`, `2026` or '', as it is written here.

        What follows a day after a blank, such as the time of day, stays.
        """
        year, month, day = (*iso.split("-"), "", "")[:3]
        day, clock, time = day.partition(" ")
        pattern = self.day if day else self.month if month else "YYYY"
        return pattern.replace("YYYY", year).replace("MM", month).replace("DD", day) + clock + time

    def number(self, digits: str) -> str:
        """A number of digits and a point, as it is written here."""
        return digits.replace(".", self.decimal)


ISO = Locale()


class Voice(msgspec.Struct, frozen=True):
    """The words of a site for the phrases of the service, and its locale."""

    phrases: Mapping[str, str] = {}
    """Only those that were reworded."""
    locale: Locale = ISO

    def say(self, phrase: str, /, **values: object) -> str:
        """A phrase with the values in its `{braces}`. Every phrase stands in `cards_templates/phrases.yaml`."""
        return _BRACES.sub(lambda found: self.shown(values[found[1]]), self.phrases.get(phrase, phrase))

    def put(self, text: str) -> str:
        """Words of the service, with or without values in them."""
        return self.say(text.phrase, **text.values) if isinstance(text, Phrase) else self.phrases.get(text, text)

    def recognised(self, text: str) -> str:
        """From what a therapy was recognised, `RxNorm product 835829`."""
        for known in RECOGNISED if self.phrases else ():
            if text.startswith(f"{known} "):
                return self.say(known) + text[len(known) :]
        return text

    def day(self, iso: str) -> str:
        """An ISO date as it is written here; '' for ''."""
        return self.locale.date(iso) if iso else ""

    def shown(self, value: object) -> str:
        """A value as it stands in a sentence: dates and decimal numbers by the locale, texts as they are."""
        if isinstance(value, date):
            return self.locale.date(value.isoformat())
        text = f"{value:f}" if isinstance(value, Decimal) else str(value)
        return self.locale.number(text) if _NUMBER.fullmatch(text) else text


def braces(phrase: str) -> frozenset[str]:
    """Names of the values that go into a phrase."""
    return frozenset(_BRACES.findall(phrase))
