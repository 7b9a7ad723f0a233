"""Names, ids, dates, tokens, values and comments go in by every door, and come out by none but the cards.

Looked through are the log, standard output and error, Python's own logging, the metrics, the audit trail, every
answer that is an error, and what the database keeps of calls and cards.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from cds_service.app import create_app
from cds_service.feedback.audit import audit_event, records
from cds_service.feedback.database import connect, upgrade, writing
from cds_service.feedback.store import Store
from cds_service.feedback.tables import CALLS, CARDS, SUGGESTIONS
from cds_service.hooks import routes
from cds_service.knowledge.model import Knowledge
from cds_service.metrics import Tally, read
from cds_service.settings import Client, Settings
from tests.conftest import NOON
from tests.fhir import fhir_server
from tests.fhir.fhir_server import FhirServer, bundle, hematocrit, json_of, prescription, text_of
from tests.security import ehr

VIEW = "/cds-services/hormone-therapy-patient-view"
SEEDS = {
    "family": "Quistelbaum",
    "given": "Zebulonia",
    "patient id": "pat-88213-seed",
    "record number": "MRN-7391046",
    "user": "prac-55120-seed",
    "birth": "1961-07-23",
    "value": "57.3914",
    "free text": "clot-in-left-calf",
    "access token": "tok-9f31c-seed",
    "comment": "patient-is-moving-to-Oslo",
    "address": "14-Larkspur-Lane",
    "cookie": "session-77aa-seed",
}
S = SEEDS
PATIENT = {
    "resourceType": "Patient",
    "id": S["patient id"],
    "birthDate": S["birth"],
    "gender": "male",
    "name": [{"family": S["family"], "given": [S["given"]]}],
    "identifier": [{"value": S["record number"]}],
    "address": [{"text": S["address"]}],
}


class Site:
    """Two services that keep and count what a site's do: one asks for tokens, the other one does not."""

    def __init__(self, folder: Path, knowledge: Knowledge, fhir: FhirServer) -> None:
        self.folder = folder
        self.log = io.StringIO()
        self.errors: list[str] = []
        self.answers: list[str] = []
        self.fhir = fhir
        url = f"sqlite:///{folder}/records.sqlite3"
        self.engine = connect(url)
        upgrade(self.engine)
        (folder / "keys.json").write_bytes(ehr.key_set())
        client = Client(name="ehr", issuer=ehr.ISSUER, jwks_file=str(folder / "keys.json"))
        self.stores = [Store(connect(url)) for _ in range(2)]
        self.tally = Tally(folder)
        self.open, self.asking = (
            create_app(
                settings, knowledge=knowledge, clock=lambda: NOON, log=self.log, tally=self.tally, store=store
            ).test_client()
            for settings, store in zip(
                (
                    Settings(fhir_deadline_ms=5000),
                    Settings(clients=(client,), public_url="https://cds.example.org"),
                ),
                self.stores,
                strict=True,
            )
        )
        discovery = self.open.get("/cds-services").get_json()["services"][0]["prefetch"]
        self.labs = next(key for key, template in discovery.items() if "|4544-3" in template)

    def call(self, client: FlaskClient | None = None, path: str = VIEW, **request: Any) -> int:
        """Send something; errors are kept to be looked through, answers to be compared."""
        response = (client or self.open).open(path, **({"method": "POST"} | request))
        kept = self.errors if response.status_code >= 400 else self.answers
        kept.append(response.get_data(as_text=True) + str(response.headers))
        return response.status_code

    def request(self, **members: Any) -> dict[str, Any]:
        """A call with seeds everywhere."""
        results = bundle(hematocrit("h1", "2026-03-01", float(S["value"]), patient=S["patient id"]))
        orders = bundle(prescription(subject={"reference": f"Patient/{S['patient id']}", "display": S["family"]}))
        return {
            "hook": "patient-view",
            "hookInstance": "f884bacc-b073-4de5-9cd6-06473b50f1c9",
            "fhirServer": self.fhir.url,
            "fhirAuthorization": {
                "access_token": S["access token"], "token_type": "Bearer", "expires_in": 300,
                "scope": "patient/*.read", "subject": S["user"], "patient": S["patient id"],
            },
            "context": {"userId": f"Practitioner/{S['user']}", "patientId": S["patient id"]},
            "prefetch": {"patient": PATIENT, self.labs: results, "medicationRequests": orders},
            S["family"]: S["given"],
        } | members  # fmt: skip

    def flush(self) -> None:
        for store in self.stores:
            assert store.recorder.drain()

    def told(self) -> dict[str, str]:
        """Everything that is looked through, by where it stands."""
        with self.engine.connect() as connection:
            rows = [row for table in (CALLS, CARDS, SUGGESTIONS) for row in connection.execute(table.select())]
        trail = list(records(self.engine, None, None))
        return {
            "log": self.log.getvalue(),
            "errors": "\n".join(self.errors),
            "metrics": str([name for process in self.processes() for name, _ in read(self.folder, process)]),
            "audit": json.dumps(trail),
            "audit events": json.dumps([audit_event(record, "1") for record in trail]),
            "database": str(rows),
        }

    def processes(self) -> list[int]:
        return [int(file.stem) for file in self.folder.glob("*.cells")]


