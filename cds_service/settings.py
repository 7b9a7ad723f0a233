"""Every setting of the service: name, type, default, meaning; one place.

Settings come from the TOML file that `CDS_CONFIG` names (none: the defaults), and then from the environment, which
wins: `HOST` and `PORT`, and `CDS_<SECTION>_<KEY>` (as `CDS_DATABASE_URL`) for every setting that is not a list or
a table. `load` reports all mistakes at once, each with the file and the field.

    [server]
    host = "127.0.0.1"            address to listen on
    port = 8000                   1 to 65535
    public_url = ""               address under which EHRs reach the service, if a proxy stands before it
    cors_origins = []             origins of browser clients, e.g. ["https://sandbox.cds-hooks.org"];
                                  without this line: any origin if the service is for this machine alone (a loopback
                                  host, and no public_url of elsewhere), else none
    time_zone = "UTC"             IANA name of the site's zone: decides which day is today
    max_body_mb = 16              greatest request body in MiB, 1 to 1024
    body_seconds = 10             how long a body may take to arrive
    calls_per_minute = 1200       of one client; 0: no limit
    allow_unauthenticated = false true: serve callers without a token on an address that is not loopback
    [clients.NAME]                one table for each EHR that may call; none: nobody is asked for a token
    issuer = ""                   the `iss` of its tokens, exactly
    jwks_url = ""                 where its keys are, or
    jwks_file = ""                a file with its keys; a relative path starts at the settings file
    ca_file = ""                  certificates (PEM) of the only authorities that may vouch for jwks_url, such as
                                  the hospital's own; "": the public ones
    algorithms = ["ES384", "RS384"]
    tenant = ""                   the `tenant` of its tokens; "": not looked at
    [auth]
    report_only = false           true: log what would be refused, and serve it
    [fhir]
    deadline_ms = 350             for all that is fetched from the EHR during one call; 0: fetch nothing
    max_pages = 5                 of one search
    max_mb = 16                   of all answers of one call
    max_resources = 5000          of all answers of one call
    [[fhir.servers]]              one table for each FHIR server that may be called; none: those on loopback if the
                                  service is for this machine alone, else nobody
    url = ""                      origin and path under which everything lies that may be read
    allow_http = false            true: without TLS
    allow_private = false         true: on a private address of the hospital's network
    ca_file = ""                  certificates (PEM) of the only authorities that may vouch for it; "": the public
    smart_client_id = ""          client id of the chart page at this EHR; "": that of [smart]
    [database]
    url = ""                      SQLAlchemy URL; "": the file cds-service.sqlite3 in the working directory
    patient_key = ""              secret of the keyed hash that stands for a patient; "": one made by itself and
                                  kept in the database
    keep_days = 730               how long records of cards and feedback are kept; `cds-service purge` removes older
    [silent]
    all = false                   true: judge and record everything, show nothing
    rules = []                    ids of rules that are judged and recorded but not shown
    [metrics]
    host = "127.0.0.1"            address of the Prometheus metrics
    port = 0                      0: none
    [ehr]
    profile = "generic"           "generic" or "epic": how cards are shaped
    [knowledge]
    guideline = ""                guideline that the site follows (switch `guideline`); "": the shipped choice
    overlay = ""                  file with the site's own changes and codes; a relative path starts at this file
    [words]
    folder = ""                   folder with the site's own words; a relative path starts at this file
    locale = "en"                 how numbers and dates are written on cards and pages
    [web]
    workbench = true              the page that plays an EHR; only ever if the service is for this machine alone
    governance = false            true: the governance page
    governance_token = ""         its password; may be "" only if the service is for this machine alone
    [smart]
    client_id = ""                client id of the chart page at EHRs (SMART on FHIR) that have none of their own in
                                  [[fhir.servers]]; "" in both places: it is not served
    scopes = ""                   what it asks the EHR for; "": to read what the prefetch templates name
    origins = []                  origins of the EHR besides those of [[fhir.servers]]: where its sign-in is, and
                                  whose pages may show the chart page in a frame
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

from cds_service import settings_checks as check
from cds_service.settings_checks import CHECKS, CLIENT_CHECKS, SECTIONS, SERVER_CHECKS, Check

Profile = Literal["generic", "epic"]

MEBIBYTE = 1024 * 1024


class SettingsError(ValueError):
    """The settings cannot be used; `problems` holds one sentence for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Client(msgspec.Struct, frozen=True):
    """An EHR that may call: `[clients.NAME]`."""

    name: str
    issuer: str
    jwks_url: str = ""
    jwks_file: str = ""
    algorithms: tuple[str, ...] = ("ES384", "RS384")
    tenant: str = ""
    ca_file: str = ""


class FhirServer(msgspec.Struct, frozen=True):
    """A FHIR server that may be called: `[[fhir.servers]]`. `url` has no slash at its end."""

    url: str
    allow_http: bool = False
    allow_private: bool = False
    ca_file: str = ""
    smart_client_id: str = ""


