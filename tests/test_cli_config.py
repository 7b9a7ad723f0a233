"""`cds-service config`: everything that is wrong at once, what somebody should know, and no secret shown."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from cds_service import cli
from cds_service.cli_config import masked
from cds_service.cli_database import upgrade_database
from cds_service.settings import Settings, load

Run = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code and lines of `config check` (or another command) with the text of a settings file."""
    monkeypatch.chdir(tmp_path)

    def do(text: str = "", command: str = "check", **environ: str) -> tuple[int, list[str]]:
        file = tmp_path / "site.toml"
        file.write_text(text, encoding="utf-8")
        monkeypatch.setattr(os, "environ", {"CDS_CONFIG": str(file), **environ})
        code = cli.run(["config", command])
        captured = capsys.readouterr()
        return code, (captured.err + captured.out).replace(f"{file}: ", "").splitlines()

    return do


def of(level: str, lines: list[str]) -> list[str]:
    return [line.removeprefix(f"{level}: ") for line in lines if line.startswith(f"{level}: ")]


def test_the_defaults_are_in_order(run: Run) -> None:
    code, lines = run()
    assert code == 0
    assert of("error", lines) == []
    assert any("'serve' makes it" in line for line in of("ok", lines))
    assert any("rules in" in line for line in of("ok", lines))
    assert not Path("cds-service.sqlite3").exists(), "a check makes nothing"


def test_everything_that_is_wrong_is_told_at_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    code, lines = run(
        """
        [server]
        port = 70000
        hots = "127.0.0.1"
        [clients.absent]
        issuer = "https://a.example"
        jwks_file = "absent.json"
        [clients.bad]
        issuer = "https://b.example"
        jwks_file = "bad.json"
        [database]
        url = "postgresql+psycopg://cds:hush-hush@127.0.0.1:1/cds"
        [silent]
        rules = ["HCT-1", "NO-SUCH-RULE"]
        [knowledge]
        overlay = "absent.yaml"
        """,
        CDS_SERVER_MAX_BODY_MB="none",
        CDS_DATBASE_URL="x",
    )
    assert code == 2
    errors = "\n".join(of("error", lines))
    for part in (
        "server.port: expected a whole number",
        "server.hots: unknown",
        "CDS_SERVER_MAX_BODY_MB: expected",
        "clients.absent.jwks_file",
        "clients.bad.jwks_file",
        "database: cannot be read",
        "absent.yaml",
    ):
        assert part in errors
    assert any("CDS_DATBASE_URL" in line for line in of("warning", lines))
    assert "hush-hush" not in "\n".join(lines)


def test_a_client_without_keys_is_told_once(run: Run) -> None:
    code, lines = run('[clients.ehr]\nissuer = "https://ehr.example"')
    assert code == 2
    (error,) = of("error", lines)
    assert "clients.ehr: expected either jwks_url or jwks_file" in error


def test_a_list_cannot_be_set_by_the_environment(run: Run) -> None:
    _, lines = run("", CDS_SILENT_RULES="HCT-1", CDS_SILENT_RULE="HCT-1")
    warned = of("warning", lines)
    assert "environment: CDS_SILENT_RULES: a list, which only the file can set; it does nothing" in warned
    assert "environment: CDS_SILENT_RULE: no setting of this name; it does nothing" in warned


def test_rules_that_are_silent_have_to_exist(run: Run) -> None:
    code, lines = run('[silent]\nrules = ["HCT-1", "HCT-99"]')
    assert code == 2
    assert of("error", lines) == ["silent.rules: no rule is called 'HCT-99'"]
    code, lines = run('[silent]\nrules = ["HCT-1"]')
    assert code == 0
    assert "judged but not shown: HCT-1" in of("ok", lines)


def test_a_rule_that_must_speak_is_told_as_the_service_tells_it(run: Run) -> None:
    code, lines = run('[silent]\nrules = ["DQ-1"]')
    assert code == 2
    words = "silent.rules: DQ-1 tells what could not be judged and cannot be silent by itself"
    assert of("error", lines) == [words]


def test_every_mistake_of_the_overlay_is_told(run: Run, tmp_path: Path) -> None:
    entry = "  - {who: A, why: B, until: 2999-01-01, rules: {%s: {status: retired}}}"
    overlay = "\n".join(("site: S", "changes:", entry % "NO-1", entry % "NO-2"))
    (tmp_path / "overlay.yaml").write_text(overlay, encoding="utf-8")
    code, lines = run('[knowledge]\noverlay = "overlay.yaml"')
    assert code == 2
    assert sum("overlay.yaml:" in line for line in of("error", lines)) == 2


def test_changes_about_to_lapse(run: Run, tmp_path: Path) -> None:
    text = "site: S\nchanges:\n  - {who: A, why: B, until: 2020-01-01, rules: {LDL-1: {status: retired}}}"
    (tmp_path / "overlay.yaml").write_text(text, encoding="utf-8")
    code, lines = run('[knowledge]\noverlay = "overlay.yaml"')
    assert code == 0
    assert any("ended on 2020-01-01" in line for line in of("warning", lines))


def test_open_to_everybody(run: Run) -> None:
    code, lines = run('[server]\nhost = "0.0.0.0"')
    assert code == 2
    assert any("nobody is asked for a token" in line for line in of("error", lines))
    code, lines = run('[server]\nhost = "0.0.0.0"\nallow_unauthenticated = true\ncors_origins = ["*"]')
    assert code == 0
    told = "\n".join(of("warning", lines))
    assert "allow_unauthenticated" in told
    assert "any origin" in told


