"""What can be wrong with scenario files."""

from __future__ import annotations

from collections.abc import Sequence

from cds_service.knowledge.yaml_file import Problem


class ScenarioError(ValueError):
    """A scenario file is wrong; the message has one line for each error: file, line, field, what was expected."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
