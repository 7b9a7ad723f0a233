"""The schemas are documentation as well: every property says what it is, and nothing unknown is let through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cds_service.knowledge.terminology import FILES
from cds_service.knowledge.yaml_file import SCHEMAS

FOLDER = SCHEMAS.parent


def objects(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for name, part in schema.items():
            yield from objects(part, f"{path}/{name}")
    elif isinstance(schema, list):
        for place, part in enumerate(schema):
            yield from objects(part, f"{path}/{place}")


@pytest.mark.parametrize("name", FILES)
def test_a_schema(name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    for path, part in objects(schema, ""):
        assert part["additionalProperties"] is False, path
        assert part["description"], path
        for field, content in {**part.get("properties", {}), **part.get("patternProperties", {})}.items():
            assert content.get("description"), f"{path}/{field}"


@pytest.mark.parametrize("name", FILES)
def test_the_file_names_its_schema(name: str) -> None:
    first = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").split("\n", 1)[0]
    assert first == f"# yaml-language-server: $schema=schema/{name}.json"


@pytest.mark.parametrize("name", ["markers.yaml", "panels.yaml", "tests.yaml", "denied.yaml", "conditions.yaml"])
def test_files_with_loinc_codes_point_to_its_notice(name: str) -> None:
    head = (FOLDER / name).read_text(encoding="utf-8")[:1500]
    assert "NOTICE.md" in head
    assert "LOINC" in head


@pytest.mark.parametrize("name", ["therapies.yaml", "products.tsv"])
def test_files_with_rxnorm_codes_point_to_its_notice(name: str) -> None:
    head = (FOLDER / name).read_text(encoding="utf-8")[:800]
    assert "NOTICE.md" in head
    assert "NLM" in head


def test_the_notice_holds_the_words_that_the_owners_ask_for() -> None:
    notice = " ".join((FOLDER / "NOTICE.md").read_text(encoding="utf-8").replace("> ", "").split())
    assert "This material contains content from LOINC (http://loinc.org)." in notice
    assert "LOINC is copyright © Regenstrief Institute, Inc." in notice
    assert "courtesy of the U.S. National Library of Medicine (NLM)" in notice
    for owner in ("SNOMED CT", "ATC", "ICD-10-CM", "UCUM"):
        assert owner in notice


def test_the_notice_is_shipped_beside_the_files() -> None:
    assert Path(FOLDER / "NOTICE.md").is_file()