class Settings(msgspec.Struct, frozen=True):
    """What a site chooses. The module's docstring tells each meaning."""

    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str = ""
    cors_origins: tuple[str, ...] | None = None
    time_zone: str = "UTC"
    max_body_mb: int = 16
    body_seconds: int = 10
    calls_per_minute: int = 1200
    allow_unauthenticated: bool = False
    clients: tuple[Client, ...] = ()
    report_only: bool = False
    fhir_deadline_ms: int = 350
    fhir_max_pages: int = 5
    fhir_max_mb: int = 16
    fhir_max_resources: int = 5000
    fhir_servers: tuple[FhirServer, ...] = ()
    database_url: str = ""
    patient_key: str = ""
    keep_days: int = 730
    silent_all: bool = False
    silent_rules: tuple[str, ...] = ()
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    ehr_profile: Profile = "generic"
    guideline: str = ""
    overlay: str = ""
    words_folder: str = ""
    words_locale: str = "en"
    workbench: bool = True
    governance: bool = False
    governance_token: str = ""
    smart_client_id: str = ""
    smart_scopes: str = ""
    smart_origins: tuple[str, ...] = ()

    @property
    def base_url(self) -> str:
        """Address of the service without a slash at the end; `/cds-services` is added to it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def smart_url(self) -> str:
        """Below which the chart page is that EHRs launch; '' if it is not served."""
        known = self.smart_client_id or any(server.smart_client_id for server in self.fhir_servers)
        return f"{self.base_url}/smart" if known else ""

    @property
    def on_loopback(self) -> bool:
        """True if only programs on this machine can reach the service."""
        return check.is_loopback(self.host)

    @property
    def for_this_machine(self) -> bool:
        """True if the service is for this machine alone: a loopback host, and no proxy that others can reach."""
        return self.on_loopback and check.is_loopback(urlsplit(self.base_url).hostname or "")

    @property
    def has_workbench(self) -> bool:
        """True if the page that plays an EHR is served."""
        return self.workbench and self.for_this_machine

    @property
    def origins(self) -> tuple[str, ...]:
        """Origins that browsers may call from; `*` alone means any, nothing means none."""
        if self.cors_origins is not None:
            return self.cors_origins
        return ("*",) if self.for_this_machine else ()

    @property
    def zone(self) -> ZoneInfo:
        """Time zone of the site."""
        return ZoneInfo(self.time_zone)

    @property
    def overlay_path(self) -> Path | None:
        """File of the site's changes, None if there is none."""
        return Path(self.overlay) if self.overlay else None

    @property
    def words_path(self) -> Path | None:
        """Folder of the site's own words, None if there is none."""
        return Path(self.words_folder) if self.words_folder else None

    @property
    def max_body(self) -> int:
        """Greatest request body in bytes."""
        return self.max_body_mb * MEBIBYTE


def load(environ: Mapping[str, str]) -> Settings:
    """Settings of this process. Raises SettingsError with every mistake in the file and the environment."""
    settings, problems = examine(environ)
    if problems:
        raise SettingsError(problems)
    return settings


