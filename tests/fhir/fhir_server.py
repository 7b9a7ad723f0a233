"""A FHIR server on loopback that behaves as a test tells it, and remembers who asked it for what."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

FHIR_JSON = "application/fhir+json"
PATIENT = {"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "1970-05-01"}
DRIP_SECONDS = 0.05
TESTOSTERONE = {
    "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "835829"}],
}


class Seen(NamedTuple):
    """One request that came in."""

    path: str
    headers: dict[str, str]
    peer: int
    """Port of the other side: tells connections apart."""


class FhirServer:
    """Answers reads and searches under `/fhir`; `on` holds behaviours by what stands after it, longest first."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/fhir"
        self.seen: list[Seen] = []
        self.over = threading.Event()
        self.on: dict[str, Behaviour] = {}

    def behaviour(self, path: str) -> Behaviour:
        rest = path.removeprefix("/fhir/")
        for start in sorted(self.on, key=len, reverse=True):
            if rest.startswith(start):
                return self.on[start]
        return json_of(PATIENT if rest.startswith("Patient/") else bundle())

    def asked(self, start: str = "") -> list[Seen]:
        return [seen for seen in self.seen if seen.path.removeprefix("/fhir/").startswith(start)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fhir: FhirServer

    def do_GET(self) -> None:
        self.fhir.seen.append(Seen(self.path, dict(self.headers.items()), self.client_address[1]))
        try:
            self.fhir.behaviour(self.path)(self)
        except OSError:
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Silent."""


Behaviour = Callable[[Handler], None]


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[FhirServer]:
    """A server of its own, stopped and its handlers ended at the end; `tls`: over https."""

    class Own(Handler):
        """Its requests are answered and remembered by this server alone."""

    class Patient(ThreadingHTTPServer):
        """Takes in all the connections of a call at once."""

        request_queue_size = 64
        daemon_threads = True

    server = Patient(("127.0.0.1", 0), Own)
    Own.fhir = fhir = FhirServer(server.server_address[1])
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        fhir.url = fhir.url.replace("http:", "https:")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fhir
    finally:
        fhir.over.set()
        server.shutdown()
        server.server_close()


# -- data --------------------------------------------------------------------------------------------


def bundle(*resources: dict[str, Any], following: str = "", **more: Any) -> dict[str, Any]:
    made = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": each} for each in resources]}
    if following:
        made["link"] = [{"relation": "next", "url": following}]
    return made | more


def hematocrit(id_: str, on: str, value: float = 47.2, patient: str = "p") -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "4544-3"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": on,
        "valueQuantity": {"value": value, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"},
    }


def prescription(id_: str = "m", reference: str = "", **more: Any) -> dict[str, Any]:
    """Testosterone cypionate since 2026-01-01, by a code or by a reference to a Medication."""
    drug = (
        {"medicationReference": {"reference": reference}}
        if reference
        else {"medicationCodeableConcept": TESTOSTERONE}
    )
    base = {"resourceType": "MedicationRequest", "id": id_, "status": "active", "intent": "order"}
    return base | {"subject": {"reference": "Patient/p"}, "authoredOn": "2026-01-01"} | drug | more


# -- behaviours --------------------------------------------------------------------------------------


def send(handler: Handler, body: bytes, status: int = 200, media: str = FHIR_JSON, **headers: str) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", media)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def json_of(resource: Any, status: int = 200, media: str = FHIR_JSON, **headers: str) -> Behaviour:
    return lambda handler: send(handler, json.dumps(resource).encode(), status, media, **headers)


def text_of(text: str | bytes, status: int = 200, media: str = FHIR_JSON, **headers: str) -> Behaviour:
    body = text if isinstance(text, bytes) else text.encode()
    return lambda handler: send(handler, body, status, media, **headers)


def refuse(status: int) -> Behaviour:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "security"}]}
    return json_of(outcome, status, Retry_After="1")


def redirect(to: str) -> Behaviour:
    return lambda handler: send(handler, b"", 302, Location=to)


def hang(handler: Handler) -> None:
    """Takes the request and says nothing."""
    handler.fhir.over.wait(30)
    handler.close_connection = True


def hang_up(handler: Handler) -> None:
    handler.close_connection = True


def drip_head(handler: Handler) -> None:
    """A header that never ends, one byte at a time: no timeout of a socket ever strikes."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _drip(handler, b"x")


def drip_body(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", FHIR_JSON)
    handler.end_headers()
    handler.close_connection = True
    _drip(handler, b" ")


def _drip(handler: Handler, byte: bytes) -> None:
    while not handler.fhir.over.wait(DRIP_SECONDS):
        handler.wfile.write(byte)
        handler.wfile.flush()


def endless(handler: Handler) -> None:
    """As fast as it can, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Type", FHIR_JSON)
    handler.end_headers()
    handler.close_connection = True
    while not handler.fhir.over.is_set():
        handler.wfile.write(b" " * 65536)


def bomb(mebibytes: int) -> Behaviour:
    """A Bundle of so many MiB of blanks, in a few KiB."""
    body = gzip.compress(b" " * (mebibytes << 20) + json.dumps(bundle()).encode())
    return lambda handler: send(handler, body, Content_Encoding="gzip")


def cut_short(handler: Handler) -> None:
    """Promises more than it sends."""
    handler.send_response(200)
    handler.send_header("Content-Type", FHIR_JSON)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"resourceType": "Bundle"')
    handler.close_connection = True
