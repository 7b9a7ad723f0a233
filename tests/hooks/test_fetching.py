"""What prefetch did not bring is fetched, from servers on loopback that do all that servers do."""

from __future__ import annotations

import gc
import io
import json
import logging
import threading
import time
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from cds_service.app import create_app
from cds_service.fhir.client import MOST_THREADS, Ask, Client, _Job
from cds_service.fhir.expected import Expected
from cds_service.hooks.prefetch import build_expected
from cds_service.knowledge.loader import load
from cds_service.settings import MEBIBYTE, FhirServer, Settings
from tests.conftest import NOON
from tests.fhir import fhir_server as ehr
from tests.fhir.fhir_server import bundle, hematocrit, json_of, prescription, serving

TOKEN = "secret-token-8f3a"
PATIENCE = 20_000
"""Milliseconds for what is expected to arrive: the machine may be busy."""
MARGIN = 3.0
"""Seconds that a call may take beyond its deadline on a busy machine; what hangs, hangs for 30."""


@pytest.fixture
def fhir():
    with serving() as server:
        yield server


@pytest.fixture
def stranger():
    """Another server that nobody may call."""
    with serving() as server:
        yield server


class Service:
    """The application with settings of a test, its log, and a call of it."""

    def __init__(self, knowledge, fhir, **settings: Any) -> None:
        self._stream = io.StringIO()
        given: dict[str, Any] = {"fhir_servers": (FhirServer(fhir.url, True, True),)}
        given |= {"fhir_deadline_ms": PATIENCE} | settings
        app = create_app(Settings(**given), knowledge=knowledge, clock=lambda: NOON, log=self._stream)
        self._client = app.test_client()
        self._fhir = fhir

    def call(self, prefetch: dict[str, Any], hook: str = "patient-view", **members: Any) -> Any:
        context = {"userId": "Practitioner/1", "patientId": "p"} | members.pop("context", {})
        body = {
            "hook": hook,
            "hookInstance": "f884bacc-b073-4de5-9cd6-06473b50f1c9",
            "fhirServer": self._fhir.url,
            "fhirAuthorization": {"access_token": TOKEN, "token_type": "Bearer", "patient": "p"},
            "context": context,
            "prefetch": prefetch,
        }
        return self._client.post(f"/cds-services/hormone-therapy-{hook}", json=body | members)

    @property
    def log(self) -> dict[str, Any]:
        """The line of the last call."""
        line: dict[str, Any] = json.loads(self._stream.getvalue().splitlines()[-1])
        return line


@pytest.fixture
def make(knowledge, fhir) -> Callable[..., Service]:
    return lambda **settings: Service(knowledge, fhir, **settings)


def whole(**keys: Any) -> dict[str, Any]:
    """Prefetch of a man on testosterone, all keys there; None takes one away."""
    found: dict[str, Any] = dict.fromkeys((item.key for item in expected()), bundle())
    found |= {"patient": ehr.PATIENT, "medicationRequests": bundle(prescription())} | keys
    return {key: value for key, value in found.items() if value is not None}


@cache
def expected() -> tuple[Expected, ...]:
    return build_expected(load(), "patient-view")


def threads() -> set[int | None]:
    """Those that fetch."""
    return {thread.ident for thread in threading.enumerate() if thread.name.startswith("fhir")}


def lab_key() -> str:
    """The key that brings the hematocrit."""
    return next(item.key for item in expected() if "HCT" in item.covers)


def quiet(answer: Any) -> str:
    """Detail of the quiet card, '' if there is none."""
    cards = answer.get_json()["cards"]
    return str(next((card["detail"] for card in cards if "could not judge" in card["summary"]), ""))


def summaries(answer: Any) -> str:
    return " | ".join(card["summary"] for card in answer.get_json()["cards"])


# -- what is fetched ---------------------------------------------------------------------------------


def test_nothing_is_asked_if_nothing_is_missing(make, fhir):
    before = threads()
    answer = make().call(whole())
    assert (answer.status_code, quiet(answer), fhir.seen) == (200, "", [])
    assert threads() <= before


