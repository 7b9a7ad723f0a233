"""Settings: defaults, file, environment; every mistake is told at once, with its place."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from cds_service import settings as settings_module
from cds_service.settings import Client, FhirServer, Settings, SettingsError, load
from cds_service.settings_checks import CHECKS, SECTIONS


@pytest.fixture
def configure(tmp_path: Path):
    """Settings from the text of a file, and environment variables."""

    def do(text: str, **environ: str) -> Settings:
        file = tmp_path / "cds.toml"
        file.write_text(text, encoding="utf-8")
        return load({"CDS_CONFIG": str(file), **environ})

    return do


def problems(call, *args, **kwargs) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        call(*args, **kwargs)
    return [problem.rpartition("cds.toml: ")[2] for problem in caught.value.problems]


def test_defaults():
    settings = load({})
    assert settings == Settings()
    assert settings.base_url == "http://127.0.0.1:8000"
    assert settings.max_body == 16 * 1024 * 1024
    assert settings.zone.key == "UTC"
    assert settings.ehr_profile == "generic"


def test_file(configure):
    settings = configure(
        """
        [server]
        host = "0.0.0.0"
        port = 9000
        public_url = "https://cds.example.org/hormones/"
        cors_origins = ["https://ehr.example.org", "http://localhost:8080"]
        time_zone = "America/New_York"
        max_body_mb = 32
        [ehr]
        profile = "epic"
        """
    )
    assert settings.base_url == "https://cds.example.org/hormones"
    assert settings.origins == ("https://ehr.example.org", "http://localhost:8080")
    assert settings.zone.key == "America/New_York"
    assert settings.max_body == 32 * 1024 * 1024
    assert (settings.host, settings.port, settings.ehr_profile) == ("0.0.0.0", 9000, "epic")


def test_the_overlay_is_looked_for_beside_the_file(configure, tmp_path):
    settings = configure('[knowledge]\nguideline = "es2018"\noverlay = "site/overlay.yaml"')
    assert settings.guideline == "es2018"
    assert settings.overlay_path == tmp_path / "site" / "overlay.yaml"
    assert configure('[knowledge]\noverlay = "/etc/overlay.yaml"').overlay_path == Path("/etc/overlay.yaml")
    assert configure("").overlay_path is None


def test_environment_wins_over_the_file(configure):
    settings = configure('[server]\nhost = "0.0.0.0"\nport = 9000', HOST="::1", PORT="9001")
    assert settings.base_url == "http://[::1]:9001"


def test_empty_environment_variables_count_as_absent():
    assert load({"CDS_CONFIG": "", "HOST": "", "PORT": ""}) == Settings()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", ("*",)),
        ("127.1.2.3", ("*",)),
        ("::1", ("*",)),
        ("localhost", ("*",)),
        ("0.0.0.0", ()),
        ("10.0.0.1", ()),
        ("cds.example.org", ()),
    ],
)
def test_any_origin_only_on_a_loopback_host(host, expected):
    assert Settings(host=host).origins == expected


def test_named_origins_hold_on_a_loopback_host_too(configure):
    assert configure("[server]\ncors_origins = []").origins == ()
    assert configure('[server]\nhost = "0.0.0.0"\ncors_origins = ["*"]').origins == ("*",)


@pytest.mark.parametrize(
    ("line", "field", "expected"),
    [
        ('[server]\nhost = ""', "server.host", "a host name"),
        ("[server]\nhost = 1", "server.host", "a host name"),
        ('[server]\nhost = "http://x/"', "server.host", "a host name"),
        ("[server]\nport = 0", "server.port", "1 to 65535"),
        ("[server]\nport = 65536", "server.port", "1 to 65535"),
        ('[server]\nport = "8000"', "server.port", "1 to 65535"),
        ("[server]\nport = true", "server.port", "1 to 65535"),
        ('[server]\npublic_url = "cds.example.org"', "server.public_url", "absolute"),
        ('[server]\npublic_url = "https://"', "server.public_url", "absolute"),
        ('[server]\npublic_url = "https://x?y"', "server.public_url", "absolute"),
        ('[server]\npublic_url = "https://[x"', "server.public_url", "absolute"),
        ("[server]\npublic_url = 1", "server.public_url", "absolute"),
        ('[server]\ncors_origins = "*"', "server.cors_origins", "a list"),
        ('[server]\ncors_origins = ["https://x", "*"]', "server.cors_origins", "a list"),
        ('[server]\ncors_origins = ["https://x/"]', "server.cors_origins", "a list"),
        ('[server]\ncors_origins = ["null"]', "server.cors_origins", "a list"),
        ("[server]\ncors_origins = [1]", "server.cors_origins", "a list"),
        ('[server]\ntime_zone = "Mars/Olympus"', "server.time_zone", "IANA"),
        ('[server]\ntime_zone = "../etc/passwd"', "server.time_zone", "IANA"),
        ('[server]\ntime_zone = "Europe"', "server.time_zone", "IANA"),
        ('[server]\ntime_zone = ""', "server.time_zone", "IANA"),
        ("[server]\ntime_zone = 1", "server.time_zone", "IANA"),
        ("[server]\nmax_body_mb = 0", "server.max_body_mb", "1 to 1024"),
        ("[server]\nmax_body_mb = 1025", "server.max_body_mb", "1 to 1024"),
        ("[server]\nmax_body_mb = 1.5", "server.max_body_mb", "1 to 1024"),
        ('[knowledge]\nguideline = "ES 2018"', "knowledge.guideline", "the name of a guideline"),
        ("[knowledge]\noverlay = 1", "knowledge.overlay", "the path of a file"),
        ('[ehr]\nprofile = "oracle"', "ehr.profile", '"generic" or "epic"'),
        ("[ehr]\nprofile = []", "ehr.profile", '"generic" or "epic"'),
        ("[server]\nprot = 8000", "server.prot", "unknown; expected one of host, port"),
        ("[severs]\nport = 8000", "severs", "unknown; expected one of server, clients"),
        ("[server]\nallow_unauthenticated = 1", "server.allow_unauthenticated", "true or false"),
        ("[server]\nbody_seconds = 0", "server.body_seconds", "1 to 600"),
        ("[server]\ncalls_per_minute = -1", "server.calls_per_minute", "0 to 1000000"),
        ("[auth]\nreport_only = 'yes'", "auth.report_only", "true or false"),
        ("[fhir]\ndeadline_ms = 60001", "fhir.deadline_ms", "0 to 60000"),
        ("[fhir]\nservers = 'https://x'", "fhir.servers", "[[fhir.servers]]"),
        ("[[fhir.servers]]\nallow_http = true", "fhir.servers[0].url", "missing"),
        ("[[fhir.servers]]\nurl = 'http://x/fhir'", "fhir.servers[0].url", "expected https"),
        ("[[fhir.servers]]\nurl = 'https://u@x/fhir'", "fhir.servers[0].url", "without user"),
        ("[[fhir.servers]]\nurl = 'https://x'\nproxy = 1", "fhir.servers[0].proxy", "unknown"),
        ("clients = 1", "clients", "expected a table"),
        ("[clients]\nepic = 1", "clients.epic", "expected a table"),
        ("[clients.epic]\njwks_file = 'k'", "clients.epic.issuer", "missing"),
        ("[clients.epic]\nissuer = 'x'", "clients.epic", "either jwks_url or jwks_file"),
        ("[clients.Epic]\nissuer = 'x'\njwks_file = 'k'", "clients.Epic", "small letters"),
        ("[clients.e]\nissuer = 'x'\njwks_file = 'k'\nalgorithms = ['HS256']", "clients.e.algorithms", "ES256"),
        ("[clients.e]\nissuer = 'x'\njwks_file = 'k'\nalgorithms = []", "clients.e.algorithms", "ES256"),
        ("[clients.e]\nissuer = 'x'\njwks_url = 'k'", "clients.e.jwks_url", "JWK Set"),
        ("[database]\nurl = 'mysql://x'", "database.url", "postgresql"),
        ("[database]\npatient_key = 'short'", "database.patient_key", "at least 16 characters"),
        ("[silent]\nrules = 'HCT-1'", "silent.rules", "a list of rule ids"),
        ("[silent]\nrules = ['HCT-1', 'HCT-1']", "silent.rules", "a list of rule ids"),
        ("[metrics]\nport = 65536", "metrics.port", "0 to 65535"),
        ("[web]\ngovernance = 1", "web.governance", "true or false"),
        ('[web]\ngovernance_token = "fifteen letters"', "web.governance_token", "at least 16 characters"),
        ('[smart]\nclient_id = "two words"', "smart.client_id", "client id"),
        (
            "[[fhir.servers]]\nurl = 'https://x'\nsmart_client_id = 'a b'",
            "fhir.servers[0].smart_client_id",
            "client id",
        ),
        ("[[fhir.servers]]\nurl = 'https://x'\nca_file = 1", "fhir.servers[0].ca_file", "the path of a file"),
        ('[smart]\nscopes = "launch  openid"', "smart.scopes", "one space"),
        ('[smart]\norigins = ["*"]', "smart.origins", "a list of origins"),
        ('[smart]\norigins = ["https://ehr.example.org/path"]', "smart.origins", "a list of origins"),
        ("server = 1", "server", "expected a table"),
        ("port = 8000", "port", "unknown"),
    ],
)
def test_mistake_is_told_with_its_place(configure, line, field, expected):
    (problem,) = problems(configure, line)
    assert problem.startswith(f"{field}: ")
    assert expected in problem


def test_all_mistakes_are_told_at_once(configure):
    text = '[server]\nport = 0\nhots = "x"\n[ehr]\nprofile = 1\n[knowlege]\n'
    found = problems(configure, text, PORT="x")
    places = [problem.split(": expected")[0].split(": unknown")[0] for problem in found]
    assert places == ["server.port", "server.hots", "ehr.profile", "knowlege", "environment: PORT"]


@pytest.mark.parametrize("port", ["0", "65536", "8000x", "-1", "٨٠٠٠", "8" * 5000])
def test_port_of_the_environment(port):
    assert problems(load, {"PORT": port}) == ["environment: PORT: expected a whole number from 1 to 65535"]


def test_file_that_is_not_toml(configure):
    (problem,) = problems(configure, "[server\nport = 1")
    assert "not TOML" in problem
    assert "line 1" in problem
    (problem,) = problems(configure, "[server]\nport = " + "8" * 5000)
    assert "not TOML" in problem


def test_file_that_is_not_text(tmp_path):
    file = tmp_path / "cds.toml"
    file.write_bytes(b"\xff\xfe")
    assert problems(load, {"CDS_CONFIG": str(file)}) == ["expected UTF-8 text"]


def test_file_that_is_not_there(tmp_path):
    (problem,) = problems(load, {"CDS_CONFIG": str(tmp_path / "cds.toml")})
    assert problem.startswith("cannot be read")
    (problem,) = problems(load, {"CDS_CONFIG": str(tmp_path)})
    assert "cannot be read" in problem


def test_every_field_can_be_set_and_is_checked():
    fields = [field for section in SECTIONS.values() for field in section.values()]
    assert sorted(fields) == sorted(CHECKS)
    assert sorted([*fields, "clients", "fhir_servers"]) == sorted(Settings.__struct_fields__)


def test_every_setting_is_explained_where_it_stands():
    """The module's docstring names each one, and shows its default."""
    text = settings_module.__doc__ or ""
    for section, known in SECTIONS.items():
        for key in known:
            assert re.search(rf"^    {key} = ", text, re.MULTILINE), f"{section}.{key}"


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("https://ehr.example.org/jwks.json", True),
        ("https://10.0.0.1/jwks.json", True),
        ("http://127.0.0.1:9000/jwks.json", True),
        ("http://localhost/jwks.json", True),
        ("http://[::1]/jwks.json", True),
        ("http://ehr.example.org/jwks.json", False),
        ("http://localhost.example.org/jwks.json", False),
        ("http://10.0.0.1/jwks.json", False),
        ("https://user:word@ehr.example.org/jwks.json", False),
        ("file:///etc/jwks.json", False),
    ],
)
def test_keys_are_fetched_over_tls_unless_on_loopback(configure, url, right):
    text = f'[clients.e]\nissuer = "x"\njwks_url = "{url}"'
    if right:
        assert configure(text).clients[0].jwks_url == url
    else:
        assert "clients.e.jwks_url" in problems(configure, text)[0]


