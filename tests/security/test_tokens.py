"""Who gets in and who does not: every refusal by its reason, which the caller is never told."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from jwt.utils import base64url_encode

from cds_service.security.refusals import REASONS
from cds_service.settings import Client
from tests.security import ehr
from tests.security.conftest import BASE, KINDS
from tests.security.ehr import ISSUER, KID, NOW, token

DISCOVERY = "/cds-services"
VIEW = "/cds-services/hormone-therapy-patient-view"
HERE = BASE + DISCOVERY


def ask(service, said, path=DISCOVERY, **more) -> Any:
    headers = {"Authorization": f"Bearer {said}"} if said is not None else {}
    return service.open(path, headers=headers, **more)


@pytest.fixture
def reason(service, log_lines):
    """Ask with a token; why it was refused, '' if it was not."""

    def of(said, path=DISCOVERY, **more) -> str:
        response = ask(service, said, path, **more)
        line = log_lines()[-1]
        assert line["status"] == response.status_code
        assert (response.status_code == 401) == ("refusal" in line)
        return str(line.get("refusal", ""))

    return of


# -- accepted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", KINDS)
def test_every_algorithm_that_is_listed(reason, algorithm):
    kid = KID if algorithm == "ES384" else algorithm
    assert reason(token(HERE, algorithm=algorithm, header={"kid": kid})) == ""


@pytest.mark.parametrize(
    ("path", "audience"),
    [
        ("/cds-services", "/cds-services"),
        ("/cds-services/", "/cds-services/"),
        ("/cds-services?x=1", "/cds-services"),
        (VIEW, VIEW),
        ("/cds-services//hormone-therapy-patient-view", "/cds-services//hormone-therapy-patient-view"),
        (f"{VIEW}/feedback", f"{VIEW}/feedback"),
    ],
)
def test_audience_is_the_address_as_it_was_called(reason, path, audience):
    assert reason(token(BASE + audience), path) == ""


def test_audience_of_a_service_without_a_proxy(serve, log_lines):
    service = serve(public_url="", port=8123)
    assert ask(service, token("http://127.0.0.1:8123/cds-services")).status_code == 200
    assert ask(service, token("http://localhost:8123/cds-services")).status_code == 401


def test_a_list_of_audiences_with_ours(reason):
    assert reason(token(["https://other.example.org", HERE])) == ""


def test_a_card_for_a_known_caller(service, make_call, log_lines):
    response = ask(service, token(BASE + VIEW), VIEW, method="POST", json=make_call())
    assert response.status_code == 200
    assert "cards" in response.get_json()
    assert log_lines()[-1]["client"] == "ehr"


def test_header_parameters_that_are_only_hints(reason):
    hints = {"x5t": "abc", "x5c": ["MIIB"], "x5u": "https://evil.example.org/c", "cty": "x", "typ": "at+jwt"}
    assert reason(token(HERE, header=hints)) == ""
    assert reason(token(HERE, header={"typ": None})) == ""


def test_nbf_five_minutes_early(reason):
    """As Epic sends it."""
    assert reason(token(HERE, algorithm="RS384", header={"kid": "RS384"}, nbf=NOW - 300, sub="x")) == ""


def test_with_a_key_file_any_jku_is_passed_over(reason, key_server):
    """The Sandbox names its public host, wherever it runs; its key is known from a file."""
    assert reason(token(HERE, header={"jku": "https://sandbox.cds-hooks.org/.well-known/jwks.json"})) == ""
    assert reason(token(HERE, header={"jku": key_server.url})) == ""
    assert key_server.asked == []


def test_scheme_in_any_case(service):
    for scheme in ("bearer", "BEARER", "Bearer "):
        headers = {"Authorization": f"{scheme} {token(HERE)}"}
        assert service.get(DISCOVERY, headers=headers).status_code == 200


# -- refused -----------------------------------------------------------------------------------------


def forged(algorithm: Any, secret: bytes = b"") -> str:
    """An unsigned token, or one with an HMAC of anything that is public."""
    import hashlib
    import hmac

    header = {"alg": algorithm, "typ": "JWT", "kid": KID}
    signed = b".".join(base64url_encode(json.dumps(one).encode()) for one in (header, ehr.claims(HERE)))
    proof = hmac.new(secret, signed, hashlib.sha384).digest() if secret else b""
    return b".".join((signed, base64url_encode(proof))).decode()


def tampered(part: int) -> str:
    pieces = token(HERE).split(".")
    middle = len(pieces[part]) // 2
    swapped = "A" if pieces[part][middle] != "A" else "B"
    pieces[part] = pieces[part][:middle] + swapped + pieces[part][middle + 1 :]
    return ".".join(pieces)


def with_claims_of_another() -> str:
    one, other = token(HERE).split("."), token(HERE, sub="admin").split(".")
    return ".".join((one[0], other[1], one[2]))


def with_header_of_another() -> str:
    one, other = token(HERE).split("."), token(HERE, header={"typ": "x"}).split(".")
    return ".".join((other[0], one[1], one[2]))


ENDLESS = "a." * 500_000

FORMS = {
    "no header": (lambda: None, "token_missing"),
    "empty": (lambda: "", "token_scheme"),
    "one part": (lambda: "abc", "token_scheme"),
    "two parts": (lambda: ".".join(token(HERE).split(".")[:2]), "token_scheme"),
    "four parts": (lambda: token(HERE) + ".abc", "token_scheme"),
    "encrypted, five parts": (lambda: "a.b.c.d.e", "token_scheme"),
    "two tokens": (lambda: f"{token(HERE)},Bearer {token(HERE)}", "token_scheme"),
    "not ASCII": (lambda: "é" + token(HERE), "token_scheme"),
    "padded base64": (lambda: token(HERE) + "==", "token_scheme"),
    "a megabyte": (lambda: "a" * 1_000_000, "token_too_long"),
    "a megabyte of parts": (lambda: ENDLESS, "token_too_long"),
    "not base64": (lambda: "a.b.c", "token_unreadable"),
    "not JSON": (lambda: "YWJj.YWJj.YWJj", "token_unreadable"),
    "header a list": (lambda: ehr.sign(["ES384"], ehr.claims(HERE)), "token_unreadable"),
    "claims a list": (lambda: ehr.sign({"alg": "ES384", "kid": KID}, [1]), "token_unreadable"),
    "claims a text": (lambda: ehr.sign({"alg": "ES384", "kid": KID}, "x"), "token_unreadable"),
    "deep": (lambda: f"{base64url_encode(b'[' * 9000).decode()}.YWJj.YWJj", "token_unreadable"),
}
HEADERS = {
    "alg none": (lambda: forged("none"), "algorithm_forbidden"),
    "alg None": (lambda: forged("None"), "algorithm_forbidden"),
    "alg NONE": (lambda: forged("NONE"), "algorithm_forbidden"),
    "alg nOnE": (lambda: forged("nOnE"), "algorithm_forbidden"),
    "alg empty": (lambda: forged(""), "algorithm_forbidden"),
    "alg null": (lambda: forged(None), "algorithm_forbidden"),
    "alg a list": (lambda: forged(["ES384"]), "algorithm_forbidden"),
    "no alg": (lambda: token(HERE, header={"alg": None}), "algorithm_forbidden"),
    "HS256 with the public PEM": (lambda: forged("HS256", ehr.pem("ES384")), "algorithm_forbidden"),
    "HS384 with the public PEM": (lambda: forged("HS384", ehr.pem("ES384")), "algorithm_forbidden"),
    "HS384 with the JWK Set": (lambda: forged("HS384", ehr.key_set()), "algorithm_forbidden"),
    "HS512 without a secret": (lambda: forged("HS512"), "algorithm_forbidden"),
    "EdDSA": (lambda: forged("EdDSA"), "algorithm_forbidden"),
    "ES256K": (lambda: forged("ES256K"), "algorithm_forbidden"),
    "embedded jwk": (
        lambda: token(HERE, number=2, header={"jwk": ehr.jwk(number=2)}),
        "key_embedded",
    ),
    "crit": (lambda: token(HERE, header={"crit": ["exp"]}), "header_critical"),
    "crit b64": (lambda: token(HERE, header={"crit": ["b64"], "b64": False}), "header_critical"),
    "crit empty": (lambda: token(HERE, header={"crit": []}), "header_critical"),
    "b64 alone": (lambda: token(HERE, header={"b64": False}), "header_critical"),
    "no kid": (lambda: token(HERE, header={"kid": None}), "kid_missing"),
    "kid empty": (lambda: token(HERE, header={"kid": ""}), "kid_missing"),
    "kid a number": (lambda: token(HERE, header={"kid": 1}), "kid_missing"),
    "kid a list": (lambda: token(HERE, header={"kid": [KID]}), "kid_missing"),
    "kid unknown": (lambda: token(HERE, header={"kid": "other"}), "kid_unknown"),
    "kid a path": (lambda: token(HERE, header={"kid": "../../../../dev/null"}), "kid_unknown"),
    "kid an address": (lambda: token(HERE, header={"kid": "http://127.0.0.1/k"}), "kid_unknown"),
    "kid SQL": (lambda: token(HERE, header={"kid": "' or 1=1 --"}), "kid_unknown"),
    "kid in other letters": (lambda: token(HERE, header={"kid": KID.upper()}), "kid_unknown"),
}
CLAIMS = {
    "no iss": (lambda: token(HERE, iss=None), "iss_missing"),
    "iss a list": (lambda: token(HERE, iss=[ISSUER]), "iss_malformed"),
    "iss a number": (lambda: token(HERE, iss=1), "iss_malformed"),
    "iss another": (lambda: token(HERE, iss="https://evil.example.org"), "iss_unknown"),
    "iss empty": (lambda: token(HERE, iss=""), "iss_unknown"),
    "iss longer": (lambda: token(HERE, iss=f"{ISSUER}.evil.org"), "iss_unknown"),
    "iss with a slash": (lambda: token(HERE, iss=f"{ISSUER}/"), "iss_unknown"),
    "iss shorter": (lambda: token(HERE, iss=ISSUER[:-1]), "iss_unknown"),
    "iss in other letters": (lambda: token(HERE, iss=ISSUER.upper()), "iss_unknown"),
    "iss with a NUL": (lambda: token(HERE, iss=f"{ISSUER}\0"), "iss_unknown"),
    "no aud": (lambda: token(None), "aud_missing"),
    "aud a number": (lambda: token(1), "aud_malformed"),
    "aud an object": (lambda: token({HERE: 1}), "aud_malformed"),
    "aud a list with a number": (lambda: token([HERE, 1]), "aud_malformed"),
    "aud an empty list": (lambda: token([]), "aud_wrong"),
    "aud empty": (lambda: token(""), "aud_wrong"),
    "aud the base URL": (lambda: token(BASE), "aud_wrong"),
    "aud the origin": (lambda: token("https://cds.example.org"), "aud_wrong"),
    "aud another host": (lambda: token("https://cds.example.com/hormones/cds-services"), "aud_wrong"),
    "aud another scheme": (lambda: token(HERE.replace("https", "http")), "aud_wrong"),
    "aud what the process sees": (lambda: token("http://127.0.0.1:8000/cds-services"), "aud_wrong"),
    "aud the host that the caller names": (lambda: token("http://localhost/cds-services"), "aud_wrong"),
    "aud another service": (lambda: token(BASE + VIEW), "aud_wrong"),
    "aud longer": (lambda: token(f"{HERE}/"), "aud_wrong"),
    "aud in other letters": (lambda: token(HERE.upper()), "aud_wrong"),
    "no exp": (lambda: token(HERE, exp=None), "exp_missing"),
    "exp a text": (lambda: token(HERE, exp=str(NOW + 300)), "exp_malformed"),
    "exp true": (lambda: token(HERE, exp=True), "exp_malformed"),
    "exp endless": (lambda: token(HERE, exp=10**30), "exp_malformed"),
    "exp negative": (lambda: token(HERE, exp=-1), "exp_malformed"),
    "expired long ago": (lambda: token(HERE, iat=NOW - 7200, exp=NOW - 6900), "exp_past"),
    "no iat": (lambda: token(HERE, iat=None), "iat_missing"),
    "iat a text": (lambda: token(HERE, iat="now"), "iat_malformed"),
    "iat in an hour": (lambda: token(HERE, iat=NOW + 3600, exp=NOW + 3900), "iat_future"),
    "nbf in an hour": (lambda: token(HERE, nbf=NOW + 3600), "nbf_future"),
    "nbf a text": (lambda: token(HERE, nbf="now"), "nbf_malformed"),
    "a year's lifetime": (lambda: token(HERE, exp=NOW + 31_536_000), "lifetime_too_long"),
    "an old token with a late end": (lambda: token(HERE, iat=NOW - 86_400), "lifetime_too_long"),
    "no jti": (lambda: token(HERE, jti=None), "jti_missing"),
    "jti empty": (lambda: token(HERE, jti=""), "jti_malformed"),
    "jti a number": (lambda: token(HERE, jti=7), "jti_malformed"),
    "jti too long": (lambda: token(HERE, jti="j" * 256), "jti_malformed"),
    "jti with a NUL": (lambda: token(HERE, jti="a\0b"), "jti_malformed"),
}
KEYS = {
    "another key": (lambda: token(HERE, number=2), "signature_wrong"),
    "header of another token": (with_header_of_another, "signature_wrong"),
    "claims of another token": (with_claims_of_another, "signature_wrong"),
    "signature tampered": (lambda: tampered(2), "signature_wrong"),
    "signature cut": (lambda: token(HERE)[:-8], "signature_wrong"),
    "no signature": (lambda: token(HERE).rpartition(".")[0] + ".", "signature_wrong"),
    "signature of zeros": (lambda: token(HERE).rpartition(".")[0] + "." + "A" * 128, "signature_wrong"),
    "RSA token, EC key": (lambda: token(HERE, algorithm="RS384"), "key_unfit"),
    "another curve's key": (lambda: token(HERE, algorithm="ES256"), "key_unfit"),
}  # fmt: skip
CASES = FORMS | HEADERS | CLAIMS | KEYS


@pytest.mark.parametrize("case", CASES)
def test_refused(reason, case):
    make, expected = CASES[case]
    assert reason(make()) == expected


def test_the_cases_are_many_and_every_reason_has_one():
    elsewhere = {
        "algorithm_not_listed",
        "jku_foreign",
        "tenant_wrong",
        "keys_unavailable",
        "jti_used",
        "replay_unknown",
    }
    assert len(CASES) >= 90
    assert {expected for _, expected in CASES.values()} == REASONS.keys() - elsewhere


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # Thirty seconds of leeway. In the second `exp` itself the token is not valid (RFC 7519, 4.1.4).
        ({"iat": NOW - 300, "exp": NOW - 29}, ""),
        ({"iat": NOW - 300, "exp": NOW - 30}, "exp_past"),
        ({"iat": NOW + 30, "exp": NOW + 300}, ""),
        ({"iat": NOW + 31, "exp": NOW + 300}, "iat_future"),
        ({"nbf": NOW + 30}, ""),
        ({"nbf": NOW + 31}, "nbf_future"),
        ({"exp": NOW + 3600}, ""),
        ({"exp": NOW + 3601}, "lifetime_too_long"),
        ({"exp": NOW + 299.5, "iat": NOW - 0.5, "nbf": NOW - 0.5}, ""),
        ({"jti": "j" * 255}, ""),
    ],
)
def test_both_sides_of_every_limit(reason, changes, expected):
    assert reason(token(HERE, **changes)) == expected


def test_leeway_counts_from_the_clock_that_is_given(serve, clock, log_lines):
    service = serve()
    early, late = token(HERE), token(HERE)
    clock.move(329)
    assert ask(service, early).status_code == 200
    clock.move(1)
    assert ask(service, late).status_code == 401
    assert log_lines()[-1]["refusal"] == "exp_past"


def test_algorithm_that_the_client_does_not_list(serve, settings, log_lines):
    client = msgspec.structs.replace(settings.clients[0], algorithms=("ES384",))
    service = serve(clients=(client,))
    assert ask(service, token(HERE, algorithm="RS384", header={"kid": "RS384"})).status_code == 401
    assert log_lines()[-1]["refusal"] == "algorithm_not_listed"
    assert ask(service, token(HERE)).status_code == 200


@pytest.mark.parametrize(
    ("configured", "claimed", "expected"),
    [
        ("north", "north", ""),
        ("north", "south", "tenant_wrong"),
        ("north", "North", "tenant_wrong"),
        ("north", None, "tenant_wrong"),
        ("north", ["north"], "tenant_wrong"),
        ("", "south", ""),
        ("", None, ""),
    ],
)
def test_tenant(serve, settings, log_lines, configured, claimed, expected):
    service = serve(clients=(msgspec.structs.replace(settings.clients[0], tenant=configured),))
    ask(service, token(HERE, tenant=claimed))
    assert log_lines()[-1].get("refusal", "") == expected


def test_two_tenants_of_one_issuer(serve, settings, log_lines, tmp_path):
    """Each with its own keys: one tenant's key is no good for the other."""
    other = tmp_path / "south.json"
    other.write_bytes(ehr.key_set(ehr.jwk(number=2)))
    base = settings.clients[0]
    north = msgspec.structs.replace(base, name="north", tenant="north")
    south = msgspec.structs.replace(base, name="south", tenant="south", jwks_file=str(other))
    service = serve(clients=(north, south))
    assert ask(service, token(HERE, tenant="north")).status_code == 200
    assert log_lines()[-1]["client"] == "north"
    assert ask(service, token(HERE, tenant="south", number=2)).status_code == 200
    assert log_lines()[-1]["client"] == "south"
    assert ask(service, token(HERE, tenant="south")).status_code == 401
    assert log_lines()[-1]["refusal"] == "signature_wrong"


