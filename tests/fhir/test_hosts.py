"""Who may be called: by the address as it is written, and by the address that its name stands for."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests_hardened.ip_filter import InvalidIPAddress

from cds_service.fhir.client import Client
from cds_service.fhir.hosts import Hosts, Server, can_fetch, take_apart
from cds_service.fhir.transport import Line, address_of, get, is_allowed, make_session
from cds_service.fhir.unanswered import Unanswered
from cds_service.settings import FhirServer, Settings
from tests.fhir import fhir_server as ehr
from tests.fhir.fhir_server import serving

EHR = "https://ehr.example.org/fhir/r4"


def hosts(*urls: str, host: str = "127.0.0.1", **options: Any) -> Hosts:
    return Hosts(Settings(host=host, fhir_servers=tuple(FhirServer(url, **options) for url in urls)))


# -- what the EHR names ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "path"),
    [
        (EHR, "/fhir/r4"),
        (f"{EHR}/", "/fhir/r4"),
        (f"{EHR}/tenant-1", "/fhir/r4/tenant-1"),
        ("HTTPS://EHR.example.org:443/fhir/r4", "/fhir/r4"),
    ],
)
def test_a_listed_server_and_what_lies_below_it(named, path):
    assert hosts(EHR).find(named) == Server("https://ehr.example.org", path, "public")


@pytest.mark.parametrize(
    "named",
    [
        "https://ehr.example.org/fhir",
        "https://ehr.example.org/fhir/r4x",
        "https://ehr.example.org/fhir/r4/../../admin",
        "https://ehr.example.org/fhir/r4/%2E%2e/admin",
        "https://ehr.example.org/fhir/r4%2f..%2fadmin",
        "https://ehr.example.org/fhir/r4/%252e%252e/admin",
        "https://ehr.example.org/fhir/r4\\..\\admin",
        "https://ehr.example.org/fhir/r4?x=1",
        "https://ehr.example.org/fhir/r4#x",
        "https://ehr.example.org/FHIR/r4",
        "http://ehr.example.org/fhir/r4",
        "https://ehr.example.org:8443/fhir/r4",
        "https://ehr.example.org:99999/fhir/r4",
        "https://ehr.example.org./fhir/r4",
        "https://evil.example.org/fhir/r4",
        "https://ehr.example.org.evil.example.org/fhir/r4",
        "https://ehr.example.org@evil.example.org/fhir/r4",
        "https://evil.example.org\\@ehr.example.org/fhir/r4",
        "https://user:password@ehr.example.org/fhir/r4",
        "https://ehr.example.org /fhir/r4",
        "https://ehr.example.org\t/fhir/r4",
        "https://ehr.example.org/fhir/r4\n",
        "//ehr.example.org/fhir/r4",
        "ftp://ehr.example.org/fhir/r4",
        "file:///fhir/r4",
        "",
    ],
)
def test_anything_else_is_not_listed(named):
    assert hosts(EHR).find(named) is None


def test_http_needs_leave():
    url = "http://ehr.example.org/fhir"
    assert hosts(url).find(url) is None
    assert hosts(url, allow_http=True).find(url) is not None


def test_a_port_of_its_own_is_part_of_the_origin():
    found = hosts("https://ehr.example.org:8443/fhir").find("https://ehr.example.org:8443/fhir")
    assert found == Server("https://ehr.example.org:8443", "/fhir", "public")


@pytest.mark.parametrize(
    "named", ["http://127.0.0.1:8081/fhir", "http://localhost/fhir", "https://[::1]:8443/fhir", "http://127.8.9.1"]
)
def test_the_demo_calls_loopback_and_nothing_else(named):
    found = hosts().find(named)
    assert found is not None
    assert found.reach == "loopback"
    assert hosts(host="0.0.0.0").find(named) is None
    assert hosts(EHR).find(named) is None


@pytest.mark.parametrize(
    "named",
    [
        EHR,
        "http://10.0.0.5/fhir",
        "http://169.254.169.254/fhir",
        "http://localhost.evil.example.org/fhir",
        "http://0.0.0.0/fhir",
        "http://2130706433/fhir",
        "http://127.1/fhir",
        "http://[::ffff:10.0.0.1]/fhir",
    ],
)
def test_the_demo_does_not_call_elsewhere(named):
    assert hosts().find(named) is None


@pytest.mark.parametrize(
    ("settings", "possible"),
    [
        (Settings(), True),
        (Settings(fhir_deadline_ms=0), False),
        (Settings(host="0.0.0.0"), False),
        (Settings(host="0.0.0.0", fhir_servers=(FhirServer(EHR),)), True),
    ],
)
def test_whether_there_can_be_fetching(settings, possible):
    assert can_fetch(settings) is possible


# -- what is asked of it -----------------------------------------------------------------------------

SERVER = Server("https://ehr.example.org", "/fhir/r4", "public")


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        (f"{EHR}?_getpages=1&_offset=20", f"{EHR}?_getpages=1&_offset=20"),
        (f"{EHR}/?page=2", f"{EHR}/?page=2"),
        ("Observation?page=2", f"{EHR}/Observation?page=2"),
        ("/fhir/r4/Observation", f"{EHR}/Observation"),
        (f"{EHR}/Observation?code=http://loinc.org|718-7", f"{EHR}/Observation?code=http://loinc.org|718-7"),
        ("/fhir/Observation", None),
        ("../Observation", None),
        ("//evil.example.org/fhir/r4/Observation", None),
        ("https://evil.example.org/fhir/r4/Observation", None),
        ("http://ehr.example.org/fhir/r4/Observation", None),
        (f"{EHR}/./Observation", None),
        (f"{EHR}/Observation#x", None),
        ("javascript:alert(1)", None),
        ("http://[", None),
    ],
)
def test_a_link_is_followed_below_the_base_only(url, sent):
    assert SERVER.own(url) == sent


@given(st.text(max_size=60))
def test_no_text_leads_out_of_the_base(url):
    for text in (url, f"{EHR}/{url}", f"https://{url}/fhir/r4", f"{EHR}{url}"):
        sent = SERVER.own(text)
        assert sent is None or sent == EHR or sent.startswith((f"{EHR}/", f"{EHR}?"))
        assert sent is None or not {".", ".."} & set(sent.partition("?")[0].split("/"))


def test_a_template_is_filled_and_encoded():
    template = "Observation?patient={{context.patientId}}&code=http://loinc.org|718-7,urn:oid:1|A%20B&_count=9"
    assert SERVER.ask(template, "p-1.x_2") == (
        f"{EHR}/Observation?patient=p-1.x_2&code=http://loinc.org%7C718-7,urn:oid:1%7CA%20B&_count=9"
    )


@pytest.mark.parametrize(("patient", "asked"), [("..", None), (".", None), ("a/b", None), ("a&b=c", "a%26b%3Dc")])
def test_an_id_cannot_ask_for_something_else(patient, asked):
    assert SERVER.ask("Patient/{{context.patientId}}", patient) == (asked and f"{EHR}/Patient/{asked}")


def test_a_url_is_taken_apart_as_it_is_put_together():
    assert take_apart("HTTP://A.example:80/x/?q=1") == ("http://a.example", "a.example", "/x/", "q=1")


# -- addresses ---------------------------------------------------------------------------------------

ADDRESSES = {
    "127.0.0.1": ("loopback", "private"),
    "127.255.0.1": ("loopback", "private"),
    "::1": ("loopback", "private"),
    "::ffff:127.0.0.1": ("loopback", "private"),
    "10.1.2.3": ("private",),
    "172.16.0.1": ("private",),
    "192.168.1.1": ("private",),
    "fd12::1": ("private",),
    "93.184.216.34": ("public", "private"),
    "2606:4700::1": ("public", "private"),
    "::ffff:93.184.216.34": ("public", "private"),
    "::ffff:10.1.2.3": ("private",),
    "169.254.169.254": (),
    "::ffff:169.254.169.254": (),
    "fe80::1": (),
    "fd00:ec2::254": (),
    "fd20:ce::254": (),
    "100.100.100.200": (),
    "192.0.0.192": (),
    "fec0::1": (),
    "2001:0:a9fe:a9fe::1": (),
    "::169.254.169.254": (),
    "::127.0.0.1": (),
    "168.63.129.16": (),
    "100.64.0.1": (),
    "0.0.0.0": (),
    "0.1.2.3": (),
    "::": (),
    "224.0.0.1": (),
    "ff02::1": (),
    "240.0.0.1": (),
    "255.255.255.255": (),
    "64:ff9b::a9fe:a9fe": (),
    "2002:a9fe:a9fe::1": (),
}


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("reach", ["loopback", "private", "public"])
def test_addresses_by_reach(address, reach):
    assert is_allowed(ipaddress.ip_address(address), reach) is (reach in ADDRESSES[address])


class Resolver:
    """Answers look-ups of names as it is told, one answer after the other; the last one stays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self._real = socket.getaddrinfo
        self._answers = list(answers)
        self.asked: list[str] = []
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if not str(host).endswith(".test"):
            return self._real(host, port, *args, **options)
        self.asked.append(str(host))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [info for address in answer for info in self._real(address, port, *args, **options)]


