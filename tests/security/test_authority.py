"""A hospital's own certificate authority: what it vouches for is read, and nothing else. Real TLS on loopback."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cds_service.app import create_app
from cds_service.security.keys import UrlKeys
from cds_service.settings import Client, FhirServer, Settings, SettingsError, load
from tests.conftest import NOON
from tests.fhir.fhir_server import FhirServer as Server
from tests.fhir.fhir_server import bundle, hematocrit, json_of, prescription, serving
from tests.security.ehr import ISSUER, KID, KeyServer, key_server, token
from tests.tls import Authority

PATIENCE = 20_000


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "hospital")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "other")


@pytest.fixture(scope="module")
def fhir(hospital: Authority) -> Iterator[Server]:
    with serving(hospital.server()) as server:
        server.on["Observation"] = json_of(bundle(hematocrit("o", "2026-03-01", 55.2)))
        server.on["MedicationRequest"] = json_of(bundle(prescription()))
        yield server


@pytest.fixture(scope="module")
def keys_at(hospital: Authority) -> Iterator[KeyServer]:
    with key_server(hospital.server()) as server:
        yield server


# -- FHIR --------------------------------------------------------------------------------------------


def cards(knowledge: Any, server: str, ca_file: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The cards of a call that brings nothing but the patient's id, and its line in the log."""
    log = io.StringIO()
    listed = FhirServer(server, allow_private=True, ca_file=ca_file)
    settings = Settings(fhir_servers=(listed,), fhir_deadline_ms=PATIENCE)
    app = create_app(settings, knowledge=knowledge, clock=lambda: NOON, log=log)
    call = {
        "hook": "patient-view",
        "hookInstance": "f884bacc-b073-4de5-9cd6-06473b50f1c9",
        "fhirServer": server,
        "context": {"userId": "Practitioner/1", "patientId": "p"},
        "prefetch": {
            "patient": {"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "1970-05-01"}
        },
    }
    answer = app.test_client().post("/cds-services/hormone-therapy-patient-view", json=call)
    assert answer.status_code == 200
    return answer.get_json()["cards"], json.loads(log.getvalue().splitlines()[-1])


def test_a_server_that_the_hospital_vouches_for_is_read(knowledge, fhir, hospital) -> None:
    found, line = cards(knowledge, fhir.url, hospital.file)
    assert "Hematocrit 55.2 %" in found[0]["summary"]
    assert set(line["fetched"].values()) == {"ok"}


@pytest.mark.parametrize("whose", ["", "other"])
def test_without_its_authority_it_is_not_read_and_the_card_says_so(knowledge, fhir, other, whose: str) -> None:
    before = len(fhir.seen)
    found, line = cards(knowledge, fhir.url, other.file if whose else "")
    assert len(fhir.seen) == before
    assert set(line["fetched"].values()) == {"unreachable"}
    assert not [card for card in found if card["indicator"] == "critical"]
    assert "could not be judged" in found[-1]["detail"]
    assert "could not be reached" in found[-1]["detail"]


@pytest.mark.parametrize(("address", "valid_for"), [("127.0.0.9", 1), ("127.0.0.1", -1)])
def test_its_word_for_another_server_or_another_time_does_not_count(
    knowledge, hospital, address: str, valid_for: int
) -> None:
    with serving(hospital.server(address, timedelta(days=valid_for))) as server:
        _, line = cards(knowledge, server.url, hospital.file)
        assert set(line["fetched"].values()) == {"unreachable"}
        assert server.seen == []


# -- keys --------------------------------------------------------------------------------------------


def test_keys_are_fetched_from_a_server_that_the_hospital_vouches_for(keys_at, hospital, other) -> None:
    for file, found in ((hospital.file, True), (other.file, False), ("", False)):
        problems: list[str] = []
        keys = UrlKeys(keys_at.url, problems.append, ca_file=file)
        keys.fetch(wait=True)
        assert bool(keys.find(KID)) is found
        assert problems == ([] if found else ["no trusted TLS connection"])


@pytest.mark.parametrize("whose", ["hospital", "other"])
def test_a_caller_whose_keys_are_vouched_for_by_somebody_else_is_refused(
    knowledge, keys_at, hospital, other, whose: str
) -> None:
    log = io.StringIO()
    client = Client("ehr", ISSUER, jwks_url=keys_at.url, ca_file=(hospital if whose == "hospital" else other).file)
    settings = Settings(clients=(client,), public_url="https://cds.example.org")
    app = create_app(settings, knowledge=knowledge, clock=lambda: NOON, log=log)
    address = "https://cds.example.org/cds-services"
    given = app.test_client().get("/cds-services", headers={"Authorization": f"Bearer {token(address)}"})
    assert given.status_code == (200 if whose == "hospital" else 401)
    assert ("no trusted TLS connection" in log.getvalue()) is (whose == "other")


# -- settings ----------------------------------------------------------------------------------------


def configured(folder: Path, text: str) -> Settings:
    file = folder / "cds.toml"
    file.write_text(text, encoding="utf-8")
    return load({"CDS_CONFIG": str(file)})


SERVER = '[[fhir.servers]]\nurl = "https://ehr.example.org/fhir"\nca_file = "ca/hospital.pem"\n'
CLIENT = '[clients.ehr]\nissuer = "x"\njwks_url = "https://ehr.example.org/k"\nca_file = "ca/hospital.pem"\n'


def test_its_file_lies_beside_the_settings(tmp_path: Path, hospital: Authority) -> None:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "hospital.pem").write_bytes(Path(hospital.file).read_bytes())
    settings = configured(tmp_path, SERVER + CLIENT)
    assert settings.fhir_servers[0].ca_file == str(tmp_path / "ca" / "hospital.pem")
    assert settings.clients[0].ca_file == str(tmp_path / "ca" / "hospital.pem")


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read (No such file"), (b"", "no certificate"), (b"\xff\x00", "no certificate")],
)
@pytest.mark.parametrize(("text", "where"), [(SERVER, "fhir.servers[0].ca_file"), (CLIENT, "clients.ehr.ca_file")])
def test_a_file_without_certificates_is_told_at_start(
    tmp_path: Path, content: bytes | None, words: str, text: str, where: str
) -> None:
    if content is not None:
        (tmp_path / "ca").mkdir()
        (tmp_path / "ca" / "hospital.pem").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        configured(tmp_path, text)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{where}: ")
    assert words in problem


def test_an_authority_for_a_file_of_keys_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="of no use without jwks_url"):
        configured(tmp_path, '[clients.ehr]\nissuer = "x"\njwks_file = "k"\nca_file = "c.pem"')
