"""The gate: each token once, rates, report only, open or not, and what every answer carries."""

from __future__ import annotations

import multiprocessing

import pytest

from cds_service import cli
from cds_service.app import create_app
from cds_service.feedback.database import connect
from cds_service.feedback.driver import Driver
from cds_service.hooks.current import this_call
from cds_service.security.openness import openness
from cds_service.security.replay import Replays
from cds_service.security.tokens import LEEWAY_SECONDS, LIFETIME_SECONDS
from cds_service.settings import Client, Settings, SettingsError
from tests.conftest import NOON
from tests.security import ehr
from tests.security.conftest import BASE
from tests.security.ehr import NOW, token

DISCOVERY = "/cds-services"
VIEW = "/cds-services/hormone-therapy-patient-view"
HERE = BASE + DISCOVERY
EHR = "https://ehr.example.org"
SECURITY = {"Cache-Control", "Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options"}


def ask(service, said, path=DISCOVERY, **more):
    return service.open(path, headers={"Authorization": f"Bearer {said}", "Origin": EHR}, **more)


# -- each token once ---------------------------------------------------------------------------------


def test_a_token_twice(service, log_lines):
    said = token(HERE)
    assert ask(service, said).status_code == 200
    assert ask(service, said).status_code == 401
    assert log_lines()[-1]["refusal"] == "jti_used"


def test_another_token_with_the_same_jti(service, log_lines):
    assert ask(service, token(HERE, jti="same")).status_code == 200
    assert ask(service, token(BASE + VIEW, jti="same", iat=NOW - 1), VIEW).status_code == 401
    assert log_lines()[-1]["refusal"] == "jti_used"


def test_a_refused_token_is_not_used_up(service):
    said = token(HERE)
    assert ask(service, said, VIEW).status_code == 401
    assert ask(service, said).status_code == 200


def test_replay_in_another_service_on_the_same_database(serve):
    one, other = serve(), serve()
    said = token(HERE)
    assert ask(one, said).status_code == 200
    assert ask(other, said).status_code == 401


def use(url: str, jti: str) -> bool:
    return Replays(Driver(connect(url)), lambda: NOON).first_use(ehr.ISSUER, jti, NOW + 300.0)


def test_replay_in_another_process(settings, serve, log_lines):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(use, (settings.database_url, "elsewhere"))
    assert ask(serve(), token(HERE, jti="elsewhere")).status_code == 401
    assert log_lines()[-1]["refusal"] == "jti_used"


def test_no_token_outlives_its_id(serve, settings, clock):
    """The longest token there can be, replayed in its last second, after everybody has tidied up."""
    service = serve()
    said = token(HERE, iat=NOW, exp=NOW + LIFETIME_SECONDS)
    assert ask(service, said).status_code == 200
    clock.move(LIFETIME_SECONDS + LEEWAY_SECONDS - 1)
    assert Replays(Driver(connect(settings.database_url)), clock).tidy() == 0
    assert ask(service, said).status_code == 401
    fresh = NOW + LIFETIME_SECONDS
    assert ask(service, token(HERE, iat=fresh, exp=fresh + 300)).status_code == 200


@pytest.fixture
def without_table(settings):
    database = connect(settings.database_url)
    with database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE replays")
    database.dispose()


def test_nobody_gets_in_while_the_database_is_down(without_table, serve, log_lines):
    response = ask(serve(), token(HERE))
    assert response.status_code == 401
    assert log_lines()[-1]["refusal"] == "replay_unknown"


def test_report_only_serves_while_the_database_is_down(without_table, serve, log_lines):
    assert ask(serve(report_only=True), token(HERE)).status_code == 200
    assert log_lines()[-1]["would_refuse"] == "replay_unknown"


# -- report only -------------------------------------------------------------------------------------


def test_report_only_serves_and_says_what_it_would_refuse(serve, log_lines, make_call):
    service = serve(report_only=True)
    assert service.get(DISCOVERY).status_code == 200
    assert log_lines()[-1]["would_refuse"] == "token_missing"
    assert "refusal" not in log_lines()[-1]
    response = ask(service, token(BASE + VIEW, exp=NOW - 100), VIEW, method="POST", json=make_call())
    assert response.status_code == 200
    assert (log_lines()[-1]["would_refuse"], log_lines()[-1]["client"]) == ("exp_past", "ehr")
    assert ask(service, token(HERE)).status_code == 200
    assert "would_refuse" not in log_lines()[-1]
    assert any("report_only" in line.get("warning", "") for line in log_lines())


def test_report_only_counts_whom_it_would_refuse(serve):
    service = serve(report_only=True, calls_per_minute=2)
    said = [None, token(HERE), "x.y.z", token(HERE, exp=NOW - 100)]
    assert [ask(service, each).status_code if each else service.get(DISCOVERY).status_code for each in said] == [
        *(200, 200, 200, 429)
    ]