CLIENTS_AND_SERVERS = """
    [clients.epic]
    issuer = "https://epic.example.org/oauth2"
    jwks_url = "https://epic.example.org/keys"
    tenant = "north"
    [clients.sandbox]
    issuer = "https://sandbox.cds-hooks.org"
    jwks_file = "sandbox.json"
    algorithms = ["ES384"]
    [[fhir.servers]]
    url = "https://ehr.example.org/fhir/R4/"
    allow_private = true
    [[fhir.servers]]
    url = "http://127.0.0.1:8081/fhir"
    allow_http = true
"""


def test_clients_and_servers(configure, tmp_path):
    settings = configure(CLIENTS_AND_SERVERS)
    assert settings.clients == (
        Client("epic", "https://epic.example.org/oauth2", "https://epic.example.org/keys", tenant="north"),
        Client(
            "sandbox", "https://sandbox.cds-hooks.org", "", str(tmp_path / "sandbox.json"), algorithms=("ES384",)
        ),
    )
    assert settings.fhir_servers == (
        FhirServer("https://ehr.example.org/fhir/R4", allow_private=True),
        FhirServer("http://127.0.0.1:8081/fhir", allow_http=True),
    )


def test_two_clients_need_different_issuers_or_tenants(configure):
    table = "[clients.{}]\nissuer = 'x'\njwks_file = 'k'\ntenant = '{}'\n"
    assert len(configure(table.format("a", "north") + table.format("b", "south")).clients) == 2
    found = problems(configure, table.format("a", "north") + table.format("b", "north"))
    assert [problem.split(": ")[0] for problem in found] == ["clients.a", "clients.b"]


