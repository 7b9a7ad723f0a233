"""Result codes that no rule reads although their name looks like one of our markers: candidates for the overlay.

Counted in the process that met them, since its start; nothing is kept of the results themselves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from cds_service.chart import Refused

MOST = 500
"""Different codes that are counted; what comes after them is only counted together."""
_PLAIN = re.compile(r"[\x21-\x7e]{1,120}")
"""What a code or a system looks like. Blanks would let through sentences, and names."""

Key = tuple[str, str, str, str]
"""Client, system, code, marker that it resembles."""


class Unmapped:
    """The counts of one process."""

    def __init__(self) -> None:
        self.counts: Counter[Key] = Counter()
        self.others = 0
        """Met after the table was full."""

    def note(self, client: str, refused: Iterable[Refused]) -> None:
        """Count the codes of the results that were not read."""
        for one in refused:
            if not one.resembles:
                continue
            system, code = one.code
            if not _PLAIN.fullmatch(code) or (system and not _PLAIN.fullmatch(system)):
                continue
            key = (client, system, code, one.resembles)
            if key in self.counts or len(self.counts) < MOST:
                self.counts[key] += 1
            else:
                self.others += 1
