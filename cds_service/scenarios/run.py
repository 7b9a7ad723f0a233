"""Two roads from a case to the service's answer, which must lead to the same cards.

    Runner.directly    hook request -> chart -> evaluation -> cards, without the web
    Runner.over_http   the same bytes posted to the Flask application, its clock stopped at noon of the case's day
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time
from io import StringIO
from typing import Any
from uuid import uuid4

import msgspec

from cds_service.app import create_app
from cds_service.fhir.reader import read_chart
from cds_service.hooks.cards import render
from cds_service.hooks.prefetch import build_expected
from cds_service.hooks.request import read_request
from cds_service.knowledge.model import Knowledge
from cds_service.rules.engine import evaluate
from cds_service.rules.outcome import Evaluation
from cds_service.scenarios.build import Records, build
from cds_service.scenarios.facts import Case
from cds_service.scenarios.request import encode, hook_request
from cds_service.settings import Settings


class Answer(msgspec.Struct, frozen=True):
    """What the service said."""

    status: int
    cards: tuple[Mapping[str, Any], ...]
    evaluation: Evaluation | None = None
    """How each rule ended; None over HTTP, which does not tell."""


class Runner:
    """Runs cases against one knowledge base; keeps one application for each set of switches."""

    def __init__(self, knowledge: Knowledge, settings: Settings | None = None) -> None:
        self._knowledge = knowledge
        self._settings = settings or Settings()
        self._variants: dict[bytes, Knowledge] = {}
        self._apps: dict[bytes, Any] = {}
        self._now = datetime.min.replace(tzinfo=UTC)

    def knowledge(self, case: Case) -> Knowledge:
        """The knowledge base with the switches of the case. Raises ValueError for a switch that does not exist."""
        unknown = sorted(case.switches.keys() - self._knowledge.switches.keys())
        if unknown:
            raise ValueError(f"only known switches, not {', '.join(unknown)}")
        key = _key(case)
        if key not in self._variants:
            switches = {**self._knowledge.switches, **case.switches}
            self._variants[key] = msgspec.structs.replace(self._knowledge, switches=switches)
        return self._variants[key]

    def records(self, case: Case) -> Records:
        """What the EHR holds of the case's patient."""
        return build(case, self._knowledge)

    def body(self, case: Case) -> bytes:
        """The hook request, as it goes over the wire."""
        expected = build_expected(self.knowledge(case), case.hook)
        return encode(hook_request(case, self.records(case), expected))

    def directly(self, case: Case) -> Answer:
        """Answer without the web. Raises whatever a station of the road raises."""
        knowledge = self.knowledge(case)
        request = read_request(self.body(case), case.hook)
        chart = read_chart(
            request.prefetch,
            build_expected(knowledge, case.hook),
            patient_id=request.patient_id,
            knowledge=knowledge,
            as_of=case.as_of,
            zone=self._settings.zone,
            draft_orders=request.draft_orders,
            selections=request.selections,
        )
        evaluation = evaluate(chart, knowledge, as_of=case.as_of, hook=case.hook)
        cards = render(
            evaluation,
            chart,
            knowledge=knowledge,
            profile=self._settings.ehr_profile,
            new_uuid=lambda: str(uuid4()),
        )
        return Answer(200, tuple(cards), evaluation)

    def over_http(self, case: Case) -> Answer:
        """Answer by way of the web application: discovery, then a call of the service of the case's hook."""
        client = self._app(case).test_client()
        self._now = datetime.combine(case.as_of, time(12), tzinfo=self._settings.zone)
        services = client.get("/cds-services").get_json()["services"]
        service = next(service["id"] for service in services if service["hook"] == case.hook)
        response = client.post(
            f"/cds-services/{service}", data=self.body(case), content_type="application/json"
        )
        answer = response.get_json(silent=True) or {}
        return Answer(response.status_code, tuple(answer.get("cards", ())))

    def _app(self, case: Case) -> Any:
        key = _key(case)
        if key not in self._apps:
            self._apps[key] = create_app(
                self._settings, knowledge=self.knowledge(case), clock=lambda: self._now, log=StringIO()
            )
        return self._apps[key]


def _key(case: Case) -> bytes:
    return msgspec.json.encode(case.switches, order="sorted")
