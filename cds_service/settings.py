"""Every setting of the service: name, type, default, meaning; one place.

Settings come from the TOML file that `CDS_CONFIG` names (none: the defaults), and then from the environment:
`HOST` and `PORT` win over the file. `load` reports all mistakes at once, each with the file and the field.

    [server]
    host = "127.0.0.1"       address to listen on
    port = 8000              1 to 65535
    public_url = ""          address under which EHRs reach the service, if a proxy stands before it
    cors_origins = []        origins of browser clients, e.g. ["https://sandbox.cds-hooks.org"];
                             without this line: any origin on a loopback host, none on another
    time_zone = "UTC"        IANA name of the site's zone: decides which day is today
    max_body_mb = 16         greatest request body in MiB, 1 to 1024
    [ehr]
    profile = "generic"      "generic" or "epic": how cards are shaped
    [knowledge]
    guideline = ""           guideline that the site follows (switch `guideline`); "": the shipped choice
    overlay = ""             file with the site's own changes and codes; a relative path starts at this file
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

Profile = Literal["generic", "epic"]

GREATEST_PORT = 65_535
GREATEST_MB = 1024
MEBIBYTE = 1024 * 1024
_ORIGIN = re.compile(r"https?://[a-z0-9.\-]+(:\d{1,5})?")


class SettingsError(ValueError):
    """The settings cannot be used; `problems` holds one sentence for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Settings(msgspec.Struct, frozen=True):
    """What a site chooses. The module's docstring tells each meaning."""

    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str = ""
    cors_origins: tuple[str, ...] | None = None
    time_zone: str = "UTC"
    max_body_mb: int = 16
    ehr_profile: Profile = "generic"
    guideline: str = ""
    overlay: str = ""

    @property
    def base_url(self) -> str:
        """Address of the service without a slash at the end; `/cds-services` is added to it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def origins(self) -> tuple[str, ...]:
        """Origins that browsers may call from; `*` alone means any, nothing means none."""
        if self.cors_origins is not None:
            return self.cors_origins
        return ("*",) if _is_loopback(self.host) else ()

    @property
    def zone(self) -> ZoneInfo:
        """Time zone of the site."""
        return ZoneInfo(self.time_zone)

    @property
    def overlay_path(self) -> Path | None:
        """File of the site's changes, None if there is none."""
        return Path(self.overlay) if self.overlay else None

    @property
    def max_body(self) -> int:
        """Greatest request body in bytes."""
        return self.max_body_mb * MEBIBYTE


def load(environ: Mapping[str, str]) -> Settings:
    """Settings of this process. Raises SettingsError with every mistake in the file and the environment."""
    problems: list[str] = []
    values: dict[str, Any] = {}
    if name := environ.get("CDS_CONFIG", ""):
        for section, entries in _read(name, problems).items():
            _take_section(name, section, entries, values, problems)
    for variable, field in (("HOST", "host"), ("PORT", "port")):
        if given := environ.get(variable, ""):
            is_number = field == "port" and re.fullmatch("[0-9]{1,5}", given)
            _take(f"environment: {variable}", field, int(given) if is_number else given, values, problems)
    if problems:
        raise SettingsError(problems)
    if values.get("overlay"):
        values["overlay"] = str(Path(environ["CDS_CONFIG"]).parent / values["overlay"])
    return Settings(**values)


def _read(name: str, problems: list[str]) -> dict[str, Any]:
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
    known = SECTIONS.get(section)
    if known is None:
        problems.append(f"{name}: {section}: unknown; expected one of {', '.join(SECTIONS)}")
    elif not isinstance(entries, dict):
        problems.append(f"{name}: {section}: expected a table, [{section}]")
    else:
        for key, value in entries.items():
            if key in known:
                _take(f"{name}: {section}.{key}", known[key], value, values, problems)
            else:
                problems.append(f"{name}: {section}.{key}: unknown; expected one of {', '.join(known)}")


def _take(where: str, field: str, value: Any, values: dict[str, Any], problems: list[str]) -> None:
    is_right, expected = CHECKS[field]
    if not is_right(value):
        problems.append(f"{where}: expected {expected}")
    elif field == "public_url":
        values[field] = value.rstrip("/")
    else:
        values[field] = tuple(value) if isinstance(value, list) else value


def _is_whole(value: Any, greatest: int) -> bool:
    return type(value) is int and 1 <= value <= greatest


def _is_host(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9.:\-]+", value) is not None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_url(value: Any) -> bool:
    if value == "":
        return True
    try:
        parts = urlsplit(value) if isinstance(value, str) and not re.search(r"[\s?#]", value) else None
        return parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _are_origins(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    return value == ["*"] or all(isinstance(item, str) and _ORIGIN.fullmatch(item) for item in value)


def _is_zone(value: Any) -> bool:
    try:
        return isinstance(value, str) and ZoneInfo(value) is not None
    except (KeyError, ValueError, OSError):  # no such zone; no possible name of a zone; a folder of zones
        return False


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-z0-9_]*", value) is not None


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value and value.strip() == value


SECTIONS: Mapping[str, Mapping[str, str]] = {
    "server": {name: name for name in ("host", "port", "public_url", "cors_origins", "time_zone", "max_body_mb")},
    "ehr": {"profile": "ehr_profile"},
    "knowledge": {"guideline": "guideline", "overlay": "overlay"},
}
"""Names in the file, by section, and the field of `Settings` that each one sets."""

CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "host": (_is_host, "a host name or an IP address"),
    "port": (lambda value: _is_whole(value, GREATEST_PORT), f"a whole number from 1 to {GREATEST_PORT}"),
    "public_url": (_is_url, 'an absolute http or https URL without query and fragment, or ""'),
    "cors_origins": (_are_origins, 'a list of origins such as "https://ehr.example.org", or ["*"] alone'),
    "time_zone": (_is_zone, "an IANA time zone such as Europe/Berlin"),
    "max_body_mb": (lambda value: _is_whole(value, GREATEST_MB), f"a whole number from 1 to {GREATEST_MB}"),
    "ehr_profile": (lambda value: value in ("generic", "epic"), '"generic" or "epic"'),
    "guideline": (_is_word, 'the name of a guideline, such as "es2018", or ""'),
    "overlay": (_is_path, 'the path of a file, or ""'),
}
"""For each field: is the value right, and what is expected."""