@pytest.fixture
def fhir() -> Iterator[FhirServer]:
    with fhir_server.serving() as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, knowledge: Knowledge, fhir: FhirServer) -> Iterator[Site]:
    made = Site(tmp_path, knowledge, fhir)
    yield made
    for store in made.stores:
        store.close()
    made.engine.dispose()


def hooks(site: Site) -> None:
    """Calls that are answered, and calls that are wrong in every way that quotes something."""
    assert site.call(json=site.request()) == 200
    labs = site.labs
    broken = [
        {
            "resourceType": "Observation",
            "id": S["patient id"],
            "valueQuantity": {"value": S["value"]},
            "code": S["family"],
        },
        {"resourceType": S["family"], "id": S["record number"]},
        {"resourceType": "OperationOutcome", "issue": [{"diagnostics": S["free text"], "code": S["family"]}]},
        f"<html>{S['family']}</html>",
        hematocrit(S["record number"], S["birth"], 1.0, patient=S["family"])
        | {"valueQuantity": {"value": float(S["value"]), "unit": S["free text"]}},
    ]
    for resource in broken:
        prefetch = {"patient": PATIENT, labs: resource, "medicationRequests": bundle(prescription())}
        site.call(json=site.request(prefetch=prefetch))
        site.call(json=site.request(prefetch={labs: resource}))
        site.call(json=site.request(prefetch={"patient": resource}))
    for changes in (
        {"hook": S["family"]},
        {"hookInstance": S["record number"]},
        {"context": {"patientId": {S["family"]: S["given"]}, "userId": S["user"]}},
        {"context": {"patientId": f"{S['patient id']}/../{S['family']}", "userId": S["user"]}},
        {"fhirServer": f"http://127.0.0.1:1/{S['family']}"},
        {"fhirServer": f"https://{S['family']}.example.org/{S['access token']}"},
        {"fhirAuthorization": S["access token"]},
        {"prefetch": S["family"]},
        {"prefetch": {S["family"]: PATIENT}},
    ):
        site.call(json=site.request(**changes))
    site.call(data=f'{{"{S["family"]}": {S["value"]}', content_type="application/json")
    site.call(data=json.dumps(site.request()), content_type=f"text/{S['family']}")


def fetching(site: Site) -> None:
    """A FHIR server of the EHR that quotes the patient whatever it is asked."""
    for behaviour in (
        json_of(PATIENT),
        json_of({"resourceType": "OperationOutcome", "issue": [{"diagnostics": S["free text"]}]}, 404),
        text_of(f"<html>{S['family']} {S['birth']}</html>", 500, "text/html"),
        text_of(S["family"], 200),
        text_of("", 302, Location=f"http://127.0.0.1:1/{S['access token']}"),
        json_of(bundle(following=f"http://127.0.0.1:1/?{S['access token']}")),
    ):
        site.fhir.on[""] = behaviour
        site.call(json=site.request(prefetch={"patient": PATIENT}))
        site.call(json=site.request(prefetch={}))
    assert site.fhir.seen
    assert any(S["access token"] in seen.headers.get("Authorization", "") for seen in site.fhir.seen)


