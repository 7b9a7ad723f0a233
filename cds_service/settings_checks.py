"""What a setting's value may be: one `Check` for each kind of value, with the words that a mistake is told in.

At the end, the names of all settings in the file, and the check of each.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

GREATEST_PORT = 65_535
SHORTEST_SECRET = 16
SIGNATURES = (
    *("ES256", "ES384", "ES512"),
    *("RS256", "RS384", "RS512"),
    *("PS256", "PS384", "PS512"),
)
"""Signature algorithms that a client may be allowed (CDS Hooks 2.0, Trusting CDS Clients); all asymmetric."""

_ORIGIN = re.compile(r"https?://[a-z0-9.\-]+(:\d{1,5})?")


class Check(NamedTuple):
    """A kind of value: is one right, the words for what is expected, and its type."""

    is_right: Callable[[Any], bool]
    words: str
    type: type = str


def is_loopback(host: str) -> bool:
    """True for an address of loopback and for `localhost`: nobody can point these at another machine.

    A name that merely resolves to one is not enough.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def whole(least: int, greatest: int) -> Check:
    """A whole number between two others, both included."""
    words = f"a whole number from {least} to {greatest}"
    return Check(lambda value: type(value) is int and least <= value <= greatest, words, int)


def one_of(*values: str) -> Check:
    """One of a few words."""
    return Check(lambda value: value in values, " or ".join(f'"{value}"' for value in values))


def _matching(pattern: str, words: str) -> Check:
    compiled = re.compile(pattern)
    return Check(lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None, words)


def _is_url(value: Any) -> bool:
    try:
        parts = urlsplit(value) if isinstance(value, str) and not re.search(r"[\s?#]", value) else None
        return parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _is_bare_url(value: Any) -> bool:
    return _is_url(value) and "@" not in value


def _is_keys_url(value: Any) -> bool:
    return _is_bare_url(value) and (value.startswith("https:") or is_loopback(urlsplit(value).hostname or ""))