def test_everything_is_fetched_by_the_same_templates(make, fhir):
    fhir.on["MedicationRequest"] = json_of(bundle(prescription()))
    fhir.on["Observation"] = json_of(bundle(hematocrit("h", "2026-03-01", 56)))
    service = make()
    answer = service.call({})
    assert "Hematocrit 56" in summaries(answer)
    assert quiet(answer) == ""
    asked = {seen.path.removeprefix("/fhir/").replace("%7C", "|") for seen in fhir.seen}
    assert asked == {item.template.replace("{{context.patientId}}", "p") for item in expected()}
    assert set(service.log["fetched"].values()) == {"ok"}
    assert all(seen.headers["Authorization"] == f"Bearer {TOKEN}" for seen in fhir.seen)
    assert all(seen.headers["Accept"] == "application/fhir+json" for seen in fhir.seen)


@pytest.mark.parametrize(
    "sent",
    [
        None,
        {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]},
        "an error page",
        {"resourceType": "Patient", "id": "p"},
        bundle(following="https://elsewhere.example.org/fhir?page=2"),
    ],
    ids=["absent", "failed", "text", "wrong type", "cut off"],
)
def test_a_key_that_brought_nothing_is_fetched(make, fhir, sent):
    fhir.on["Observation"] = json_of(bundle(hematocrit("h", "2026-03-01", 56)))
    answer = make().call(whole(**{lab_key(): sent}))
    assert "Hematocrit 56" in summaries(answer)
    assert quiet(answer) == ""
    assert len(fhir.seen) == 1


@pytest.mark.parametrize("sent", [bundle(), {"resourceType": "Bundle", "total": 0}])
def test_a_search_that_found_nothing_is_not_repeated(make, fhir, sent):
    make().call(whole(**{lab_key(): sent}))
    assert fhir.seen == []


def test_null_for_a_search_is_an_answer_and_for_the_patient_is_none(make, fhir):
    answer = make().call(whole() | {lab_key(): None, "patient": None})
    assert [seen.path for seen in fhir.seen] == ["/fhir/Patient/p"]
    assert quiet(answer) == ""


def test_without_authorization_it_is_asked_without_a_token(make, fhir):
    answer = make().call(whole(conditions=None), fhirAuthorization=None)
    assert quiet(answer) == ""
    assert ["Authorization" in seen.headers for seen in fhir.seen] == [False]


@pytest.mark.parametrize(
    "grant",
    [
        {"access_token": "a b\r\nX: y", "token_type": "Bearer"},
        {"access_token": "", "token_type": "Bearer"},
        {"access_token": 7},
        {"access_token": TOKEN, "token_type": "MAC"},
        {"access_token": {"a": [1]}, "expires_in": "soon", "patient": 3},
        {},
    ],
)
def test_a_token_that_cannot_be_sent_is_none(make, fhir, grant):
    assert make().call(whole(conditions=None), fhirAuthorization=grant).status_code == 200
    assert ["Authorization" in seen.headers for seen in fhir.seen] == [False]


def test_a_token_for_another_patient_is_not_used(make, fhir):
    """A server may answer it with nothing found, which would look like an all-clear."""
    answer = make().call(
        whole(conditions=None), fhirAuthorization={"access_token": TOKEN, "token_type": "Bearer", "patient": "q"}
    )
    assert fhir.seen == []
    assert "does not give access" in quiet(answer)


def test_a_patient_who_died_is_not_asked_about(make, fhir):
    make().call({"patient": ehr.PATIENT | {"deceasedBoolean": True}})
    assert fhir.seen == []


def test_orders_that_no_rule_looks_at_are_not_asked_about(make, fhir):
    draft = prescription(medicationCodeableConcept={"text": "amoxicillin"}, status="draft")
    context = {"draftOrders": bundle(draft), "selections": ["MedicationRequest/m"]}
    assert make().call({}, hook="order-select", context=context).status_code == 200
    assert fhir.seen == []


# -- medications -------------------------------------------------------------------------------------

MEDICATION = {"resourceType": "Medication", "id": "x", "code": ehr.TESTOSTERONE}


@pytest.mark.parametrize("reference", ["Medication/x", "Medication/x/_history/2", "{url}/Medication/x"])
@pytest.mark.parametrize("hook", ["order-select", "order-sign"])
def test_the_drug_of_a_draft_is_fetched(make, fhir, reference, hook):
    fhir.on["Medication/x"] = json_of(MEDICATION)
    fhir.on["Observation"] = json_of(bundle(hematocrit("h", "2026-03-01", 56)))
    draft = prescription(reference=reference.format(url=fhir.url), status="draft", authoredOn="2026-03-15")
    context = {"draftOrders": bundle(draft), "selections": ["MedicationRequest/m"]}
    answer = make().call({}, hook=hook, context=context)
    assert "ematocrit" in summaries(answer)
    assert [seen.path for seen in fhir.asked("Medication/")] == ["/fhir/Medication/x"]


