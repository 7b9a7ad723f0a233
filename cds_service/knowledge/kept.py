"""What is worked out once for a knowledge base and used by every call: indexes, compiled predicates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from cds_service.knowledge.model import Knowledge

T = TypeVar("T")

MOST = 8
"""Knowledge bases for which it is kept: a process has one, tests have several."""


class Kept(Generic[T]):
    """One such thing: `of` makes it for a knowledge base, or finds it again."""

    def __init__(self, make: Callable[[Knowledge], T]) -> None:
        self._make = make
        # The knowledge is kept beside what was made for it, so that its id stays its own.
        self._made: dict[int, tuple[Knowledge, T]] = {}

    def of(self, knowledge: Knowledge) -> T:
        """What was made for this knowledge base."""
        found = self._made.get(id(knowledge))
        if found is None:
            if len(self._made) >= MOST:
                self._made.clear()
            found = self._made[id(knowledge)] = (knowledge, self._make(knowledge))
        return found[1]
