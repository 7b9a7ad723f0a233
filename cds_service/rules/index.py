"""What the rules look up in a knowledge base again and again, looked up once."""

from __future__ import annotations

from cds_service.knowledge.kept import Kept
from cds_service.knowledge.model import Knowledge, Rule
from cds_service.rules.outcome import Outcome


class Index:
    """Look-ups over one `Knowledge`; holds nothing of any patient."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._rules = [rule for rule in knowledge.rules if rule.status == "active"]
        self._of_hook: dict[str, tuple[Rule, ...]] = {}
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
        self.outside = {
            rule.id: Outcome(rule.id, "not applicable", "does not apply to this patient", applies=False)
            for rule in knowledge.rules
        }
        """By rule: how it ends for a patient whom it is not about."""

    def _is_therapy(self, rule: Rule) -> bool:
        return self.protocols[rule.protocol].about_therapy

    def rules(self, hook: str) -> tuple[Rule, ...]:
        """The active rules of a hook, in their order."""
        found = self._of_hook.get(hook)
        if found is None:
            found = self._of_hook[hook] = tuple(rule for rule in self._rules if hook in rule.hooks)
        return found


INDEX = Kept(Index)
