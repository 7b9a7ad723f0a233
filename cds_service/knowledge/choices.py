"""What a site chooses: profiles that preset switches (`profiles.yaml`), and the switches themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cds_service.knowledge.model import Knowledge, Rule


def choose(knowledge: Knowledge, choices: Mapping[str, Any]) -> Knowledge:
    """The knowledge of a site with these switches.

    A switch that names a profile (`thresholds: aua2018`) brings the profile's values with it; what else is in
    `choices` wins over them. Rules take the words and the evidence that they hold for the profile. Raises
    ValueError for a switch that is not known.
    """
    unknown = sorted(choices.keys() - knowledge.switches.keys())
    if unknown:
        raise ValueError(f"only known switches, not {', '.join(unknown)}")
    switches = dict(knowledge.switches)
    for name, profiles in knowledge.presets.items():
        if name in choices:
            switches.update(profiles.get(str(choices[name]), {}))
    switches.update(choices)
    rules = tuple(_worded(rule, choices) for rule in knowledge.rules)
    return msgspec.structs.replace(knowledge, switches=switches, rules=rules)


def _worded(rule: Rule, choices: Mapping[str, Any]) -> Rule:
    """The rule as it is put for the profiles among the choices."""
    for name, wordings in rule.by.items():
        wording = wordings.get(str(choices.get(name)))
        if wording is not None:
            given = {field: getattr(wording, field) for field in wording.__struct_fields__}
            rule = msgspec.structs.replace(rule, **{field: value for field, value in given.items() if value})
    return rule
