"""Units of measurement: from what laboratories write to UCUM, and from there to a marker's own unit.

All arithmetic is decimal. Nothing here rounds, except `for_display` and what rests on it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from functools import lru_cache

from cds_service.knowledge.systems import UCUM
from cds_service.knowledge.vocabulary import Marker

# Wide enough that no product of a laboratory value and a factor is rounded. An absurd exponent becomes an
# infinity, which is outside every plausible range, rather than an exception.
_EXACT = Context(prec=200, rounding=ROUND_HALF_UP, traps=[InvalidOperation])
_THREE_DIGITS = Context(prec=3, rounding=ROUND_HALF_UP, traps=[InvalidOperation])
# With more digits before the point a value is no laboratory result; rounding it would only cost memory.
_MOST_DIGITS = 100

_SPACES = re.compile(r"\s+")
MOST_SPELLINGS = 2000
LONGEST_UNIT = 50
"""How many spellings of units are remembered, and of how many characters: those of many laboratories."""

_GRAM_PREFIX = re.compile(r"mc(?=g)")


def normalise_unit(text: str) -> str:
    """A unit as the spelling table knows it: no spaces, micro sign and `mc` of gram as `u`, case folded."""
    return _remembered(text) if len(text) <= LONGEST_UNIT else _normalised(text)


def _normalised(text: str) -> str:
    folded = _SPACES.sub("", unicodedata.normalize("NFKC", text)).casefold()
    return _GRAM_PREFIX.sub("u", folded.replace("\N{GREEK SMALL LETTER MU}", "u"))


_remembered = lru_cache(MOST_SPELLINGS)(_normalised)


def resolve_unit(unit: str, system: str, code: str, spellings: Mapping[str, str]) -> str | None:
    """The UCUM unit of a Quantity, '' if it names none at all, None if it names one that is not known.

    `code` decides where `system` is UCUM; else the human-readable `unit` does. A unit that is there but unknown
    is never replaced by the other field: what contradicts itself is not compared.
    """
    text = code if code.strip() and (system == UCUM or not unit.strip()) else unit
    normal = normalise_unit(text)
    return spellings.get(normal) if normal else ""


def to_canonical(marker: Marker, value: Decimal, ucum: str) -> Decimal:
    """The value in the marker's canonical unit, exactly. KeyError if the marker has no factor for `ucum`."""
    factor, offset = marker.factors[ucum]
    return _EXACT.add(_EXACT.multiply(value, factor), offset)


def infer_unit(marker: Marker, value: Decimal) -> str:
    """The unit that a value without one must have had, '' if this marker or value allows no inference."""
    for guess in marker.infer:
        if guess.low <= value <= guess.high:
            return guess.unit
    return ""


def plausible(marker: Marker, value: Decimal) -> bool:
    """True if the canonical, unrounded value lies in the marker's plausible range, ends included."""
    return (marker.low is None or value >= marker.low) and (marker.high is None or value <= marker.high)


def for_display(marker: Marker, value: Decimal) -> Decimal:
    """The canonical value rounded half up to the marker's decimals, or to three significant digits.

    Limits are compared with this rounded value. A number too long to be a result comes back unrounded.
    """
    if not value.is_finite() or value.adjusted() > _MOST_DIGITS:
        return value
    if marker.decimals is None:
        return _THREE_DIGITS.plus(value)
    return value.quantize(_step(marker.decimals), context=_EXACT)


@lru_cache
def _step(decimals: int) -> Decimal:
    """The smallest difference that so many decimals show."""
    return Decimal(1).scaleb(-decimals)


def display_text(marker: Marker, value: Decimal) -> str:
    """The rounded value as people write it, without unit: `54.0`, `577`, `1230`; never with an exponent."""
    return f"{for_display(marker, value):f}"