@pytest.mark.parametrize("reason", ["signature_wrong", "jti_used"])
def test_report_only_takes_nobody_s_word_for_who_calls(serve, log_lines, reason):
    service = serve(report_only=True)
    with service:
        said = token(HERE)
        assert ask(service, said).status_code == 200
        assert this_call().client == "ehr"
        forged = f"{said.rpartition('.')[0]}.{'A' * 128}" if reason == "signature_wrong" else said
        assert ask(service, forged).status_code == 200
        assert this_call().client == ""
    assert (log_lines()[-1]["would_refuse"], log_lines()[-1]["client"]) == (reason, "ehr")


# -- open or not -------------------------------------------------------------------------------------

CLIENT = Client(name="ehr", issuer="x", jwks_file="k")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), 0),
        (Settings(host="::1"), 0),
        (Settings(host="localhost"), 0),
        (Settings(host="0.0.0.0"), None),
        (Settings(host="::"), None),
        (Settings(host="10.0.0.1", public_url="https://cds.example.org"), None),
        (Settings(host="cds.example.org"), None),
        (Settings(host="0.0.0.0", report_only=True), None),
        (Settings(host="0.0.0.0", allow_unauthenticated=True), 1),
        (Settings(public_url="https://cds.example.org"), 1),
        (Settings(host="0.0.0.0", clients=(CLIENT,), public_url="https://cds.example.org"), 0),
        (Settings(host="10.0.0.1", clients=(CLIENT,)), 0),
        (Settings(host="0.0.0.0", clients=(CLIENT,)), None),
        (Settings(clients=(CLIENT,), report_only=True), 1),
    ],
)
def test_starts_only_if_callers_are_known_or_the_site_says_so(settings, expected, knowledge, log):
    if expected is None:
        with pytest.raises(SettingsError, match=r"server\.(host|public_url)"):
            create_app(settings, knowledge=knowledge, log=log)
    else:
        assert len(openness(settings)) == expected


