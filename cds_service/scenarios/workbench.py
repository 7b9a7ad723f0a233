"""What the workbench is given: the example patients as hook requests, and the explanation of an answer.

What makes them is loaded when somebody opens the page.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from cds_service.fhir.expected import Expected
from cds_service.hooks.prefetch import build_expected
from cds_service.hooks.reading import Reading
from cds_service.hooks.request import HookRequest
from cds_service.hooks.routes import Desk, chart_of, recall
from cds_service.knowledge.model import Knowledge
from cds_service.metrics import Watch
from cds_service.settings import Settings
from cds_service.web.workbench import Example, Explainer, Tools


def examples(knowledge: Knowledge, day: date) -> list[Example]:
    """The example patients as they would stand on `day`. Raises ScenarioError."""
    from cds_service.scenarios.build import build
    from cds_service.scenarios.bundles import example_cases
    from cds_service.scenarios.request import encode, hook_request

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
    """The explanation of an answer as this site gives it, with what its users set aside.

    It is about the very chart that the cards came from, also where something was fetched for it. Only if that is
    not there any more it is read anew, and `read_again` says so.
    """
    from cds_service.explain import make_explainer

    explain = make_explainer(
        desk.knowledge,
        zone=desk.zone,
        profile=settings.ehr_profile,
        silent=desk.silent,
        wording=desk.wording,
    )

    def tell(body: bytes, as_of: date, at: Desk) -> dict[str, Any]:
        anew = False

        def read(call: HookRequest, expected: tuple[Expected, ...], day: date) -> Reading:
            nonlocal anew
            kept = at.lately.find(call, day) if at.lately else None
            reading = kept or chart_of(call, expected, at, day, Watch())
            anew = kept is None and bool(reading.fetched)
            return reading

        told = explain(body, as_of, recall=lambda call, chart: recall(call, chart, at, as_of), read=read)
        return {**told, "read_again": anew}

    return tell


TOOLS = Tools(examples, explainer)