def _are_origins(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    return value == ["*"] or all(isinstance(item, str) and _ORIGIN.fullmatch(item) for item in value)


def _is_zone(value: Any) -> bool:
    try:
        return isinstance(value, str) and ZoneInfo(value) is not None
    except (KeyError, ValueError, OSError):  # no such zone; no possible name of a zone; a folder of zones
        return False


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value and value.strip() == value


def _are(value: Any, is_right: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(is_right(item) for item in value) and len(set(value)) == len(value)


def authority_fault(file: str) -> str:
    """Why no connection can be checked with the certificates in a file; '' if it can be."""
    import ssl  # slow to load; few sites have such a file

    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        return "holds no certificate (PEM)"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


YES_NO = Check(lambda value: type(value) is bool, "true or false", bool)
HOST = _matching(r"[A-Za-z0-9.:\-]+", "a host name or an IP address")
WORD = _matching(r"[a-z0-9_]*", 'the name of a guideline, such as "es2018", or ""')
NAME = _matching(r"[a-z0-9][a-z0-9_\-]{0,39}", "up to 40 small letters, digits, '-' and '_'")
TENANT = _matching(r"\S*", 'the exact text of the claim in the client\'s tokens, or ""')
ISSUER = _matching(r"\S+", "the exact text of the claim in the client's tokens")
DATABASE = _matching(
    r"|sqlite://\S*|postgresql\+psycopg://[^\s@]*(@[^\s@]*)?",
    '"sqlite:///…", "postgresql+psycopg://…" or ""; an @ that is part of the password is written %40',
)
SECRET = _matching(rf"|.{{{SHORTEST_SECRET},}}", f'at least {SHORTEST_SECRET} characters, or ""')
URL = Check(
    lambda value: value == "" or _is_url(value), 'an absolute http or https URL without query and fragment, or ""'
)
ADDRESS = Check(_is_bare_url, "an absolute http or https URL without user, query and fragment")
KEYS_URL = Check(_is_keys_url, "the https URL of a JWK Set (http on loopback only)")
ZONE = Check(_is_zone, "an IANA time zone such as Europe/Berlin")
PATH = Check(_is_path, 'the path of a file, or ""')
FILE = Check(lambda value: _is_path(value) and value != "", "the path of a file")
ORIGINS = Check(_are_origins, 'a list of origins such as "https://ehr.example.org", or ["*"] alone', tuple)
SITES = Check(
    lambda value: _are_origins(value) and "*" not in value,
    'a list of origins such as "https://ehr.example.org"',
    tuple,
)
CLIENT_ID = _matching(r"[\x21-\x7e]*", 'the client id that the EHR has given, or ""')
SCOPES = _matching(r"|[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*", 'scopes parted by one space, or ""')
LOCALE = _matching(r"[a-z]{2}(-[A-Z]{2})?", 'a locale of cards_templates/locales.yaml, such as "de" or "en-GB"')
RULE_IDS = Check(
    lambda value: _are(value, lambda item: isinstance(item, str) and item != ""), "a list of rule ids", tuple
)
ALGORITHMS = Check(
    lambda value: value != [] and _are(value, lambda item: item in SIGNATURES),
    f"a list of some of {', '.join(SIGNATURES)}",
    tuple,
)

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "server": {
        name: name
        for name in (
            *("host", "port", "public_url", "cors_origins", "time_zone", "max_body_mb", "body_seconds"),
            *("calls_per_minute", "allow_unauthenticated"),
        )
    },
    "clients": {},
    "auth": {"report_only": "report_only"},
    "fhir": {name: f"fhir_{name}" for name in ("deadline_ms", "max_pages", "max_mb", "max_resources")},
    "database": {"url": "database_url", "patient_key": "patient_key", "keep_days": "keep_days"},
    "silent": {"all": "silent_all", "rules": "silent_rules"},
    "metrics": {"host": "metrics_host", "port": "metrics_port"},
    "ehr": {"profile": "ehr_profile"},
    "knowledge": {"guideline": "guideline", "overlay": "overlay"},
    "words": {"folder": "words_folder", "locale": "words_locale"},
    "web": {name: name for name in ("workbench", "governance", "governance_token")},
    "smart": {name: f"smart_{name}" for name in ("client_id", "scopes", "origins")},
}
"""Names in the file, by section, and the field of `Settings` that each one sets."""

CHECKS: Mapping[str, Check] = {
    "host": HOST,
    "port": whole(1, GREATEST_PORT),
    "public_url": URL,
    "cors_origins": ORIGINS,
    "time_zone": ZONE,
    "max_body_mb": whole(1, 1024),
    "body_seconds": whole(1, 600),
    "calls_per_minute": whole(0, 1_000_000),
    "allow_unauthenticated": YES_NO,
    "report_only": YES_NO,
    "fhir_deadline_ms": whole(0, 60_000),
    "fhir_max_pages": whole(1, 1000),
    "fhir_max_mb": whole(1, 1024),
    "fhir_max_resources": whole(1, 1_000_000),
    "database_url": DATABASE,
    "patient_key": SECRET,
    "keep_days": whole(1, 36_500),
    "silent_all": YES_NO,
    "silent_rules": RULE_IDS,
    "metrics_host": HOST,
    "metrics_port": whole(0, GREATEST_PORT),
    "ehr_profile": one_of("generic", "epic"),
    "guideline": WORD,
    "overlay": PATH,
    "words_folder": PATH,
    "words_locale": LOCALE,
    "workbench": YES_NO,
    "governance": YES_NO,
    "governance_token": SECRET,
    "smart_client_id": CLIENT_ID,
    "smart_scopes": SCOPES,
    "smart_origins": SITES,
}
"""For each field: is the value right, and what is expected."""

CLIENT_CHECKS: Mapping[str, Check] = {
    "issuer": ISSUER,
    "jwks_url": KEYS_URL,
    "jwks_file": FILE,
    "algorithms": ALGORITHMS,
    "tenant": TENANT,
    "ca_file": PATH,
}
SERVER_CHECKS: Mapping[str, Check] = {
    "url": ADDRESS,
    "allow_http": YES_NO,
    "allow_private": YES_NO,
    "ca_file": PATH,
    "smart_client_id": CLIENT_ID,
}