@pytest.mark.parametrize("allowed", [True, False])
def test_serve_does_not_start_open_to_all(monkeypatch, tmp_path, capsys, allowed):
    started: list[object] = []
    monkeypatch.setattr("cds_service.cli_serve._serve_calls", lambda settings, *_: started.append(settings))
    monkeypatch.setattr("cds_service.cli_serve._require_free", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.setenv("PORT", "8000")
    monkeypatch.setenv("CDS_SERVER_ALLOW_UNAUTHENTICATED", str(allowed).lower())
    code = cli.run(["serve"])
    words = capsys.readouterr().err
    assert (code, len(started)) == ((0, 1) if allowed else (2, 0))
    assert ("Warning" in words) == allowed
    assert "allow_unauthenticated" in words


def test_a_token_is_not_looked_at_where_nobody_is_asked(client, log_lines):
    for said in ("nonsense", token("https://elsewhere.example.org"), "é"):
        assert ask(client, said).status_code == 200
    assert all("refusal" not in line for line in log_lines())


# -- what stays open ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [DISCOVERY, VIEW, f"{VIEW}/feedback", "/cds-services//x", "/nowhere"])
def test_preflight_is_answered_without_a_token(service, path):
    response = service.options(path, headers={"Origin": EHR, "Access-Control-Request-Method": "POST"})
    assert response.status_code == 204
    assert "Authorization" in response.headers["Access-Control-Allow-Headers"]


def test_health_is_open(service):
    assert service.get("/healthz").status_code == 200


def test_everything_else_is_closed(service, shared):
    for rule in shared.url_map.iter_rules():
        if rule.endpoint in ("health", "ready", "web.static"):
            continue
        path = rule.rule.replace("<service_id>", "x").replace("<", "").replace(">", "")
        method = "POST" if "POST" in (rule.methods or ()) else "GET"
        assert service.open(path, method=method).status_code == 401, path


# -- rates -------------------------------------------------------------------------------------------


def test_rate_of_a_client(serve):
    service = serve(calls_per_minute=3)
    assert [ask(service, token(HERE)).status_code for _ in range(3)] == [200] * 3
    said = token(HERE)
    response = ask(service, said)
    assert response.status_code == 429
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.get_json()["issue"][0]["code"] == "throttled"
    for _ in range(10):
        assert service.options(DISCOVERY).status_code == 204
        assert service.get("/healthz").status_code == 200


def test_a_token_that_was_throttled_is_not_used_up(serve, settings):
    service = serve(calls_per_minute=1)
    ask(service, token(HERE))
    said = token(HERE)
    assert ask(service, said).status_code == 429
    assert ask(serve(), said).status_code == 200


def test_preflights_are_never_counted(serve):
    service = serve(calls_per_minute=1)
    for _ in range(5):
        service.options(DISCOVERY)
    assert ask(service, token(HERE)).status_code == 200


def test_strangers_do_not_use_up_the_calls_of_a_client(serve):
    service = serve(calls_per_minute=2)
    answers = [ask(service, token(HERE, number=2)).status_code for _ in range(4)]
    assert answers == [401, 401, 429, 429]
    assert ask(service, token(HERE)).status_code == 200


def test_rate_by_address_where_nobody_is_asked(knowledge, log):
    settings = Settings(host="0.0.0.0", allow_unauthenticated=True, calls_per_minute=2)
    service = create_app(settings, knowledge=knowledge, log=log).test_client()

    def of(address: str) -> int:
        return service.get(DISCOVERY, environ_base={"REMOTE_ADDR": address}).status_code

    assert [of("10.0.0.1") for _ in range(3)] == [200, 200, 429]
    assert of("10.0.0.2") == 200


def test_nobody_is_counted_on_loopback_without_clients(knowledge, log):
    service = create_app(Settings(calls_per_minute=1), knowledge=knowledge, log=log).test_client()
    assert [service.get(DISCOVERY).status_code for _ in range(5)] == [200] * 5


# -- what every answer carries -----------------------------------------------------------------------


def test_every_answer_has_the_security_headers(serve, make_call):
    service = serve(calls_per_minute=5, cors_origins=(EHR,))
    answers = [
        ask(service, token(HERE)),
        ask(service, "x"),
        service.options(DISCOVERY, headers={"Origin": EHR}),
        service.get("/healthz", headers={"Origin": EHR}),
        ask(service, token(f"{BASE}/nowhere"), "/nowhere"),
        ask(service, token(BASE + VIEW), VIEW, method="DELETE"),
        ask(service, token(BASE + VIEW), VIEW, method="POST", json={}),
        ask(service, token(BASE + VIEW), VIEW, method="POST", json=make_call()),
        ask(service, token(HERE)),
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 204, 200, 404, 405, 400, 200, 429]
    for answer in answers:
        assert set(answer.headers.keys()) >= SECURITY
        assert answer.headers["Access-Control-Allow-Origin"] == EHR
        assert answer.headers["X-Request-Id"]


# -- the command -------------------------------------------------------------------------------------


@pytest.fixture
def check(settings, tmp_path, monkeypatch, capsys):
    """Run `check-jwt` at noon; exit code and what it says."""
    lines = [
        "[server]",
        f'public_url = "{BASE}"',
        "[clients.ehr]",
        f'issuer = "{ehr.ISSUER}"',
        f'jwks_file = "{settings.clients[0].jwks_file}"',
    ]
    file = tmp_path / "site.toml"
    file.write_text("\n".join(lines))
    monkeypatch.setenv("CDS_CONFIG", str(file))
    monkeypatch.setattr("cds_service.cli_jwt.now_utc", lambda: NOON)

    def do(*arguments: str) -> tuple[int, str]:
        code = cli.run(["check-jwt", *arguments])
        said = capsys.readouterr()
        return code, said.out + said.err

    return do


def test_check_jwt_accepts_and_uses_nothing_up(check, serve):
    said = token(HERE)
    for _ in range(2):
        code, words = check(said)
        assert code == 0
        assert words.splitlines()[-1].startswith("accepted")
    assert ask(serve(), said).status_code == 200


def test_check_jwt_tells_every_claim_that_fails(check):
    said = token("https://other.example.org", exp=NOW - 100, jti=None, number=2)
    code, words = check(said)
    assert code == 1
    refused = [line.split()[1].rstrip(":") for line in words.splitlines() if line.startswith("refused")]
    assert refused == ["aud_wrong", "exp_past", "jti_missing", "signature_wrong"]
    assert "it is 'https://other.example.org'" in words
    assert "it is 100 seconds ago" in words
    assert "NTP" in words


def test_check_jwt_for_one_endpoint(check):
    said = token(BASE + VIEW)
    assert check(said)[0] == 0
    assert check(said, "--endpoint", BASE + VIEW)[0] == 0
    code, words = check(said, "--endpoint", f"{BASE}{VIEW}/feedback")
    assert code == 1
    assert "aud_wrong" in words


def test_check_jwt_never_prints_the_token(check):
    for said in (
        token(HERE),
        token(HERE, exp=1),
        token(HERE, number=2),
        "eyJhbGciOi.eyJ.x",
        "Bearer " + token(HERE),
    ):
        words = check(said)[1]
        assert not any(part in words for part in said.split(".") if len(part) > 3)


def test_check_jwt_cannot_be_made_to_write_to_the_terminal(check):
    code, words = check(token("\x1b[2J\x07\u202e", iss=ehr.ISSUER))
    assert code == 1
    assert words.isascii()
    assert "\x1b" not in words


def test_check_jwt_reads_standard_input(check, monkeypatch):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(f"Bearer {token(HERE)}\n"))
    assert check("-")[0] == 0


def test_check_jwt_says_which_issuer(check):
    code, words = check(token(HERE, iss="https://ehr.example.com"))
    assert code == 1
    assert "iss_unknown" in words
    assert "'https://ehr.example.com'" in words


def test_check_jwt_without_clients(monkeypatch, capsys):
    monkeypatch.delenv("CDS_CONFIG", raising=False)
    assert cli.run(["check-jwt", "x"]) == 2
    assert "nobody is asked" in capsys.readouterr().err