def test_drugs_of_fetched_prescriptions_are_fetched_too(make, fhir):
    fhir.on["Medication/x"] = json_of(MEDICATION)
    fhir.on["MedicationRequest"] = json_of(bundle(prescription(reference="Medication/x")))
    answer = make().call(whole(medicationRequests=None))
    assert "testosterone" in summaries(answer)
    assert quiet(answer) == ""


@pytest.mark.parametrize(
    "reference", ["https://elsewhere.example.org/fhir/Medication/x", "#x", "urn:uuid:1", "Medication/../Patient/q"]
)
def test_drugs_elsewhere_are_not_fetched(make, fhir, reference):
    answer = make().call(whole(medicationRequests=bundle(prescription(reference=reference))))
    assert fhir.seen == []
    assert answer.status_code == 200


def test_a_drug_that_cannot_be_fetched_is_told(make, fhir):
    fhir.on["Medication/x"] = ehr.refuse(410)
    answer = make().call(whole(medicationRequests=bundle(prescription(), prescription("n", "Medication/x"))))
    assert "answered with an error (HTTP 410; prefetch key `Medication`)" in quiet(answer)


def test_many_drugs_are_bounded(make, fhir):
    fhir.on["Medication/"] = json_of(MEDICATION)
    many = [prescription(f"m{number}", f"Medication/x{number}") for number in range(40)]
    answer = make().call(whole(medicationRequests=bundle(prescription(), *many)))
    assert len(fhir.asked("Medication/")) == 20
    assert "more than is read in one call (prefetch key `Medication`)" in quiet(answer)


# -- pages -------------------------------------------------------------------------------------------


def test_pages_are_followed_from_the_one_that_came(make, fhir):
    fhir.on["Observation?page=2"] = json_of(bundle(hematocrit("h2", "2026-02-01"), following="Observation?page=3"))
    fhir.on["Observation?page=3"] = json_of(bundle(hematocrit("h3", "2026-01-01")))
    first = bundle(hematocrit("h1", "2026-03-01", 56), following=f"{fhir.url}/Observation?page=2")
    answer = make().call(whole(**{lab_key(): first}))
    assert "Hematocrit 56" in summaries(answer)
    assert quiet(answer) == ""
    assert [seen.path for seen in fhir.seen] == ["/fhir/Observation?page=2", "/fhir/Observation?page=3"]


def test_pages_that_the_server_forgot_are_asked_for_anew(make, fhir):
    fhir.on["Observation?page=2"] = ehr.refuse(410)
    fhir.on["Observation?patient=p"] = json_of(bundle(hematocrit("h", "2026-03-01", 56)))
    first = bundle(hematocrit("h1", "2026-03-01", 47), following=f"{fhir.url}/Observation?page=2")
    answer = make().call(whole(**{lab_key(): first}))
    assert "Hematocrit 56" in summaries(answer)
    assert quiet(answer) == ""


@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.1:{other}/fhir/Observation?page=2",
        "http://localhost:{port}/fhir/Observation?page=2",
        "https://127.0.0.1:{port}/fhir/Observation?page=2",
        "http://127.0.0.1:{port}/fhirx/Observation?page=2",
        "http://127.0.0.1:{port}/fhir/../admin",
        "http://127.0.0.1:{port}/fhir/%2e%2e/admin",
        "//127.0.0.1:{other}/fhir/Observation",
        "http://127.0.0.1:{port}@127.0.0.1:{other}/fhir/Observation",
        "file:///etc/passwd",
        "http://[::1",
    ],
)
def test_a_next_page_elsewhere_is_not_followed(make, fhir, stranger, link):
    url = link.format(port=fhir.port, other=stranger.port)
    fhir.on["Observation"] = json_of(bundle(hematocrit("h", "2026-03-01", 56), following=url))
    answer = make().call(whole(**{lab_key(): None}))
    assert (stranger.seen, len(fhir.seen)) == ([], 1)
    assert "Hematocrit 56" in summaries(answer)  # what came is judged
    assert "its next page lies elsewhere" in answer.text