def test_every_setting_can_come_from_the_environment(configure):
    settings = configure(
        "[fhir]\ndeadline_ms = 100",
        CDS_FHIR_DEADLINE_MS="200",
        CDS_DATABASE_URL="sqlite:////var/lib/cds.sqlite3",
        CDS_AUTH_REPORT_ONLY="True",
        CDS_KNOWLEDGE_OVERLAY="overlay.yaml",
    )
    assert (settings.fhir_deadline_ms, settings.report_only) == (200, True)
    assert settings.database_url == "sqlite:////var/lib/cds.sqlite3"
    assert settings.overlay_path is not None
    assert problems(load, {"CDS_AUTH_REPORT_ONLY": "1"}) == [
        "environment: CDS_AUTH_REPORT_ONLY: expected true or false"
    ]


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]
    assert msgspec.structs.replace(Settings(), port=1).port == 1


def test_the_governance_page_needs_a_password_where_others_reach_it(configure):
    open_to_all = '[server]\nhost = "0.0.0.0"\n[web]\ngovernance = true\n'
    (problem,) = problems(configure, open_to_all)
    assert "web.governance_token" in problem
    assert configure(open_to_all + 'governance_token = "sixteen letters."').governance
    assert configure("[web]\ngovernance = true").governance


def test_the_chart_page_as_a_smart_app(configure):
    text = '[smart]\nclient_id = "5f1e-77"\nscopes = "launch patient/*.rs"\norigins = ["https://ehr.example.org"]'
    settings = configure(text)
    assert settings.smart_client_id == "5f1e-77"
    assert settings.smart_scopes == "launch patient/*.rs"
    assert settings.smart_origins == ("https://ehr.example.org",)
    assert settings.smart_url == "http://127.0.0.1:8000/smart"
    assert configure("").smart_url == ""
    own = '[[fhir.servers]]\nurl = "https://ehr.example.org"\nsmart_client_id = "own-1"'
    assert configure(own).fhir_servers[0].smart_client_id == "own-1"
    assert configure(own).smart_url == "http://127.0.0.1:8000/smart"