@pytest.mark.parametrize(
    ("reach", "good", "bad"), [("private", "10.0.0.1", "169.254.169.254"), ("public", "93.184.216.34", "10.0.0.1")]
)
def test_one_address_that_may_not_be_called_spoils_the_name(monkeypatch, reach, good, bad):
    Resolver(monkeypatch, [good, bad])
    with pytest.raises(InvalidIPAddress):
        address_of("ehr.test", 443, reach)


@pytest.mark.parametrize("address", ["168.63.129.16", "169.254.169.254", "10.0.0.1", "127.0.0.1"])
def test_a_public_server_is_at_a_public_address(monkeypatch, address):
    Resolver(monkeypatch, [address])
    with pytest.raises(Unanswered) as caught:
        fetch("http://ehr.test:9/fhir/Patient/p", "public")
    assert (caught.value.kind, caught.value.detail) == (
        "unreachable",
        "its address is not one that may be called",
    )


def test_ipv4_comes_first(monkeypatch):
    Resolver(monkeypatch, ["::1", "127.0.0.1"])
    assert address_of("ehr.test", 443, "loopback") == "127.0.0.1"
    Resolver(monkeypatch, ["::1"])
    assert address_of("ehr.test", 443, "loopback") == "[::1]"


def fetch(url: str, reach: Any, seconds: float = 5) -> bytes:
    import time

    with make_session(reach) as session:
        return get(session, url, "token", Line(), time.monotonic() + seconds, lambda _: True)


