"""Result codes that no rule reads although their name looks like one of our markers: candidates for the overlay."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from cds_service.chart import Refused
from cds_service.feedback.codes import Code

_PLAIN = re.compile(r"[\x21-\x7e]{1,120}")
"""What a code or a system looks like. Blanks would let through sentences, and names."""


def unmapped(refused: Iterable[Refused]) -> Counter[Code]:
    """The codes among what was not read, and how many results had each; nothing else of the results."""
    found: Counter[Code] = Counter()
    for one in refused:
        if not one.resembles:
            continue
        system, code = one.code
        if _PLAIN.fullmatch(code) and (not system or _PLAIN.fullmatch(system)):
            found[system, code, one.resembles] += 1
    return found
