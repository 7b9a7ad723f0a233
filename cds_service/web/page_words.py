"""The words of the pages: `words.yaml`, and key by key before it a site's file of that name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cds_service.hooks.wording import PAGES
from cds_service.knowledge.yaml_file import plain_yaml, shipped_yaml
from cds_service.settings import Settings, SettingsError

_BRACES = re.compile(r"\{([^{}]*)\}")


@cache
def shipped() -> Mapping[str, Any]:
    """The words as they are shipped, by section."""
    loaded: dict[str, Any] = shipped_yaml(Path(__file__).with_name(PAGES))
    return loaded


def page_words(settings: Settings) -> Mapping[str, Any]:
    """The words of a site. Raises SettingsError with every mistake in its file."""
    path = Path(settings.words_folder) / PAGES
    if not settings.words_folder or not path.exists():
        return shipped()
    from cds_service.knowledge.strict_yaml import NotYAMLError

    where = f"words.folder: {path}"
    try:
        site = plain_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, NotYAMLError):
        raise SettingsError([f"{where}: cannot be read as YAML"]) from None
    problems = [f"{where}: {problem}" for problem in _mistakes(site, shipped(), "")]
    if problems:
        raise SettingsError(problems)
    return _merged(shipped(), site)


def _mistakes(site: Any, base: Any, path: str) -> Iterator[str]:
    """What is wrong with a site's words below `path`."""
    place = path or "file"
    if isinstance(base, Mapping):
        if not isinstance(site, Mapping):
            yield f"{place}: expected names with their texts"
            return
        for key, value in site.items():
            inner = f"{path}.{key}" if path else str(key)
            if key in base:
                yield from _mistakes(value, base[key], inner)
            elif {"one", "other"} <= base.keys() and key in ("zero", "two", "few", "many"):
                yield from _mistakes(value, base["other"], inner)  # forms of the plural that English has not
            else:
                yield f"{inner}: nothing uses a text of this name"
    elif not isinstance(site, str) or not site.strip():
        yield f"{place}: expected a text"
    elif more := sorted(set(_BRACES.findall(site)) - set(_BRACES.findall(base))):
        yield f"{place}: {{{more[0]}}}: there is no such value here"


def _merged(base: Mapping[str, Any], site: Mapping[str, Any]) -> Mapping[str, Any]:
    parts = {key: _merged(base[key], value) if isinstance(value, Mapping) else value for key, value in site.items()}
    return {**base, **parts}
