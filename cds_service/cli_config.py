"""`cds-service config check` and `config show`: is everything that the site has set in order, and what holds.

    error     the service does not start with this, or does not do what was meant; exit code 2
    warning   it works, and somebody should know
    ok        what is in force

Nothing is sent to anybody: key sets and FHIR servers elsewhere are named, not asked. The database is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import click

from cds_service.app import examined as examined_site
from cds_service.app import knowledge_of, now_utc
from cds_service.feedback.errors import DatabaseError, UnreachableError
from cds_service.knowledge.review import warnings
from cds_service.knowledge.silent import silent_rules
from cds_service.knowledge.yaml_file import KnowledgeError
from cds_service.metrics import FOLDER
from cds_service.security.openness import openness
from cds_service.settings import VARIABLES, Client, Settings, SettingsError, examine, load
from cds_service.settings_checks import SECTIONS

FAILED = 2
OURS = "CDS_"
NOT_SETTINGS = ("CDS_CONFIG", FOLDER)
KUBERNETES = re.compile(r"CDS_(.*_)?(SERVICE_(HOST|PORT)\w*|PORT(_\d+_\w+)?)")
"""Variables that a cluster makes of the names of its services."""
HIDDEN = "********"
SECRETS = ("patient_key", "governance_token")
_PASSWORD = re.compile(r"(?<=//)([^:/@\s]*):\S*@|(?<=password=)[^&\s]+")


class Remark(NamedTuple):
    """One line of `config check`."""

    level: str
    words: str


@click.group()
def config() -> None:
    """Check and show the settings."""


@config.command()
def check() -> int:
    """Check settings, knowledge, keys and database; exit code 2 if anything is wrong."""
    remarks = list(examined(os.environ))
    for remark in remarks:
        click.echo(f"{remark.level}: {remark.words}", err=remark.level == "error")
    return FAILED if any(remark.level == "error" for remark in remarks) else 0


@config.command()
def show() -> None:
    """Print the settings that hold, as a settings file without its secrets."""
    click.echo("\n".join(as_toml(load(os.environ))))


# -- check ---------------------------------------------------------------------------------------------


def examined(environ: Mapping[str, str]) -> Iterator[Remark]:
    """Everything that there is to say, in the order of the settings."""
    settings, problems = examine(environ)
    yield from (Remark("error", problem) for problem in problems)
    yield from _variables(environ)
    try:
        yield from (Remark("warning", words) for words in openness(settings))
    except SettingsError as error:
        yield from (Remark("error", problem) for problem in error.problems)
    yield from _addresses(settings)
    yield from (_of_client(each) for each in settings.clients if each.jwks_url or each.jwks_file)
    yield from _servers(settings)
    yield _of_database(settings)
    yield from _of_database_file(settings)
    today = now_utc().astimezone(settings.zone).date()
    yield from _of_knowledge(settings, today)
    yield from _of_words(settings, today)


def _variables(environ: Mapping[str, str]) -> Iterator[Remark]:
    listed = {f"{OURS}{section}_{key}".upper() for section, known in SECTIONS.items() for key in known}
    for name in sorted(environ):
        known = name in VARIABLES or name in NOT_SETTINGS or KUBERNETES.fullmatch(name)
        if name.startswith(OURS) and not known:
            why = "a list, which only the file can set" if name in listed else "no setting of this name"
            yield Remark("warning", f"environment: {name}: {why}; it does nothing")


def _addresses(settings: Settings) -> Iterator[Remark]:
    yield Remark(
        "ok", f"listens on {settings.host} port {settings.port}; EHRs call {settings.base_url}/cds-services"
    )
    if settings.metrics_port:
        yield Remark("ok", f"metrics on {settings.metrics_host} port {settings.metrics_port}")
    if settings.public_url.startswith("http:") and not settings.on_loopback:
        yield Remark("warning", "server.public_url: http; patients' data would cross the network in the clear")
    if "*" in settings.origins and not settings.for_this_machine:
        yield Remark("warning", "server.cors_origins: pages of any origin may call")
    if settings.for_this_machine and not settings.public_url and (settings.clients or settings.fhir_servers):
        yield Remark(
            "warning", "server.public_url: missing; a proxy here would open what is for this machine alone"
        )


def _of_words(settings: Settings, today: date) -> Iterator[Remark]:
    """Those of the folder, or of `words.locale`; what else is wrong with the settings has been told."""
    problems = [problem for problem in examined_site(settings, today)[2] if problem.startswith("words.")]
    yield from (Remark("error", problem) for problem in problems)
    if settings.words_folder and not problems:
        yield Remark("ok", f"words of {settings.words_folder} on cards and pages")


def _of_client(client: Client) -> Remark:
    name = f"clients.{client.name}"
    if client.jwks_url:
        level = "warning" if client.jwks_url.startswith("http:") else "ok"
        return Remark(level, f"{name}: issuer {client.issuer}, keys from {client.jwks_url} (not fetched now)")
    from cds_service.security.keyset import KeySetError, read_keys

    try:
        keys = read_keys(Path(client.jwks_file).read_bytes())
    except OSError as error:
        return Remark("error", f"{name}.jwks_file: {client.jwks_file}: cannot be read ({error.strerror})")
    except KeySetError as error:
        return Remark("error", f"{name}.jwks_file: {client.jwks_file}: {error}")
    return Remark("ok", f"{name}: issuer {client.issuer}, keys from {client.jwks_file}: {', '.join(sorted(keys))}")


def _servers(settings: Settings) -> Iterator[Remark]:
    if not settings.fhir_deadline_ms:
        yield Remark("ok", "nothing is fetched from the EHR (fhir.deadline_ms = 0)")
        return
    if not settings.fhir_servers:
        whom = "servers on loopback" if settings.for_this_machine else "nobody: prefetch is all there is"
        yield Remark("ok", f"no fhir.servers; what prefetch did not bring is fetched from {whom}")
    for server in settings.fhir_servers:
        level = "warning" if server.url.startswith("http:") else "ok"
        yield Remark(
            level, f"fhir.servers: {server.url}{' (private address allowed)' if server.allow_private else ''}"
        )


def _of_database(settings: Settings) -> Remark:
    from cds_service.feedback.database import DEFAULT_URL, check, connect  # slow to load

    where = masked(settings.database_url or DEFAULT_URL)
    file = _database_file(settings)
    if file and not file.exists():
        if os.access(file.parent, os.W_OK):
            return Remark("ok", f"database: {where}: not there yet; 'serve' makes it")
        return Remark("error", f"database.url: {where}: no folder in which it could be made")
    try:
        engine = connect(settings.database_url)
    except DatabaseError as error:
        return Remark("error", f"{error} ({where})")
    try:
        check(engine)
    except UnreachableError as error:
        return Remark("error", f"{error} ({where})")
    except DatabaseError as error:
        return Remark("warning", f"{error} ('serve' does so, too) ({where})")
    finally:
        engine.dispose()
    return Remark("ok", f"database: {where}: up to date")


def _database_file(settings: Settings) -> Path | None:
    """SQLite's file, None for another database."""
    from cds_service.feedback.database import DEFAULT_URL

    path = (settings.database_url or DEFAULT_URL).partition("sqlite:///")[2]
    return Path(path) if path else None


