"""Two roads from a case to the service's answer, which must lead to the same cards.

Runner.directly    hook request -> chart -> evaluation -> cards, without the web
Runner.over_http   the same bytes posted to the Flask application, its clock stopped at noon of the case's day
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cached_property
from io import StringIO
from typing import Any, get_args
from uuid import uuid4

import msgspec
from flask import Flask
from flask.testing import FlaskClient

from cds_service.app import create_app
from cds_service.chart import Chart
from cds_service.fhir.reader import read_chart
from cds_service.hooks.cards import make_renderer
from cds_service.hooks.prefetch import build_expected
from cds_service.hooks.request import read_request
from cds_service.hooks.wording import wording_of
from cds_service.knowledge.choices import choose
from cds_service.knowledge.model import HookName, Knowledge
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
    """Runs cases against one knowledge base; keeps what a set of switches needs, once made."""

    def __init__(self, knowledge: Knowledge, settings: Settings | None = None) -> None:
        self._knowledge = knowledge
        self._settings = settings or Settings()
        self._variants: dict[bytes, _Variant] = {}
        self._now = datetime.min.replace(tzinfo=UTC)

    def knowledge(self, case: Case) -> Knowledge:
        """The knowledge base as the site of the case has it. Raises ValueError as `at_site` does."""
        return self._variant(case).knowledge

    def records(self, case: Case) -> Records:
        """What the EHR holds of the case's patient. Raises ValueError as `build` does."""
        return build(case, self._knowledge)

    def body(self, case: Case) -> bytes:
        """The hook request, as it goes over the wire."""
        expected = self._variant(case).expected[case.hook]
        return encode(hook_request(case, self.records(case), expected))

    def directly(self, case: Case) -> Answer:
        """Answer without the web. Raises whatever a station of the road raises."""
        chart, evaluation = self.judged(case)
        cards = self._variant(case).render(evaluation, chart, lambda: str(uuid4()))
        return Answer(200, tuple(cards), evaluation)

    def judged(self, case: Case, *, traced: bool = False) -> tuple[Chart, Evaluation]:
        """The chart as the rules see it, and what they say of it. `traced`: with what they computed."""
        variant = self._variant(case)
        request = read_request(self.body(case), case.hook)
        chart = read_chart(
            request.prefetch,
            variant.expected[case.hook],
            patient_id=request.patient_id,
            knowledge=variant.knowledge,
            as_of=case.as_of,
            zone=self._settings.zone,
            draft_orders=request.draft_orders,
            selections=request.selections,
        )
        return chart, evaluate(chart, variant.knowledge, as_of=case.as_of, hook=case.hook, traced=traced)

    def over_http(self, case: Case) -> Answer:
        """Answer by way of the web application: discovery, then a call of the service of the case's hook."""
        client = self.client(case)
        services = client.get("/cds-services").get_json()["services"]
        service = next(service["id"] for service in services if service["hook"] == case.hook)
        address = f"/cds-services/{service}"
        response = client.post(address, data=self.body(case), content_type="application/json")
        answer = response.get_json(silent=True) or {}
        return Answer(response.status_code, tuple(answer.get("cards", ())))

    def client(self, case: Case) -> FlaskClient:
        """A client of the web application of the case's site, on the case's day."""
        self._now = datetime.combine(case.as_of, time(12), tzinfo=self._settings.zone)
        return self._variant(case).app.test_client()

    def _variant(self, case: Case) -> _Variant:
        key = msgspec.json.encode((case.switches, case.site), order="sorted")
        if key not in self._variants:
            knowledge = at_site(self._knowledge, case)
            self._variants[key] = _Variant(knowledge, self._settings, lambda: self._now)
        return self._variants[key]


def at_site(knowledge: Knowledge, case: Case) -> Knowledge:
    """The knowledge base as the site of the case has it. Raises ValueError for unknown switches and concepts."""
    specs, concepts = knowledge.switch_specs, dict(knowledge.concepts)
    unknown = sorted((case.switches.keys() - specs.keys()) | (case.site.keys() - concepts.keys()))
    if unknown:
        raise ValueError(f"only known switches and concepts, not {', '.join(unknown)}")
    choices = {
        name: Decimal(str(value)) if specs[name].type == "decimal" and value is not None else value
        for name, value in case.switches.items()
    }
    for name, codes in case.site.items():
        snomed = {code.removeprefix("sct ") for code in codes if code.startswith("sct ")}
        icd10 = tuple(code for code in codes if not code.startswith("sct "))
        concept = concepts[name]
        concepts[name] = msgspec.structs.replace(
            concept, snomed=concept.snomed | snomed, icd10=concept.icd10 + icd10
        )
    return choose(msgspec.structs.replace(knowledge, concepts=concepts), choices)


class _Variant:
    """What is made once for a knowledge base: prefetch templates, the words of the cards, the application."""

    def __init__(self, knowledge: Knowledge, settings: Settings, clock: Callable[[], datetime]) -> None:
        self.knowledge = knowledge
        self.expected = {hook: build_expected(knowledge, hook) for hook in get_args(HookName)}
        self.render = make_renderer(knowledge, settings.ehr_profile, wording_of(settings))
        self._settings = settings
        self._clock = clock

    @cached_property
    def app(self) -> Flask:
        """The web application, with those settings of the site that show on a card; its log goes nowhere.

        Who may call, what may be fetched and which rules stay silent is no part of a case.
        """
        settings = Settings(
            time_zone=self._settings.time_zone,
            ehr_profile=self._settings.ehr_profile,
            words_folder=self._settings.words_folder,
            words_locale=self._settings.words_locale,
        )
        return create_app(settings, knowledge=self.knowledge, clock=self._clock, log=StringIO())
