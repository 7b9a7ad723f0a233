"""The OpenAPI document tells the truth: every address stands in it, and calls made from it end as it says.

`FUZZ_EXAMPLES` in the environment makes more calls (`make fuzz`).
"""

from __future__ import annotations

import contextlib
import os
import re

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cds_service.app import create_app
from cds_service.hooks.discovery import SERVICES
from cds_service.settings import Settings
from tests.conftest import NOON

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "20"))


@pytest.fixture(scope="module")
def service(knowledge, stream):
    return create_app(Settings(), knowledge=knowledge, clock=lambda: NOON, log=stream)


@pytest.fixture(scope="module")
def api(service):
    return schemathesis.openapi.from_wsgi("/openapi.json", service)


def test_every_address_is_documented(service, api):
    """But for the pages for people, and addresses that only serve a slash too many."""
    served = set()
    for rule in service.url_map.iter_rules():
        if rule.endpoint.startswith("web.") or "//" in rule.rule or rule.rule.endswith("/"):
            continue
        methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        ids = [each.id for each in SERVICES] if "<service_id>" in rule.rule else [""]
        served |= {(re.sub("<service_id>", name, rule.rule), method) for name in ids for method in methods}
    documented = {(path, method.upper()) for path, methods in api.raw_schema["paths"].items() for method in methods}
    assert documented == served


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "answers"),
    [(GenerationMode.POSITIVE, {200, 412}), (GenerationMode.NEGATIVE, {400, 405, 415})],
    ids=["allowed", "not allowed"],
)
def test_calls_end_as_documented(api, mode, answers):
    """Calls that the document allows (412: random prefetch may hold no data), and calls that it does not."""
    tried = 0
    for operation in api.get_all_operations():

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],  # the call that fails tells enough
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.ok().as_strategy(generation_mode=mode))
        def check(case):
            nonlocal tried
            tried += 1
            response = case.call_and_validate(checks=CHECKS)
            assert response.status_code in answers

        with contextlib.suppress(Unsatisfiable):  # a GET without parameters cannot be called wrongly
            check()
    assert tried > 6