def _of_database_file(settings: Settings) -> Iterator[Remark]:
    file = _database_file(settings)
    mode = file.stat().st_mode & 0o777 if file and file.exists() else 0
    if mode & 0o077:
        words = f"other users of this machine may open it (mode {mode:o}): chmod 600 {file}*"
        yield Remark("warning", f"database.url: {file}: {words}")


def _of_knowledge(settings: Settings, today: date) -> Iterator[Remark]:
    try:
        knowledge = knowledge_of(settings, today)
    except KnowledgeError as error:
        yield from (Remark("error", str(problem)) for problem in error.problems)
        return
    except OSError as error:
        yield Remark("error", f"knowledge.overlay: {settings.overlay}: cannot be read ({error.strerror})")
        return
    changes = sum(not change.expired for change in knowledge.changes)
    site = f", {changes} changes by {settings.overlay}" if settings.overlay else ""
    counts = f"{len(knowledge.rules)} rules in {len(knowledge.protocols)} protocols"
    yield Remark("ok", f"knowledge {knowledge.version}: {counts}{site}")
    yield from (Remark("warning", words) for words in warnings(knowledge, today))
    try:
        silent = silent_rules(settings, knowledge)
    except SettingsError as error:
        yield from (Remark("error", problem) for problem in error.problems)
        silent = frozenset()
    if settings.silent_all:
        yield Remark("warning", "silent.all: everything is judged and recorded, and no card is shown")
    elif silent:
        yield Remark("ok", f"judged but not shown: {', '.join(sorted(silent))}")


# -- show ----------------------------------------------------------------------------------------------


def as_toml(settings: Settings) -> Iterator[str]:
    """The lines of a settings file that says the same, but for its secrets."""
    for section, fields in SECTIONS.items():
        if fields:
            yield f"[{section}]"
            yield from (f"{key} = {_toml(_shown(field, settings))}" for key, field in fields.items())
        if section == "clients":
            for client in settings.clients:
                given = {key: getattr(client, key) for key in client.__struct_fields__ if key != "name"}
                yield f"[clients.{client.name}]"
                yield from (f"{key} = {_toml(value)}" for key, value in given.items() if value)
        if section == "fhir":
            for server in settings.fhir_servers:
                yield "[[fhir.servers]]"
                yield from (f"{key} = {_toml(getattr(server, key))}" for key in server.__struct_fields__)


def _shown(field: str, settings: Settings) -> Any:
    value = settings.origins if field == "cors_origins" else getattr(settings, field)
    return HIDDEN if value and field in SECRETS else value


def _toml(value: Any) -> str:
    """A value as TOML writes it, which for these types is as JSON does."""
    return json.dumps(masked(value) if isinstance(value, str) else value, ensure_ascii=False)


def masked(text: str) -> str:
    """A URL without its password."""
    return _PASSWORD.sub(lambda found: f"{found[1]}:{HIDDEN}@" if found[1] is not None else HIDDEN, text)
