"""The benchmark's bodies are what they claim to be, and what it compares the service with does its work."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from datetime import date
from importlib import import_module
from statistics import fmean
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from flask.testing import FlaskClient

from bench.bodies import LABS, build
from bench.load import measure, running
from bench.servers import SERVERS, SERVICE, environment, free_port
from cds_service.hooks.prefetch import build_expected
from cds_service.knowledge.model import Knowledge

TODAY = date(2026, 3, 15)
LIMITS = {50: 14, 200: 8, 1000: 4}
"""Observations -> times the CPU of the floor: about twice what is measured (docs/performance.md)."""
PATH = f"/cds-services/{SERVICE}"


@pytest.fixture(scope="module")
def body(knowledge: Knowledge) -> bytes:
    return build(build_expected(knowledge, "patient-view"), 50, TODAY)


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """The baselines change the garbage collector of the process that imports them."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def resources(body: bytes) -> list[dict[str, Any]]:
    values = json.loads(body)["prefetch"].values()
    bundled = [entry["resource"] for value in values for entry in value.get("entry", ())]
    return [*bundled, *(value for value in values if value["resourceType"] != "Bundle")]


def test_every_resource_is_valid_fhir(body):
    for value in json.loads(body)["prefetch"].values():
        get_fhir_model_class(value["resourceType"]).model_validate(value)


def test_observations_are_as_large_as_those_of_real_ehrs(body):
    sizes = [
        len(json.dumps(resource, separators=(",", ":")))
        for resource in resources(body)
        if resource["resourceType"] == "Observation"
    ]
    assert len(sizes) == 50
    assert 1370 <= fmean(sizes) <= 1630


def test_half_of_the_tests_are_asked_for_by_no_rule(knowledge):
    known = [lab for lab in LABS if ("http://loinc.org", lab.code) in knowledge.codes]
    assert len(known) == len(LABS) / 2


@pytest.mark.parametrize("app", ["floor", "typed", "naive"])
def test_each_baseline_finds_the_one_hematocrit(app, body):
    client = import_module(f"bench.{app}").app.test_client()
    assert len(client.post(PATH, data=body, content_type="application/json").get_json()["cards"]) == 1
    low = body.replace(b"54.6", b"53.9")
    assert client.post(PATH, data=low, content_type="application/json").get_json()["cards"] == []


def test_the_service_flags_the_hematocrit_and_knows_the_whole_chart(client: FlaskClient, body):
    cards = client.post(PATH, data=body, content_type="application/json").get_json()["cards"]
    assert "54.6 %" in cards[0]["summary"]
    assert not [card for card in cards if card["source"]["topic"]["code"] == "UNKNOWN"]


def test_every_contender_has_its_own_port():
    commands = {
        server.name: str(free_port()) for server in SERVERS if server.name not in ("express", "healthchain")
    }
    for server in SERVERS:
        if server.name in commands:
            assert commands[server.name] in server.command(int(commands[server.name]))


@pytest.mark.slow
def test_the_service_stays_near_the_floor(knowledge, tmp_path):
    """CPU of both in one run, so that the machine's speed does not matter; the limits leave room for its moods."""
    expected = build_expected(knowledge, "patient-view")
    cost = {}
    for server in (each for each in SERVERS if each.name in ("floor", "service")):
        bodies = {size: [build(expected, size, date.today(), variant) for variant in (0, 1)] for size in LIMITS}
        with running(server, bodies[50], environment(server, tmp_path), []) as started:
            for size, same in bodies.items():
                cost[server.name, size] = min(measure(started, same, 1, 1).cpu_us for _ in range(2))
    for size, limit in LIMITS.items():
        ratio = cost["service", size] / cost["floor", size]
        assert ratio < limit, f"{size} Observations: {ratio:.2f} times the floor"
    assert cost["service", 1000] / cost["service", 50] < 20
