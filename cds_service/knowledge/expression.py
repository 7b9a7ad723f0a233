"""A regular expression of the knowledge."""

from __future__ import annotations

import re
from collections.abc import Callable


class Expression:
    """Matches in any case. One that is remembered from an earlier start is compiled when it is first asked.

    There are over a hundred of them; most calls ask one or two.
    """

    __slots__ = ("pattern", "search")

    pattern: str
    search: Callable[[str], re.Match[str] | None]

    def __init__(self, pattern: str) -> None:
        """Raises re.error."""
        self.pattern = pattern
        self._compile()

    def _compile(self) -> None:
        self.search = re.compile(self.pattern, re.IGNORECASE).search

    def __getattr__(self, name: str) -> Callable[[str], re.Match[str] | None]:
        """`search` when it is not there yet: after that it is, and costs nothing more."""
        if name != "search":
            raise AttributeError(name)
        self._compile()
        return self.search

    def __getstate__(self) -> str:
        return self.pattern

    def __setstate__(self, pattern: str) -> None:
        self.pattern = pattern

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and other.pattern == self.pattern

    def __hash__(self) -> int:
        return hash(self.pattern)
