"""The compose file: its shape by the specification, and what it lets in. No container engine is asked."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from cds_service.settings import VARIABLES, load
from tests.test_packaging import TOP

FOLDER = TOP / "deploy" / "compose"
TEXT = (FOLDER / "compose.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(TEXT)["services"]
    return found


def test_it_is_a_compose_file() -> None:
    compose = PyCompose.from_yaml(TEXT)
    compose.validate()
    assert set(yaml.safe_load(compose.to_yaml())["services"]) == {"replica-a", "replica-b", "proxy", "database"}


def test_only_the_proxy_is_reachable_and_only_from_this_machine(services: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"proxy": ["127.0.0.1:8080:8080"]}
    assert services["database"]["networks"] == ["back"]
    assert yaml.safe_load(TEXT)["networks"]["back"] == {"internal": True}


def test_replicas_have_no_rights_and_write_nothing(services: dict[str, Any]) -> None:
    for name in ("replica-a", "replica-b"):
        replica = services[name]
        assert replica["read_only"]
        assert replica["cap_drop"] == ["ALL"]
        assert replica["security_opt"] == ["no-new-privileges:true"]
        assert replica["tmpfs"] == ["/tmp"]


def test_the_proxy_has_no_rights(services: dict[str, Any]) -> None:
    proxy = services["proxy"]
    assert proxy["user"].partition(":")[0] not in ("", "0", "root")
    assert proxy["cap_drop"] == ["ALL"]
    assert proxy["read_only"]
    assert proxy["security_opt"] == ["no-new-privileges:true"]


def test_no_secret_stands_in_it(services: dict[str, Any]) -> None:
    passwords = re.findall(r"PASSWORD: (.*)", TEXT)
    assert passwords
    assert all(password.startswith("${POSTGRES_PASSWORD:?") for password in passwords)
    assert all(
        "${POSTGRES_PASSWORD:?" in services[name]["environment"]["CDS_DATABASE_URL"] for name in ("replica-a",)
    )


def test_replicas_are_set_by_settings_that_there_are(services: dict[str, Any]) -> None:
    environ = services["replica-a"]["environment"]
    assert set(environ) - {"CDS_CONFIG"} <= set(VARIABLES)
    settings = load(
        {name: value for name, value in environ.items() if name not in ("CDS_CONFIG", "CDS_DATABASE_URL")}
    )
    assert settings.metrics_port == 9100


def test_the_example_of_settings_can_be_used() -> None:
    file = FOLDER / "site.toml.example"
    assert tomllib.loads(file.read_text(encoding="utf-8"))
    assert [client.name for client in load({"CDS_CONFIG": str(file)}).clients] == ["our-ehr"]


def test_every_file_that_it_names_is_there(services: dict[str, Any]) -> None:
    files = [config["file"] for config in yaml.safe_load(TEXT)["configs"].values()]
    assert sorted(files) == ["nginx.conf", "site.toml"]
    assert (FOLDER / "nginx.conf").exists()
    build = services["replica-a"]["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).resolve() == TOP / "deploy" / "Containerfile"


def test_the_proxy_asks_the_replicas_by_their_names(services: dict[str, Any]) -> None:
    servers = re.findall(r"server (\S+):8000", (FOLDER / "nginx.conf").read_text(encoding="utf-8"))
    assert servers == [name for name in services if name.startswith("replica")]
