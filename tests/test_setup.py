"""The set-up sheets hold the values that the service uses, and a site can have its own in them."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient

from cds_service import cli
from cds_service.cli_setup import blocks, filled, link_hosts
from cds_service.knowledge.model import Knowledge
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.run import Runner
from cds_service.settings import Settings, load
from tests.tls import Authority

SHEETS = sorted((Path(cli.__file__).parents[1] / "docs" / "setup").glob("*.md"))
SITE = Settings(public_url="https://cds.example.org")


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.stem)
def test_a_sheet_is_up_to_date(sheet: Path, knowledge: Knowledge) -> None:
    text = sheet.read_text(encoding="utf-8")
    assert text == filled(text, blocks(SITE, knowledge)), (
        "run: CDS_SERVER_PUBLIC_URL=https://cds.example.org cds-service setup --write docs/setup"
    )


def test_the_sheets_of_ehrs_hold_everything(knowledge: Knowledge) -> None:
    for name in ("epic", "generic"):
        text = next(sheet for sheet in SHEETS if sheet.stem == name).read_text(encoding="utf-8")
        assert set(re.findall("<!-- setup: ([a-z]+) -->", text)) == set(blocks(SITE, knowledge))


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.stem)
def test_what_a_sheet_shows_as_settings_can_be_used(sheet: Path, tmp_path: Path) -> None:
    Authority(tmp_path, "hospital-ca")  # the file that a sheet names
    for number, text in enumerate(re.findall(r"```toml\n(.*?)```", sheet.read_text(encoding="utf-8"), re.DOTALL)):
        assert tomllib.loads(text)
        filled_in = text.replace('issuer = "…"', 'issuer = "x"').replace('"…"', '"https://ehr.example.org/keys"')
        file = tmp_path / f"{number}.toml"
        file.write_text(filled_in, encoding="utf-8")
        load({"CDS_CONFIG": str(file)})


@pytest.mark.parametrize(
    "sheet", [sheet for sheet in SHEETS if sheet.stem != "README"], ids=lambda sheet: sheet.stem
)
def test_a_sheet_tells_what_is_unverified(sheet: Path) -> None:
    assert "\n## Unverified\n" in sheet.read_text(encoding="utf-8")


def test_templates_are_those_of_discovery(capsys: pytest.CaptureFixture[str], client: FlaskClient) -> None:
    services = client.get("/cds-services").get_json()["services"]
    for service in services:
        assert cli.run(["prefetch", "--service", service["id"]]) == 0
        head, *pairs = capsys.readouterr().out.strip().split("\n\n")
        assert head == f"# {service['id']} ({service['hook']})"
        assert dict(pair.split("\n") for pair in pairs) == service["prefetch"]
    assert cli.run(["prefetch"]) == 0
    assert capsys.readouterr().out.count("# hormone-therapy-") == len(services)


def test_setup_prints_the_site_s_own_values(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {"CDS_SERVER_PUBLIC_URL": "https://hooks.hospital.example/cds"})
    assert cli.run(["setup"]) == 0
    text = capsys.readouterr().out
    assert "https://hooks.hospital.example/cds/cds-services/hormone-therapy-order-sign/feedback" in text
    assert "\nhooks.hospital.example\n" in text
    assert "127.0.0.1" not in text


def test_setup_fills_a_copy_of_the_sheets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for sheet in SHEETS:
        (tmp_path / sheet.name).write_text(sheet.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(os, "environ", {"CDS_SERVER_PUBLIC_URL": "https://hooks.hospital.example"})
    assert cli.run(["setup", "--write", str(tmp_path)]) == 0
    assert f"{len(SHEETS)} sheets" in capsys.readouterr().out
    epic = (tmp_path / "epic.md").read_text(encoding="utf-8")
    assert "`https://hooks.hospital.example/cds-services/hormone-therapy-patient-view`" in epic
    assert "## Unverified" in epic
    chart = (tmp_path / "chart-page.md").read_text(encoding="utf-8")
    assert "| launch URL | `https://hooks.hospital.example/smart/launch` |" in chart
    assert not [sheet.name for sheet in tmp_path.glob("*.md") if "cds.example.org" in sheet.read_text("utf-8")]


def test_every_link_of_a_card_goes_to_a_listed_host(knowledge: Knowledge) -> None:
    hosts = set(link_hosts(SITE, knowledge))
    runner = Runner(knowledge)
    seen = set()
    for case in example_cases():
        for card in runner.directly(case).cards:
            for url in re.findall(
                r"https?://[^\s\"\\)\]>]+", json.dumps([card.get("source", {}).get("url"), card.get("links")])
            ):
                seen.add(urlsplit(url).hostname)
    assert seen
    assert seen <= hosts


def test_a_folder_without_sheets_is_a_mistake(tmp_path, capsys):
    assert cli.run(["setup", "--write", str(tmp_path)]) == 2
    assert "docs/setup" in capsys.readouterr().err
