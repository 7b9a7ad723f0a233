"""Where keys come from, and what happens when they cannot be had. Addresses are those of a real server."""

from __future__ import annotations

import gzip
import json
import threading
import time
from pathlib import Path

import pytest

from cds_service.security.keys import (
    COOL_DOWN_SECONDS,
    FRESH_SECONDS,
    LIVE_SECONDS,
    PATIENCE_SECONDS,
    STALE_SECONDS,
    FileKeys,
    UrlKeys,
)
from cds_service.security.keyset import KeySetError, fits, read_keys
from cds_service.settings import Client
from tests.security import ehr
from tests.security.ehr import KID, KeyServer, jwk, key_set, token

HERE = "https://cds.example.org/hormones/cds-services"


class Ticks:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks():
    return Ticks()


@pytest.fixture
def problems():
    return []


@pytest.fixture
def keys(key_server, ticks, problems):
    return UrlKeys(key_server.url, problems.append, ticks)


@pytest.fixture
def of_file(tmp_path: Path, ticks, problems):
    return FileKeys(tmp_path / "jwks.json", problems.append, ticks)


def settle():
    """Wait for fetches in the background."""
    for thread in threading.enumerate():
        if thread.name == "keys":
            thread.join(10)


# -- the set -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b"[]", "not a JWK Set"),
        (b"{}", "not a JWK Set"),
        (b'{"keys": {}}', "not a JWK Set"),
        (b'{"keys": []}', "no key"),
        (b'{"keys": [1, null, "x", {}]}', "no key"),
        (key_set(jwk(kid="")), "no key"),
        (key_set(jwk(use="enc")), "no key"),
        (key_set(jwk(key_ops=["sign"])), "no key"),
        (key_set(jwk(key_ops="verify")), "no key"),
        (key_set(jwk(crv="P-256")), "no key"),
        (key_set(jwk(crv="secp256k1")), "no key"),
        (key_set(jwk(x="AAAA")), "no key"),
        (key_set(jwk(x=1)), "no key"),
        (key_set(jwk("RS384", e="!")), "no key"),
        (key_set({"kty": "oct", "kid": KID, "k": "c2VjcmV0", "alg": "HS256"}), "no key"),
        (key_set({"kty": "RSA", "kid": KID, "n": "AQAB", "e": "AQAB"}), "no key"),
        (b" " * 65_537, "more than 65536 bytes"),
    ],
)
def test_a_set_without_a_usable_key(content, words):
    with pytest.raises(KeySetError, match=words):
        read_keys(content)


def test_keys_of_other_kinds_are_passed_over():
    found = read_keys(
        key_set({"kty": "new"}, jwk(use="enc", kid="e"), jwk(), {"kty": "oct", "kid": "o", "k": "AA"})
    )
    assert list(found) == [KID]


def test_two_keys_that_share_a_kid_are_told_apart_by_their_kind():
    found = read_keys(key_set(jwk("RS384"), jwk("ES384")))[KID]
    assert [key.kty for key in found] == ["RSA", "EC"]
    assert [fits(key, "ES384") for key in found] == [False, True]


def test_a_key_is_good_for_its_own_algorithm_only():
    (key,) = read_keys(key_set(jwk("RS384", alg="RS384")))[KID]
    assert fits(key, "RS384")
    assert not any(fits(key, other) for other in ("RS256", "PS384", "ES384"))
    (any_rsa,) = read_keys(key_set(jwk("RS384")))[KID]
    assert all(fits(any_rsa, one) for one in ("RS256", "RS384", "RS512", "PS256"))
    (p384,) = read_keys(key_set(jwk("ES384")))[KID]
    assert [fits(p384, one) for one in ("ES256", "ES384", "ES512")] == [False, True, False]


def test_a_private_key_in_the_set_is_used_as_the_public_one():
    import jwt

    private = jwt.get_algorithm_by_name("ES384").to_jwk(ehr.private_key("ES384", 1), as_dict=True)
    (key,) = read_keys(key_set(private | {"kid": KID}))[KID]
    assert not hasattr(key.public, "private_numbers")


# -- an address --------------------------------------------------------------------------------------


def test_fetched_once_while_fresh(keys, key_server, ticks):
    assert len(keys.find(KID)) == 1
    ticks.now += FRESH_SECONDS - 1
    assert len(keys.find(KID)) == 1
    assert len(key_server.asked) == 1


def test_fetched_ahead_in_the_background(keys, key_server, ticks):
    keys.find(KID)
    asked_in_vain = threading.Event()
    new = key_server.serve(key_set(jwk(kid="new")))

    def later(handler):
        asked_in_vain.wait(10)
        new(handler)

    key_server.answer = later
    ticks.now += FRESH_SECONDS
    assert len(keys.find(KID)) == 1, "not waited for"
    asked_in_vain.set()
    settle()
    assert keys.find("new")
    assert keys.find(KID) == ()
    assert len(key_server.asked) == 2 + 1, "and once more for the kid that is gone"


