"""Which of our markers a result seems to be about by its name, although its code is not one that is read.

For the people who look after the codes of a site: nothing is judged by a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import chain

import msgspec
from msgspec import Raw

from cds_service.chart import Refused
from cds_service.fhir.decoding import UnreadableError, given, loosely
from cds_service.fhir.resources import Concept
from cds_service.fhir.terms import fold
from cds_service.knowledge.vocabulary import Marker

_CONCEPT = msgspec.json.Decoder(Concept)
_WORDS = re.compile(r"[^\W_]+")

Index = Mapping[str, tuple[tuple[frozenset[str], str], ...]]
"""One word of a marker's name -> all words of the name, and the marker."""


def stranger(source: str, code: Raw, markers: Mapping[str, Marker]) -> Refused:
    """The refusal of a result whose code is none of ours, with the marker that it resembles."""
    try:
        concept = loosely(code, _CONCEPT) if given(code) else Concept()
    except UnreadableError:  # a text that is no text: then it resembles nothing
        concept = Concept()
    codings = concept.coding or ()
    marker = resembling((concept.text, *(coding.display for coding in codings)), markers)
    first = next((coding for coding in codings if coding.code), None)
    named = (first.system or "", first.code or "") if first and marker else ("", "")
    return Refused(
        source, "unknown_code", "its code is not among those that are read", code=named, resembles=marker
    )


def resembling(names: Iterable[str | None], markers: Mapping[str, Marker]) -> str:
    """Key of the marker all of whose name's words stand in one of the names; the longest such name; '' if none."""
    index = _index(tuple((key, marker.name) for key, marker in markers.items()))
    best: tuple[int, str] = (0, "")
    for name in names:
        words = frozenset(_WORDS.findall(fold(name or "")))
        for wanted, marker in chain.from_iterable(index.get(word, ()) for word in words):
            if len(wanted) > best[0] and wanted <= words:
                best = (len(wanted), marker)
    return best[1]


@lru_cache(maxsize=4)
def _index(names: tuple[tuple[str, str], ...]) -> Index:
    index: dict[str, list[tuple[frozenset[str], str]]] = {}
    for marker, name in names:
        words = frozenset(_WORDS.findall(fold(name)))
        index.setdefault(max(words, key=lambda word: (len(word), word)), []).append((words, marker))
    return {word: tuple(found) for word, found in index.items()}