def test_clients_and_servers_are_named(run: Run, tmp_path: Path) -> None:
    public = jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [public | {"kid": "key-7"}]}), encoding="utf-8")
    code, lines = run(
        """
        [clients.epic]
        issuer = "https://epic.example"
        jwks_file = "keys.json"
        [clients.other]
        issuer = "https://other.example"
        jwks_url = "http://127.0.0.1:9/keys"
        [[fhir.servers]]
        url = "https://fhir.example/r4"
        allow_private = true
        [[fhir.servers]]
        url = "http://fhir.example/r4"
        allow_http = true
        """
    )
    assert code == 0
    told = "\n".join(of("ok", lines))
    assert "clients.epic: issuer https://epic.example" in told
    assert "key-7" in told
    assert "https://fhir.example/r4 (private address allowed)" in told
    warned = "\n".join(of("warning", lines))
    assert "http://127.0.0.1:9/keys" in warned
    assert "http://fhir.example/r4" in warned


def test_database_by_its_state(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.sqlite3").touch()
    code, lines = run('[database]\nurl = "sqlite:///empty.sqlite3"')
    assert code == 0
    assert any("no tables yet" in line for line in of("warning", lines))
    upgrade_database(f"sqlite:///{tmp_path}/full.sqlite3")
    assert any("up to date" in line for line in of("ok", run(CDS_DATABASE_URL="sqlite:///full.sqlite3")[1]))
    code, lines = run('[database]\nurl = "sqlite:///nowhere/x.sqlite3"')
    assert code == 2


def test_metrics_need_a_port_of_their_own(run: Run) -> None:
    assert run("[metrics]\nport = 8000")[0] == 2
    assert run("[metrics]\nport = 9100")[0] == 0


def test_variables_of_a_cluster_are_no_mistake(run: Run) -> None:
    _, lines = run(CDS_SERVICE_PORT="tcp://10.0.0.1:80", CDS_SERVICE_SERVICE_HOST="10.0.0.1", CDS_PORT_80_TCP="x")
    assert not any("CDS_" in line for line in lines)


def test_what_is_shown_can_be_read_again(run: Run, tmp_path: Path) -> None:
    text = """
        [server]
        public_url = "https://cds.example.org"
        cors_origins = ["https://ehr.example.org"]
        max_body_mb = 8
        [clients.epic]
        issuer = "https://epic.example"
        jwks_url = "https://epic.example/keys"
        algorithms = ["RS384"]
        [[fhir.servers]]
        url = "https://fhir.example/r4"
        [silent]
        rules = ["HCT-1"]
        """
    code, lines = run(text, "show", CDS_METRICS_PORT="9100")
    assert code == 0
    shown = tmp_path / "shown.toml"
    shown.write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "site.toml").write_text(text, encoding="utf-8")
    expected = load({"CDS_CONFIG": str(tmp_path / "site.toml"), "CDS_METRICS_PORT": "9100"})
    assert load({"CDS_CONFIG": str(shown)}) == expected
    assert expected != Settings()


def test_no_secret_is_shown(run: Run) -> None:
    text = """
        [database]
        url = "postgresql+psycopg://cds:hush-hush@db.example/cds?sslpassword=hush-hush"
        patient_key = "hush-hush-hush-hush"
        [web]
        governance_token = "hush-hush-hush-hush"
        """
    code, lines = run(text, "show")
    assert code == 0
    assert "hush" not in "\n".join(lines)
    assert sum("********" in line for line in lines) == 3


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///cds.sqlite3", "sqlite:///cds.sqlite3"),
        ("postgresql+psycopg://cds@db/cds", "postgresql+psycopg://cds@db/cds"),
        ("postgresql+psycopg://cds:a:b/c@db/cds", "postgresql+psycopg://cds:********@db/cds"),
        ("postgresql+psycopg://cds:S3cr@tPw@db/cds", "postgresql+psycopg://cds:********@db/cds"),
        ("postgresql+psycopg://cds:a?b@c/d@db/cds", "postgresql+psycopg://cds:********@db/cds"),
        ("postgresql+psycopg://:p@db/cds", "postgresql+psycopg://:********@db/cds"),
        ("postgresql+psycopg://db/cds?password=p&x=1", "postgresql+psycopg://db/cds?password=********&x=1"),
    ],
)
def test_passwords_in_urls(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_a_password_with_an_at_sign_is_refused_and_no_part_of_it_shown(run: Run) -> None:
    for command in ("check", "show"):
        code, lines = run("", command, CDS_DATABASE_URL="postgresql+psycopg://cds:S3cr@tPw@127.0.0.1:5999/cds")
        assert code == 2
        assert "%40" in "\n".join(lines)
        assert not any("S3cr" in line or "tPw" in line for line in lines)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_database_that_others_may_open_is_told(run: Run, tmp_path: Path, mode: int, warned: bool) -> None:
    file = tmp_path / "cds.sqlite3"
    upgrade_database(f"sqlite:///{file}")
    file.chmod(mode)
    code, lines = run(CDS_DATABASE_URL=f"sqlite:///{file}")
    assert code == 0
    assert any(f"(mode {mode:o}): chmod 600" in line for line in of("warning", lines)) == warned


@pytest.mark.parametrize(("public_url", "warned"), [("", True), ("https://cds.example.org", False)])
def test_a_site_for_others_that_does_not_say_so_is_told(run: Run, public_url: str, warned: bool) -> None:
    text = f'[server]\npublic_url = "{public_url}"\n[[fhir.servers]]\nurl = "https://ehr.example.org/fhir"'
    _, lines = run(text)
    assert any("public_url: missing" in line for line in of("warning", lines)) == warned


def test_port_of_the_metrics(run: Run) -> None:
    code, lines = run("[metrics]\nport = 8000")
    assert code == 2
    assert of("error", lines) == ["metrics.port: is server.port; the metrics need one of their own"]