def examine(environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Settings of this process, with the default in the place of what is wrong, and every mistake."""
    problems: list[str] = []
    values: dict[str, Any] = {}
    if name := environ.get("CDS_CONFIG", ""):
        for section, entries in _read(name, problems).items():
            _take_section(name, section, entries, values, problems)
    for variable, field in VARIABLES.items():
        if given := environ.get(variable, ""):
            _take(f"environment: {variable}", field, _typed(given, CHECKS[field]), values, problems)
    settings = Settings(**values)
    problems.extend(_together(settings))
    settings = _beside(Path(environ.get("CDS_CONFIG", "")).parent, settings)
    problems.extend(_authorities(settings))
    return settings, problems


def _together(settings: Settings) -> Iterator[str]:
    """What is wrong with settings that are right each by itself."""
    if settings.governance and not settings.governance_token and not settings.for_this_machine:
        yield "web.governance: needs web.governance_token unless server.host and server.public_url are loopback"
    if settings.smart_url and not (settings.for_this_machine or settings.public_url.startswith("https:")):
        yield "smart.client_id: needs server.public_url with https unless server.host and public_url are loopback"
    if settings.metrics_port == settings.port:
        yield "metrics.port: is server.port; the metrics need one of their own"


def _authorities(settings: Settings) -> Iterator[str]:
    """What is wrong with the files of certificate authorities: with one of them, no connection would come about."""
    files = [(f"clients.{client.name}", client.ca_file) for client in settings.clients]
    files += [(f"fhir.servers[{index}]", server.ca_file) for index, server in enumerate(settings.fhir_servers)]
    for where, file in files:
        if file and (fault := check.authority_fault(file)):
            yield f"{where}.ca_file: {file}: {fault}"


def _beside(folder: Path, settings: Settings) -> Settings:
    """The settings with every relative path turned into one that starts at the settings file."""

    def beside(path: str) -> str:
        return str(folder / path) if path else ""

    replace = msgspec.structs.replace
    return replace(
        settings,
        clients=tuple(
            replace(each, jwks_file=beside(each.jwks_file), ca_file=beside(each.ca_file))
            for each in settings.clients
        ),
        fhir_servers=tuple(replace(each, ca_file=beside(each.ca_file)) for each in settings.fhir_servers),
        overlay=beside(settings.overlay),
        words_folder=beside(settings.words_folder),
    )


def _typed(text: str, expected: Check) -> Any:
    """An environment variable's text as the type that its setting has; as it is if it does not look like one."""
    if expected.type is int and re.fullmatch("[0-9]{1,9}", text):
        return int(text)
    if expected.type is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text


def _read(name: str, problems: list[str]) -> dict[str, Any]:
    import tomllib  # which makes its patterns when it is loaded; many a service has no such file

    try:
        return tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{name}: cannot be read ({error.strerror})")
    except UnicodeDecodeError:
        problems.append(f"{name}: expected UTF-8 text")
    except ValueError as error:  # also of a number with thousands of digits
        problems.append(f"{name}: not TOML: {error}")
    return {}


def _take_section(name: str, section: str, entries: Any, values: dict[str, Any], problems: list[str]) -> None:
    if section not in SECTIONS:
        problems.append(f"{name}: {section}: unknown; expected one of {', '.join(SECTIONS)}")
    elif not isinstance(entries, dict):
        problems.append(f"{name}: {section}: expected a table, [{section}]")
    elif section == "clients":
        values["clients"] = _clients(name, entries, problems)
    else:
        known = SECTIONS[section]
        for key, value in entries.items():
            if (section, key) == ("fhir", "servers"):
                values["fhir_servers"] = _servers(name, value, problems)
            elif key in known:
                _take(f"{name}: {section}.{key}", known[key], value, values, problems)
            else:
                problems.append(f"{name}: {section}.{key}: unknown; expected one of {', '.join(known)}")


def _take(where: str, field: str, value: Any, values: dict[str, Any], problems: list[str]) -> None:
    expected = CHECKS[field]
    if not expected.is_right(value):
        problems.append(f"{where}: expected {expected.words}")
    else:
        values[field] = _tidy(value, expected)


def _tidy(value: Any, expected: Check) -> Any:
    """A right value as it is kept: addresses without a slash at their end, lists as tuples."""
    if expected in (check.URL, check.ADDRESS):
        return value.rstrip("/")
    return tuple(value) if isinstance(value, list) else value


def _clients(name: str, tables: dict[str, Any], problems: list[str]) -> tuple[Client, ...]:
    """The `[clients.NAME]` tables; without those at fault."""
    found = []
    for client, entries in tables.items():
        where = f"{name}: clients.{client}"
        if not check.NAME.is_right(client):
            problems.append(f"{where}: expected as its name {check.NAME.words}")
        values = _table(where, entries, CLIENT_CHECKS, ("issuer",), problems)
        if values is not None:
            if ("jwks_url" in values) == ("jwks_file" in values):
                problems.append(f"{where}: expected either jwks_url or jwks_file")
            if values.get("ca_file") and "jwks_url" not in values:
                problems.append(f"{where}.ca_file: is of no use without jwks_url")
            found.append(Client(name=client, **values))
    issuers = [(each.issuer, each.tenant) for each in found]
    problems.extend(
        f"{name}: clients.{each.name}: issuer and tenant stand for another client too"
        for each, issuer in zip(found, issuers, strict=True)
        if issuers.count(issuer) > 1
    )
    return tuple(found)


def _servers(name: str, tables: Any, problems: list[str]) -> tuple[FhirServer, ...]:
    """The `[[fhir.servers]]` tables; without those at fault."""
    if not isinstance(tables, list):
        problems.append(f"{name}: fhir.servers: expected tables, [[fhir.servers]]")
        return ()
    found = []
    for index, entries in enumerate(tables):
        where = f"{name}: fhir.servers[{index}]"
        values = _table(where, entries, SERVER_CHECKS, ("url",), problems)
        if values is None:
            continue
        if values["url"].startswith("http:") and not values.get("allow_http"):
            problems.append(f"{where}.url: expected https; allow_http = true lets it be http")
        found.append(FhirServer(**values))
    return tuple(found)


def _table(
    where: str, entries: Any, checks: Mapping[str, Check], required: tuple[str, ...], problems: list[str]
) -> dict[str, Any] | None:
    """The values of one table, checked; None if it cannot be used."""
    if not isinstance(entries, dict):
        problems.append(f"{where}: expected a table")
        return None
    before = len(problems)
    values: dict[str, Any] = {}
    for key, value in entries.items():
        if key not in checks:
            problems.append(f"{where}.{key}: unknown; expected one of {', '.join(checks)}")
        elif not checks[key].is_right(value):
            problems.append(f"{where}.{key}: expected {checks[key].words}")
        else:
            values[key] = _tidy(value, checks[key])
    problems.extend(f"{where}.{key}: missing" for key in required if key not in entries)
    return values if len(problems) == before else None


VARIABLES: Mapping[str, str] = {"HOST": "host", "PORT": "port"} | {
    f"CDS_{section}_{key}".upper(): field
    for section, known in SECTIONS.items()
    for key, field in known.items()
    if CHECKS[field].type is not tuple
}
"""Environment variables, and the field that each one sets."""
