"""The example patients: their cards, their files, and that the files are what the facts say."""

from __future__ import annotations

import json
import runpy
import sys
import warnings
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from cds_service.app import create_app
from cds_service.knowledge.loader import load
from cds_service.scenarios.bundles import SANDBOX, example_cases, examples_folder, files
from cds_service.scenarios.facts import Case
from cds_service.scenarios.judge import differences
from cds_service.scenarios.run import Runner
from cds_service.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fhir.resources.R4B import get_fhir_model_class

CASES = [pytest.param(case, id=case.id) for case in example_cases()]
PATIENTS = sorted((examples_folder() / "patients").glob("*.json"))
REQUESTS = sorted((examples_folder() / "requests").glob("*.json"))


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner(load())


@pytest.mark.parametrize("case", CASES)
def test_cards_without_the_web(case: Case, runner: Runner) -> None:
    assert differences(case, runner.directly(case), runner.knowledge(case)) == []


@pytest.mark.parametrize("case", CASES)
def test_cards_over_http(case: Case, runner: Runner) -> None:
    assert differences(case, runner.over_http(case), runner.knowledge(case)) == []


@pytest.mark.parametrize("case", CASES)
def test_rolled_to_another_day_the_cards_are_the_same(case: Case, runner: Runner) -> None:
    moved = example_cases(date(2027, 5, 1))[[one.id for one in example_cases()].index(case.id)]

    def said(one: Case) -> list[tuple[str, str]]:
        cards = runner.directly(one).cards
        return [(card["indicator"], card["source"]["topic"]["code"]) for card in cards]

    assert said(moved) == said(case)


def test_shipped_files_are_what_the_facts_say(runner: Runner) -> None:
    made = dict(files(example_cases(), runner))
    folder = examples_folder()
    shipped = {path.relative_to(folder).as_posix(): path.read_bytes() for path in (*PATIENTS, *REQUESTS)}
    assert sorted(shipped) == sorted(made)
    different = [name for name, content in made.items() if shipped[name] != content]
    assert different == [], "run examples/make_examples.py"


def test_script_writes_the_shipped_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["make_examples.py", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(examples_folder() / "make_examples.py"), run_name="__main__")
    assert left.value.code == 0
    for path in (*PATIENTS, *REQUESTS):
        assert (tmp_path / path.relative_to(examples_folder())).read_bytes() == path.read_bytes()


def test_readme_names_the_day_and_the_number_of_patients() -> None:
    text = (examples_folder() / "README.md").read_text(encoding="utf-8")
    assert "22 November 2026" in text
    assert {case.as_of for case in example_cases()} == {date(2026, 11, 22)}
    assert "Twenty-six" in text
    assert len(CASES) == 26


@pytest.mark.parametrize("path", PATIENTS, ids=lambda path: path.stem)
def test_patient_file_is_a_transaction_that_can_be_repeated(path: Path) -> None:
    bundle = json.loads(path.read_bytes())
    get_fhir_model_class("Bundle").model_validate_json(path.read_bytes())
    assert bundle["type"] == "transaction"
    for entry in bundle["entry"]:
        resource = entry["resource"]
        address = f"{resource['resourceType']}/{resource['id']}"
        assert entry["request"] == {"method": "PUT", "url": address}
        assert resource["id"].startswith(path.stem)
        assert resource["resourceType"] == "Patient" or resource["subject"] == {"reference": f"Patient/{path.stem}"}


def test_ids_are_unique_over_all_patients() -> None:
    entries = [entry for path in PATIENTS for entry in json.loads(path.read_bytes())["entry"]]
    assert len({entry["request"]["url"] for entry in entries}) == len(entries)


def test_names_are_clearly_synthetic() -> None:
    names = [
        entry["resource"]["name"][0]["text"]
        for path in PATIENTS
        for entry in json.loads(path.read_bytes())["entry"]
        if entry["resource"]["resourceType"] == "Patient"
    ]
    assert len(set(names)) == len(PATIENTS)
    assert all(name.startswith("Example ") for name in names)


def resources_in(value: Any) -> list[dict[str, Any]]:
    """Outermost FHIR resources anywhere in a request."""
    if isinstance(value, dict):
        if "resourceType" in value:
            return [value]
        return [found for item in value.values() for found in resources_in(item)]
    return [found for item in value for found in resources_in(item)] if isinstance(value, list) else []


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_request_holds_valid_r4_but_where_its_name_says_otherwise(path: Path) -> None:
    invalid = 0
    for resource in resources_in(json.loads(path.read_bytes())):
        try:
            get_fhir_model_class(resource["resourceType"]).model_validate(resource)
        except ValueError:
            invalid += 1
    assert invalid == (1 if path.stem == SANDBOX else 0)


def test_there_is_a_request_for_each_hook() -> None:
    hooks = {path.stem: json.loads(path.read_bytes())["hook"] for path in REQUESTS}
    assert hooks == {hook: hook for hook in ("patient-view", "order-select", "order-sign")} | {
        SANDBOX: "order-select"
    }


def test_drafts_as_the_sandbox_writes_them() -> None:
    request = json.loads((examples_folder() / "requests" / f"{SANDBOX}.json").read_bytes())
    drafts = request["context"]["draftOrders"]
    assert "type" not in drafts
    assert isinstance(drafts["entry"][0]["resource"]["category"], dict)
    assert isinstance(drafts["entry"][0]["resource"]["reasonCode"], dict)


def test_drafts_as_the_sandbox_writes_them_lead_to_the_same_cards(runner: Runner) -> None:
    case = next(case for case in example_cases() if case.hook == "order-select")
    content = (examples_folder() / "requests" / f"{SANDBOX}.json").read_bytes()
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    client = create_app(Settings(), clock=lambda: noon).test_client()
    response = client.post(
        "/cds-services/hormone-therapy-order-select", data=content, content_type="application/json"
    )
    answer = response.get_json()
    assert [card["summary"] for card in answer["cards"]] == [
        card["summary"] for card in runner.directly(case).cards
    ]