@pytest.mark.parametrize("public_url", ["", "http://cds.example.org"])
def test_an_app_with_a_token_in_the_browser_needs_https(configure, public_url):
    text = f'[server]\nhost = "0.0.0.0"\npublic_url = "{public_url}"\n[smart]\nclient_id = "a"'
    (problem,) = problems(configure, text)
    assert problem.startswith("smart.client_id: needs server.public_url with https")
    assert configure(text.replace(public_url or '""', public_url.replace("http", "https") or '"https://a.example"'))


ELSEWHERE = "https://cds.example.org"


@pytest.mark.parametrize(
    ("given", "alone"),
    [
        ({}, True),
        ({"host": "::1"}, True),
        ({"host": "localhost", "public_url": "http://127.0.0.1:9000"}, True),
        ({"public_url": "http://[::1]:9000/cds"}, True),
        ({"public_url": ELSEWHERE}, False),
        ({"public_url": "https://127.0.0.1.example.org"}, False),
        ({"host": "0.0.0.0"}, False),
        ({"host": "10.0.0.7", "public_url": "http://127.0.0.1:9000"}, False),
    ],
)
def test_what_is_for_this_machine_alone_is_not_once_a_proxy_lets_others_in(given, alone):
    settings = Settings(**given)
    assert settings.for_this_machine == alone
    assert settings.has_workbench == alone
    assert settings.origins == (("*",) if alone else ())
    assert msgspec.structs.replace(settings, workbench=False).has_workbench is False
    assert msgspec.structs.replace(settings, cors_origins=("https://a.org",)).origins == ("https://a.org",)


@pytest.mark.parametrize("text", ["[web]\ngovernance = true", '[smart]\nclient_id = "chart"'])
def test_pages_that_others_reach_need_a_password_or_tls(configure, text):
    configure(text)
    configure(f'[server]\npublic_url = "http://127.0.0.1:9000"\n{text}')
    (problem,) = problems(configure, f'[server]\npublic_url = "http://cds.example.org"\n{text}')
    assert problem.startswith(("web.governance: needs", "smart.client_id: needs"))


def test_the_metrics_need_a_port_of_their_own(configure):
    assert configure("[metrics]\nport = 8001").metrics_port == 8001
    assert problems(configure, "[metrics]\nport = 8000") == [
        "metrics.port: is server.port; the metrics need one of their own"
    ]
    assert len(problems(configure, "[metrics]\nport = 9000", PORT="9000")) == 1


def test_a_password_with_an_at_sign_has_to_be_written_as_it_can_be_read(configure):
    url = "postgresql+psycopg://cds:S3cr%40tPw@127.0.0.1:5999/cds"
    assert configure(f'[database]\nurl = "{url}"').database_url == url
    (problem,) = problems(configure, f'[database]\nurl = "{url.replace("%40", "@")}"')
    assert problem.startswith("database.url: expected ")
    assert "%40" in problem
    assert "tPw" not in problem