def feedback(site: Site) -> None:
    """Users' words, right and wrong."""
    word = {
        "card": "4e0a3a1e-3883-4575-ab5d-028fe15a0aa8",
        "outcome": "overridden",
        "outcomeTimestamp": "2026-03-15T11:59:30Z",
        "overrideReason": {"reason": {"code": S["free text"], "system": S["family"]}, "userComment": S["comment"]},
    }
    path = f"{VIEW}/feedback"
    assert site.call(path=path, json={"feedback": [word]}) == 200
    for changes in ({"card": S["family"]}, {"outcome": S["comment"]}, {"outcomeTimestamp": S["birth"]}):
        site.call(path=path, json={"feedback": [word | changes]})
    site.call(path=path, json={"feedback": S["comment"]})
    site.call(path=path, json={"feedback": [word | {"overrideReason": S["comment"]}]})


def addresses(site: Site) -> None:
    """Seeds where only a careless EHR would put them."""
    headers = {
        "Cookie": S["cookie"],
        "User-Agent": S["family"],
        "X-Forwarded-For": S["address"],
        "Origin": S["family"],
    }
    site.call(path=f"/cds-services/{S['patient id']}", json=site.request(), headers=headers)
    site.call(path=f"{VIEW}?patient={S['patient id']}&name={S['family']}", json=site.request(), headers=headers)
    site.call(path=f"/{S['family']}", method="GET", headers=headers)
    site.call(path=VIEW, method=S["family"].upper(), headers=headers)


def tokens(site: Site) -> None:
    """Tokens that are good, and tokens that are wrong with seeds in them."""
    audience = f"https://cds.example.org{VIEW}"
    for made in (
        ehr.token(audience, sub=S["user"]),
        ehr.token(audience, iss=S["family"], sub=S["user"]),
        ehr.token(f"https://cds.example.org/{S['family']}"),
        ehr.token(audience, header={"kid": S["record number"]}),
        ehr.token(audience, jti=S["patient id"]),
        S["access token"],
        f"{S['access token']}.{S['access token']}.{S['access token']}",
    ):
        site.call(site.asking, json=site.request(), headers={"Authorization": f"Bearer {made}"})
    site.call(site.asking, json=site.request(), headers={"Authorization": f"Basic {S['access token']}"})


def faults(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails inside quotes what it was working on: an exception, and a database without its tables."""

    def fail(*_: Any, **__: Any) -> Any:
        raise ValueError(f"{S['family']} has {S['value']}")

    with monkeypatch.context() as patch:
        patch.setattr(routes, "evaluate", fail)
        assert site.call(json=site.request()) == 500
    with writing(site.engine) as connection:
        connection.execute(text("ALTER TABLE feedback RENAME TO away"))
    word = {"card": "c", "outcome": "overridden", "outcomeTimestamp": "2026-03-15T11:59:30Z"}
    comment = {"overrideReason": {"userComment": S["comment"]}}
    assert site.call(path=f"{VIEW}/feedback", json={"feedback": [word | comment]}) == 503
    with writing(site.engine) as connection:
        connection.execute(text("ALTER TABLE away RENAME TO feedback"))


def test_nothing_of_a_patient_leaves_but_in_cards(
    site: Site,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    for door in (hooks, fetching, feedback, addresses, tokens):
        door(site)
    faults(site, monkeypatch)
    site.flush()

    card = next(answer for answer in site.answers if "57.4" in answer)
    assert "summary" in card, "the patient's data were read and judged"
    assert len(site.errors) > 20
    captured = capfd.readouterr()
    told = site.told() | {"output": captured.out + captured.err}
    told["logging"] = "\n".join(
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("cds") or record.levelno >= logging.INFO
    )
    assert all(told[place] for place in ("log", "errors", "metrics", "audit", "audit events", "database"))
    found = [(place, seed) for place, words in told.items() for seed, word in SEEDS.items() if word in words]
    assert found == []