def test_keys_of_one_client_are_no_good_for_another(serve, settings, log_lines, tmp_path):
    other = tmp_path / "other.json"
    other.write_bytes(ehr.key_set(ehr.jwk(number=2)))
    stranger = Client(name="other", issuer="https://other.example.org", jwks_file=str(other))
    service = serve(clients=(settings.clients[0], stranger))
    assert ask(service, token(HERE, iss=stranger.issuer)).status_code == 401
    assert log_lines()[-1]["refusal"] == "signature_wrong"
    assert ask(service, token(HERE, iss=stranger.issuer, number=2)).status_code == 200


# -- what the caller is told -------------------------------------------------------------------------


def test_every_refusal_looks_the_same_to_the_caller(service):
    def seen(said):
        response = ask(service, said)
        headers = [(name, value) for name, value in response.headers if name != "X-Request-Id"]
        return response.status_code, response.data, headers

    answers = [seen(make()) for make, _ in CASES.values()]
    assert all(answer == answers[0] for answer in answers)
    status, body, headers = answers[0]
    assert status == 401
    assert ("WWW-Authenticate", "Bearer") in headers
    assert ("Access-Control-Allow-Origin", "*") in headers
    assert ("Cache-Control", "no-store") in headers
    (issue,) = json.loads(body)["issue"]
    assert issue["code"] == "login"
    assert not any(word in issue["diagnostics"] for word in (*REASONS, "expired", "signature", "audience"))


def test_no_token_in_the_log(service, log):
    for make, _ in CASES.values():
        ask(service, make())
    secret = token(HERE, jti="seldom-seen", sub="Dr. Seldom")
    ask(service, secret)
    ask(service, secret)
    written = log.getvalue()
    assert "eyJ" not in written
    for word in ("seldom", "Seldom", ISSUER, KID, "evil", "../", "or 1=1"):
        assert word not in written


def test_refused_before_the_address_is_looked_up(service):
    """Strangers do not learn which services there are."""
    for path in ("/cds-services/no-such-service", "/nowhere", "/cds-services/x/y/z"):
        assert service.get(path).status_code == 401
        assert service.post(path, json={}).status_code == 401


def test_refused_before_the_body_is_read(service):
    response = service.post(VIEW, data=b"[" * 5_000_000, content_type="application/json")
    assert response.status_code == 401
