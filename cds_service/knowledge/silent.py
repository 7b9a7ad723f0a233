"""Rules that a site only watches: judged and recorded, not shown."""

from __future__ import annotations

from cds_service.knowledge.model import Knowledge
from cds_service.settings import Settings, SettingsError


def silent_rules(settings: Settings, knowledge: Knowledge) -> frozenset[str]:
    """The ids of `[silent] rules`. Raises SettingsError for an id that no rule bears, and for one that must speak.

    What could not be judged is told as long as anything is: without that, no card would look like no finding.
    """
    kinds = {rule.id: rule.kind for rule in knowledge.rules}
    problems = []
    for name in settings.silent_rules:
        if name not in kinds:
            problems.append(f"silent.rules: no rule is called {name!r}")
        elif kinds[name] == "quality":
            problems.append(f"silent.rules: {name} tells what could not be judged and cannot be silent by itself")
    if problems:
        raise SettingsError(problems)
    return frozenset(settings.silent_rules)