def test_pages_in_a_circle_end(make, fhir):
    fhir.on["Observation?patient"] = json_of(bundle(hematocrit("h1", "2026-03-01", 56), following="Observation?a"))
    fhir.on["Observation?a"] = json_of(bundle(hematocrit("h2", "2026-02-01"), following="Observation?b"))
    fhir.on["Observation?b"] = json_of(bundle(hematocrit("h3", "2026-02-01"), following="Observation?a"))
    answer = make().call(whole(**{lab_key(): None}))
    assert len(fhir.seen) == 3
    assert "its pages go round in a circle" in answer.text


def test_no_more_pages_than_the_setting_says(make, fhir):
    count = iter(range(1000))

    def another(handler: Any) -> None:
        number = next(count)
        page = bundle(hematocrit(f"h{number}", "2026-03-01", 56), following=f"Observation?page={number}")
        json_of(page)(handler)

    fhir.on["Observation"] = another
    service = make(fhir_max_pages=3)
    answer = service.call(whole(**{lab_key(): None}))
    assert len(fhir.seen) == 3
    assert "Hematocrit 56" in summaries(answer)
    assert service.log["gaps"][lab_key()] == "too_much"


@pytest.mark.parametrize(("most", "kind"), [(100, None), (99, "too_much")])
def test_no_more_resources_than_the_setting_says(make, fhir, most, kind):
    many = [hematocrit(f"h{number}", f"2026-01-{number % 28 + 1:02d}") for number in range(100)]
    fhir.on["Observation"] = json_of(bundle(*many))
    service = make(fhir_max_resources=most)
    service.call(whole(**{lab_key(): None}))
    assert service.log.get("gaps", {}).get(lab_key()) == kind


# -- servers that fail -------------------------------------------------------------------------------

