"""What the rules look up in a knowledge base again and again, looked up once."""

from __future__ import annotations

from typing import Any

from cds_service.knowledge.kept import Kept
from cds_service.knowledge.model import Knowledge, Rule


class Index:
    """Look-ups over one `Knowledge`; holds nothing of any patient."""

    def __init__(self, knowledge: Knowledge) -> None:
        self.protocols = {protocol.key: protocol for protocol in knowledge.protocols}
        self.about_therapy = frozenset(
            rule.id
            for rule in knowledge.rules
            if rule.kind != "quality" and rule.protocol in self.protocols and self._is_therapy(rule)
        )
        """Ids of the rules of a protocol that is about a therapy."""
        self.counted_as: dict[str, tuple[str, ...]] = {}
        """Marker -> markers whose results count as its own."""
        for key, marker in sorted(knowledge.markers.items()):
            if marker.counts_as:
                self.counted_as[marker.counts_as] = (*self.counted_as.get(marker.counts_as, ()), key)
        self.shown_by = {key: frozenset[str]().union(*test.done_by) for key, test in knowledge.tests.items()}
        """By test: the markers whose results show that it was done."""
        self.done_by = {
            key: self.with_counted(self.shown_by[key] | test.same_day) for key, test in knowledge.tests.items()
        }
        """By test: the markers without any result of which it is not done."""

        self.made: dict[int, tuple[Any, Any]] = {}
        """What `Context.once` has worked out, beside that of which it was, by the id of that."""

    def _is_therapy(self, rule: Rule) -> bool:
        return self.protocols[rule.protocol].about_therapy

    def with_counted(self, markers: frozenset[str]) -> frozenset[str]:
        """These markers and those whose results count as theirs."""
        return markers.union(*(self.counted_as[marker] for marker in markers & self.counted_as.keys()))


INDEX = Kept(Index)