def test_the_address_that_was_checked_is_the_one_that_is_called(monkeypatch):
    """A name that means a harmless address when it is checked and another when it is called (DNS rebinding)."""
    with serving() as good, serving() as bad:
        resolver = Resolver(monkeypatch, ["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"])
        fetch(f"http://ehr.test:{good.port}/fhir/Patient/p", "private")
        assert len(resolver.asked) == 1
        assert [seen.headers["Host"] for seen in good.seen] == [f"ehr.test:{good.port}"]
        with pytest.raises(Unanswered) as caught:
            fetch(f"http://ehr.test:{bad.port}/fhir/Patient/p", "private")
        assert (caught.value.kind, bad.seen) == ("unreachable", [])


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1"])
def test_a_public_server_is_not_on_an_address_of_ours(monkeypatch, address):
    Resolver(monkeypatch, [address])
    with pytest.raises(Unanswered) as caught:
        fetch("http://ehr.test:9/fhir", "public")
    assert caught.value.detail == "its address is not one that may be called"


def test_a_name_that_does_not_exist(monkeypatch):
    def nobody(*_: Any, **__: Any) -> Any:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    for reach in ("public", "private"):
        with pytest.raises(Unanswered) as caught:
            fetch("http://ehr.test:9/fhir", reach)
        assert caught.value.kind == "unreachable"


def test_a_server_whose_certificate_nobody_signed_is_not_read(tmp_path):
    """TLS to a server that speaks plain HTTP: no answer is taken, and the reason is told."""
    with serving() as server:
        with pytest.raises(Unanswered) as caught:
            fetch(f"https://127.0.0.1:{server.port}/fhir/Patient/p", "loopback")
        assert (caught.value.kind, caught.value.detail) == ("unreachable", "no trusted TLS connection")
        assert server.seen == []


def test_proxies_and_passwords_of_the_environment_are_not_used(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with serving() as server, serving() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        fetch(f"{server.url}/Patient/p", "loopback")
        assert [seen.headers["Authorization"] for seen in server.seen] == ["Bearer token"]
        assert proxy.seen == []


def test_what_the_reason_says_names_neither_address_nor_token():
    with serving() as server:
        server.on["Patient"] = ehr.hang_up
        with pytest.raises(Unanswered) as caught:
            fetch(f"{server.url}/Patient/p", "loopback")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "p" not in caught.value.detail.split()


def test_a_client_costs_nothing_until_it_is_needed():
    client = Client(Settings())
    assert client._threads is None


def test_behind_a_proxy_that_others_reach_nothing_on_loopback_is_called():
    foreign = Settings(public_url="https://cds.example.org")
    assert Hosts(Settings()).find("http://127.0.0.1:8081/fhir") is not None
    assert can_fetch(Settings())
    assert Hosts(foreign).find("http://127.0.0.1:8081/fhir") is None
    assert not can_fetch(foreign)