FAULTS: dict[str, tuple[Any, str]] = {
    "401": (ehr.refuse(401), "denied"),
    "403": (ehr.refuse(403), "denied"),
    "404": (ehr.refuse(404), "failed"),
    "410": (ehr.refuse(410), "failed"),
    "429": (ehr.refuse(429), "failed"),
    "500": (ehr.refuse(500), "failed"),
    "503 in HTML": (ehr.text_of("<html>", 503, "text/html"), "failed"),
    "204": (ehr.text_of("", 204), "failed"),
    "HTML": (ehr.text_of("<html>", media="text/html"), "not_fhir"),
    "HTML said to be JSON": (ehr.text_of("<html>"), "not_fhir"),
    "JSON said to be text": (json_of(bundle(), media="text/plain"), "not_fhir"),
    "XML": (ehr.text_of("<Bundle/>", media="application/fhir+xml"), "not_fhir"),
    "empty": (ehr.text_of(""), "not_fhir"),
    "JSON that is no FHIR": (json_of({"a": 1}), "not_fhir"),
    "a list": (json_of([]), "not_fhir"),
    "null": (json_of(None), "not_fhir"),
    "nested without end": (ehr.text_of('{"resourceType":"Bundle","entry":' + "[" * 200_000), "not_fhir"),
    "OperationOutcome": (json_of({"resourceType": "OperationOutcome"}), "outcome"),
    "another resource": (json_of(ehr.PATIENT), "wrong_type"),
    "hangs up": (ehr.hang_up, "unreachable"),
    "breaks off": (ehr.cut_short, "unreachable"),
    "broken gzip": (ehr.text_of("no gzip", Content_Encoding="gzip"), "not_fhir"),
    "gzip bomb": (ehr.bomb(64), "too_much"),
    "endless": (ehr.endless, "too_much"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_leaves_its_key_unknown_and_the_rest_judged(make, fhir, fault):
    behaviour, kind = FAULTS[fault]
    fhir.on["Observation"] = behaviour
    service = make(fhir_max_mb=2)
    fhir.on["Condition"] = json_of(bundle())
    answer = service.call(whole(**{lab_key(): None, "conditions": None}))
    assert answer.status_code == 200
    gaps = dict(service.log["gaps"])
    assert gaps.pop(lab_key()) == kind
    # The bytes are counted over the whole call: an answer without end may take those of the others as well.
    assert set(gaps) <= ({"conditions"} if kind == "too_much" else set())
    assert service.log["fetched"] == {lab_key(): kind, "conditions": gaps.get("conditions", "ok")}
    told = json.dumps(answer.get_json()["cards"])
    assert f"prefetch key `{lab_key()}`" in told
    assert TOKEN not in told


@pytest.mark.parametrize("to", ["http://127.0.0.1:{other}/fhir/Observation", "/fhir/Observation2", "file:///etc"])
def test_no_redirect_is_followed(make, fhir, stranger, to):
    fhir.on["Observation"] = ehr.redirect(to.format(other=stranger.port))
    service = make()
    answer = service.call(whole(**{lab_key(): None}))
    assert (len(fhir.seen), stranger.seen) == (1, [])
    assert service.log["gaps"] == {lab_key(): "failed"}
    assert "HTTP 302" in answer.text


@pytest.mark.parametrize("slow", [ehr.hang, ehr.drip_head, ehr.drip_body], ids=lambda each: each.__name__)
def test_a_slow_server_holds_a_call_no_longer_than_the_deadline(make, fhir, slow):
    fhir.on["Observation"] = slow
    service = make(fhir_deadline_ms=600)
    service.call(whole(conditions=None))  # loads what is loaded once
    began = time.monotonic()
    answer = service.call(whole(**{lab_key(): None}))
    assert time.monotonic() - began < 0.6 + MARGIN
    assert service.log["gaps"] == {lab_key(): "timed_out"}
    assert "did not answer in time" in answer.text


@pytest.mark.parametrize("slow", [ehr.hang, ehr.drip_head, ehr.drip_body], ids=lambda each: each.__name__)
def test_threads_that_were_given_up_end(make, fhir, slow):
    """Calls of a server that hangs, more than there are threads, leave none that is still busy with one of them."""
    fhir.on[""] = slow
    service = make(fhir_deadline_ms=150)
    for _ in range(1 + MOST_THREADS // len(expected())):
        assert service.call({}).status_code == 412
    fhir.on.clear()
    end = time.monotonic() + MARGIN
    while "timed_out" in service.call(whole(conditions=None)).text and time.monotonic() < end:
        pass
    assert service.log["fetched"] == {"conditions": "ok"}


def test_pages_that_came_in_time_are_used(make, fhir):
    fhir.on["Observation?patient"] = json_of(bundle(hematocrit("h1", "2026-03-01", 56), following="Observation?a"))
    fhir.on["Observation?a"] = ehr.hang
    service = make(fhir_deadline_ms=2500)
    answer = service.call(whole(**{lab_key(): None}))
    assert "Hematocrit 56" in summaries(answer)
    assert service.log["gaps"] == {lab_key(): "timed_out"}


def test_resources_of_another_patient_are_not_used(make, fhir):
    fhir.on["Observation"] = json_of(bundle(hematocrit("h", "2026-03-01", 56, patient="q")))
    service = make()
    answer = service.call(whole(**{lab_key(): None}))
    assert "Hematocrit 56" not in summaries(answer)
    assert service.log["refused"] == {"other_patient": 1}
    assert "not about this patient" in quiet(answer)


def test_a_connection_that_the_server_closed_is_made_anew(make, fhir):
    met: set[int] = set()

    def once(handler: Any) -> None:
        """Keeps the connection, and closes it at the second request."""
        if handler.client_address[1] in met:
            handler.close_connection = True
        else:
            met.add(handler.client_address[1])
            json_of(bundle())(handler)

    fhir.on["Condition"] = once
    service = make()
    for _ in range(6):
        service.call(whole(conditions=None))
        assert service.log["fetched"] == {"conditions": "ok"}


def test_connections_are_kept(make, fhir):
    service = make()
    for _ in range(8):
        service.call(whole(conditions=None))
    assert len(fhir.seen) == 8
    assert len({seen.peer for seen in fhir.seen}) < 8


def test_no_cookie_is_kept(make, fhir):
    fhir.on["Condition"] = json_of(bundle(), Set_Cookie="session=1; Path=/")
    service = make()
    for _ in range(4):
        service.call(whole(conditions=None))
    assert not [seen for seen in fhir.seen if "Cookie" in seen.headers]


# -- who may be called -------------------------------------------------------------------------------


def test_a_server_that_is_not_listed_is_not_called(make, fhir, stranger):
    service = make(fhir_servers=(FhirServer(stranger.url, True, True),))
    answer = service.call(whole(conditions=None))
    assert (fhir.seen, stranger.seen) == ([], [])
    assert "not among those that this service may call" in quiet(answer)
    assert service.log["gaps"] == {"conditions": "not_listed"}


def test_a_selection_that_is_not_drafted_stays_what_it_is(make, fhir):
    """It cannot be fetched: the EHR has to send it."""
    context = {"draftOrders": bundle(prescription(status="draft")), "selections": ["MedicationRequest/other"]}
    service = make(fhir_servers=(FhirServer("https://ehr.example.org/fhir"),))
    service.call(whole(conditions=None), hook="order-select", context=context)
    assert service.log["gaps"] == {"conditions": "not_listed", "draftOrders": "not_found"}


def test_nobody_is_called_on_a_host_that_others_reach_and_without_a_deadline(make, fhir):
    for settings in (
        {"host": "0.0.0.0", "allow_unauthenticated": True, "fhir_servers": ()},
        {"fhir_deadline_ms": 0},
    ):
        answer = make(**settings).call(whole(conditions=None))
        assert answer.status_code == 200
        assert fhir.seen == []


def test_the_demo_calls_loopback(make, fhir):
    answer = make(fhir_servers=()).call(whole(conditions=None), fhirServer=f"http://localhost:{fhir.port}/fhir/")
    assert quiet(answer) == ""
    assert len(fhir.seen) == 1


def test_a_listed_server_on_a_private_address_needs_leave(make, fhir):
    service = make(fhir_servers=(FhirServer(fhir.url, True, False),))
    service.call(whole(conditions=None))
    assert fhir.seen == []
    assert service.log["gaps"] == {"conditions": "unreachable"}


# -- nothing usable ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [(ehr.refuse(401), "refused access"), (ehr.refuse(500), "answered with an error"), (ehr.hang, "in time")],
)
def test_412_names_keys_and_reasons(make, fhir, behaviour, words):
    fhir.on[""] = behaviour
    answer = make(fhir_deadline_ms=1500).call({})
    assert answer.status_code == 412
    issues = answer.get_json()["issue"]
    assert [issue["expression"] for issue in issues] == [[f"prefetch.{item.key}"] for item in expected()]
    assert all(words in issue["diagnostics"] for issue in issues)


def test_412_if_the_server_is_not_listed(make, fhir):
    answer = make(fhir_servers=(FhirServer("https://ehr.example.org/fhir"),)).call({})
    assert answer.status_code == 412
    assert "the site does not list that fhirServer" in answer.text
    assert fhir.seen == []


# -- the token ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["401", "500", "hangs up", "breaks off", "HTML", "broken head", "not listed"])
def test_the_token_shows_nowhere(make, fhir, caplog, capfd, fault):
    caplog.set_level(logging.DEBUG)
    broken = {"broken head": lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\nno header\r\n\r\n{}")}
    fhir.on[""] = broken.get(fault) or FAULTS.get(fault, (ehr.hang_up,))[0]
    servers = (FhirServer("https://ehr.example.org"),) if fault == "not listed" else None
    service = make(**({"fhir_servers": servers} if servers else {}), fhir_deadline_ms=3000)
    answers = [service.call({}), service.call(whole(conditions=None, patient=None))]
    captured = capfd.readouterr()
    everything = (
        *(answer.text + str(answer.headers) for answer in answers),
        json.dumps(service.log),
        captured.out,
        captured.err,
        caplog.text,
    )
    for text in everything:
        assert TOKEN not in text
    assert "/fhir" not in captured.err + caplog.text


def test_bytes_are_counted_over_all_answers(make, fhir):
    """Each of the searches fits; together they are too much."""
    padded = json.dumps(bundle()).encode() + b" " * (MEBIBYTE // 2)
    fhir.on[""] = ehr.text_of(padded)
    fhir.on["Patient"] = json_of(ehr.PATIENT)
    service = make(fhir_max_mb=1)
    service.call({"medicationRequests": bundle(prescription())})
    assert list(service.log["fetched"].values()).count("ok") <= 3
    assert "too_much" in service.log["fetched"].values()


def test_a_call_that_is_over_is_not_held_on_to(fhir):
    """Nor is its token."""
    client = Client(Settings(fhir_servers=(FhirServer(fhir.url, True, True),)))
    server = client.hosts.find(fhir.url)
    assert server
    errand = client.errand(server, TOKEN)
    job = _Job(Ask("labs1", f"{fhir.url}/Observation", frozenset({"Bundle"})), errand)
    job.give_up()
    job.run()
    answer = job.answer()
    assert answer.failure
    assert answer.failure.kind == "timed_out"
    over = weakref.ref(errand)
    del errand, job, answer
    gc.collect()
    assert over() is None
