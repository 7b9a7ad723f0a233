"""What the workbench is given: the example patients as hook requests, and the explanation of an answer."""

from __future__ import annotations

from datetime import date

from cds_service.explain import make_explainer
from cds_service.hooks.prefetch import build_expected
from cds_service.hooks.routes import Desk, recall
from cds_service.knowledge.model import Knowledge
from cds_service.scenarios.build import build
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.request import encode, hook_request
from cds_service.settings import Settings
from cds_service.web.workbench import Example, Explainer, Tools


def examples(knowledge: Knowledge, day: date) -> list[Example]:
    """The example patients as they would stand on `day`. Raises ScenarioError."""
    return [
        Example(
            case.id,
            case.title,
            case.hook,
            encode(hook_request(case, build(case, knowledge), build_expected(knowledge, case.hook))),
        )
        for case in example_cases(day)
    ]


def explainer(desk: Desk, settings: Settings) -> Explainer:
    """The explanation of an answer as this site gives it, with what its users set aside."""
    return make_explainer(
        desk.knowledge,
        zone=desk.zone,
        profile=settings.ehr_profile,
        recall=lambda call, chart: recall(call, chart, desk),
        silent=desk.silent,
        wording=desk.wording,
    )


TOOLS = Tools(examples, explainer)