def test_a_withdrawn_key_works_for_five_minutes_at_most(keys, key_server, ticks):
    keys.find(KID)
    key_server.answer = key_server.serve(key_set(jwk(kid="new")))
    ticks.now += LIVE_SECONDS
    assert keys.find(KID) == ()


def test_a_new_key_is_found_at_once_and_invented_ones_do_not_hammer(keys, key_server, ticks):
    keys.find(KID)
    key_server.answer = key_server.serve(key_set(jwk(), jwk(number=2, kid="new")))
    assert len(keys.find("new")) == 1
    assert len(key_server.asked) == 2
    for number in range(50):
        assert keys.find(f"invented-{number}") == ()
    assert len(key_server.asked) == 2
    ticks.now += COOL_DOWN_SECONDS - 1
    keys.find("invented")
    assert len(key_server.asked) == 2
    ticks.now += 1
    keys.find("invented")
    assert len(key_server.asked) == 3


REDIRECT = {"Location": "/elsewhere"}
BAD_ANSWERS = {
    "500": KeyServer.serve(key_set(), 500),
    "404": KeyServer.serve(key_set(), 404),
    "redirect": KeyServer.serve(key_set(), 302, **REDIRECT),
    "permanent redirect": KeyServer.serve(key_set(), 308, **REDIRECT),
    "garbage": KeyServer.serve(b"<html>maintenance</html>"),
    "empty set": KeyServer.serve(b'{"keys": []}'),
    "nothing": KeyServer.serve(b""),
    "too long": KeyServer.serve(key_set() + b" " * 70_000),
    "gzip bomb": KeyServer.serve(gzip.compress(b" " * 50_000_000), Content_Encoding="gzip"),
    "cut off": lambda handler: handler.connection.close(),
    "cut off in the middle": KeyServer.begin(0),
    "stalls in the middle": KeyServer.begin(PATIENCE_SECONDS + 0.7),
    "slow": lambda handler: time.sleep(PATIENCE_SECONDS + 0.7),
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_trouble_at_the_ehr_leaves_the_keys_that_were_there(keys, key_server, ticks, problems, case):
    keys.find(KID)
    key_server.answer = BAD_ANSWERS[case]
    ticks.now += LIVE_SECONDS
    began = time.monotonic()
    assert len(keys.find(KID)) == 1
    assert time.monotonic() - began < PATIENCE_SECONDS + 1
    settle()
    assert len(problems) == 1
    assert key_server.asked == ["/jwks.json"] * 2, "no redirect is followed"
    assert len(keys.find(KID)) == 1
    assert len(key_server.asked) == 2, "not asked again while it cools down"
    ticks.now += STALE_SECONDS - LIVE_SECONDS - 1
    assert len(keys.find(KID)) == 1
    settle()
    ticks.now += 1
    assert keys.find(KID) is None, "an hour is the bound"
    settle()


def test_nothing_at_the_address(ticks, problems, key_server):
    keys = UrlKeys(key_server.url.replace("/jwks.json", ""), problems.append, ticks)
    key_server.answer = key_server.serve(b"", 503)
    assert keys.find(KID) is None
    assert problems == ["answer 503"]
    key_server.answer = key_server.serve(key_set())
    assert keys.find(KID) is None, "cooling down"
    ticks.now += COOL_DOWN_SECONDS
    assert keys.find(KID)


def test_nobody_listens(ticks, problems):
    keys = UrlKeys("http://127.0.0.1:1/jwks.json", problems.append, ticks)
    assert keys.find(KID) is None
    assert problems == ["ConnectionError"]


def test_a_dripping_server_does_not_hold_calls_up(keys, key_server, problems):
    key_server.answer = key_server.drip(8)
    began = time.monotonic()
    assert keys.find(KID) is None
    assert keys.find(KID) is None
    assert time.monotonic() - began < 3 * PATIENCE_SECONDS + 1
    settle()
    assert time.monotonic() - began < 7
    assert problems == ["took more than 5 seconds"]


def test_a_server_that_drips_its_head_does_not_hold_calls_up(keys, key_server, problems):
    def drip(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        end = time.monotonic() + 20
        while time.monotonic() < end:
            handler.wfile.write(b"a")
            handler.wfile.flush()
            time.sleep(0.1)

    key_server.answer = drip
    began = time.monotonic()
    assert keys.find(KID) is None
    settle()
    assert time.monotonic() - began < 7
    assert problems == ["took more than 5 seconds"]
    key_server.answer = key_server.serve(key_set())
    began = time.monotonic()
    assert keys.find(KID) is None, "cooling down"
    assert time.monotonic() - began < 1


def test_an_endless_answer_is_cut_off(keys, key_server, problems):
    def pour(handler):
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b" " * 4096)

    key_server.answer = pour
    assert keys.find(KID) is None
    settle()
    assert problems == ["more than 65536 bytes"]


def test_no_proxy_and_no_password_of_the_machine(keys, key_server, monkeypatch, tmp_path):
    seen = []

    def answer(handler):
        seen.append(dict(handler.headers))
        key_server.serve(key_set())(handler)

    key_server.answer = answer
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert keys.find(KID)
    assert "Authorization" not in seen[0]


def test_many_threads_ask_once(keys, key_server):
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(keys.find(KID))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(key_server.asked) <= 2
    assert all(found)


# -- a file ------------------------------------------------------------------------------------------


def write(keys: FileKeys, content: bytes) -> None:
    file = keys._path.with_suffix(".new")
    file.write_bytes(content)
    file.replace(keys._path)


def test_file_is_read_anew_when_it_changes(of_file):
    write(of_file, key_set())
    assert len(of_file.find(KID)) == 1
    write(of_file, key_set(jwk(kid="new")))
    assert of_file.find(KID) == ()
    assert len(of_file.find("new")) == 1


def test_file_is_not_read_while_it_stays(of_file, monkeypatch):
    write(of_file, key_set())
    of_file.find(KID)
    monkeypatch.setattr("cds_service.security.keys.read_keys", lambda content: pytest.fail("read"))
    assert len(of_file.find(KID)) == 1


@pytest.mark.parametrize("trouble", ["empty", "garbage", "gone"])
def test_file_at_fault_leaves_the_keys_for_an_hour(of_file, ticks, problems, trouble):
    write(of_file, key_set())
    of_file.find(KID)
    if trouble == "gone":
        of_file._path.unlink()
    else:
        write(of_file, b'{"keys": []}' if trouble == "empty" else b"{")
    ticks.now += 10
    assert len(of_file.find(KID)) == 1
    assert len(of_file.find(KID)) == 1
    assert len(problems) == 1
    ticks.now += STALE_SECONDS - 11
    assert len(of_file.find(KID)) == 1
    ticks.now += 1
    assert of_file.find(KID) is None
    write(of_file, key_set())
    assert len(of_file.find(KID)) == 1, "as soon as it is well again"


def test_file_that_never_was(of_file, problems):
    assert of_file.find(KID) is None
    assert problems == ["FileNotFoundError"]


# -- the whole service -------------------------------------------------------------------------------


@pytest.fixture
def with_address(serve, key_server):
    """The service, whose client's keys are at an address."""
    return serve(clients=(Client(name="ehr", issuer=ehr.ISSUER, jwks_url=key_server.url),))


def ask(service, said):
    return service.get("/cds-services", headers={"Authorization": f"Bearer {said}"})


def test_key_rotation(with_address, key_server, log_lines):
    assert ask(with_address, token(HERE)).status_code == 200
    key_server.answer = key_server.serve(key_set(jwk(), jwk(number=2, kid="key-2")))
    assert ask(with_address, token(HERE, number=2, header={"kid": "key-2"})).status_code == 200
    assert ask(with_address, token(HERE, number=2)).status_code == 401
    assert log_lines()[-1]["refusal"] == "signature_wrong"


def test_jku_may_only_equal_the_configured_address(with_address, key_server, log_lines):
    assert ask(with_address, token(HERE, header={"jku": key_server.url})).status_code == 200
    with ehr.key_server() as evil:
        evil.answer = evil.serve(key_set(jwk(number=2)))
        tricks = [
            evil.url,
            f"{key_server.url}?x",
            f"{key_server.url}#",
            f"{key_server.url}/../evil",
            key_server.url.replace("http://", f"{evil.url.removesuffix('/jwks.json')}@"),
            key_server.url.upper(),
            "file:///etc/passwd",
            "",
            [key_server.url],
            1,
        ]
        for jku in tricks:
            said = ehr.sign({"alg": "ES384", "kid": KID, "jku": jku}, ehr.claims(HERE), number=2)
            assert ask(with_address, said).status_code == 401
            assert log_lines()[-1]["refusal"] == "jku_foreign", jku
        assert evil.asked == []


def test_ehr_is_down_from_the_start(with_address, serve, key_server, log_lines):
    key_server.answer = key_server.serve(b"", 503)
    service = serve(clients=(Client(name="ehr", issuer=ehr.ISSUER, jwks_url=key_server.url),))
    assert ask(service, token(HERE)).status_code == 401
    lines = log_lines()
    assert lines[-1]["refusal"] == "keys_unavailable"
    assert {"event": "keys", "client": "ehr", "problems": ["answer 503"]}.items() <= next(
        line for line in lines if line["event"] == "keys"
    ).items()
    assert json.dumps(lines).count(key_server.url) == 0
