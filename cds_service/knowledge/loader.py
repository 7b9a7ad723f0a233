"""Loads the knowledge: all files of one folder, and what a site changes in it, or one error with all faults.

What reads the files is loaded only if there is something to read: most starts find it remembered.
"""

from __future__ import annotations

import hashlib
import sys
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from cds_service.knowledge.choices import choose
from cds_service.knowledge.model import Knowledge, Protocol, Rule
from cds_service.knowledge.remembered import digest, remembered
from cds_service.knowledge.yaml_file import Document, KnowledgeError, Problem, read

_HERE = Path(__file__).parent
_VERSION_DIGITS = 12
_SITE_DIGITS = 6


def load(
    path: Path | None = None,
    *,
    overlay: Path | None = None,
    guideline: str = "",
    today: date | None = None,
    words: Path | None = None,
) -> Knowledge:
    """The knowledge in the folder `path` (default: the shipped one), as it is at a site on `today`.

    `overlay` is the site's file of changes (`overlay.py`). `guideline` is the word of the switch `guideline`, ''
    for the one that the overlay, else the shipped file names. `today` (None: the clock's) decides which changes
    have ended. `words` is the folder of the site's own words (`texts.py`). Raises KnowledgeError with every problem
    found, each with file, line, field and what was expected.
    """
    folder = path or _HERE
    today = today or date.today()
    problems: list[Problem] = []
    document = read(overlay, "overlay", problems) if overlay else None
    try:
        knowledge = _shipped() if folder == _HERE else _compiled(folder)
    except KnowledgeError as error:
        raise KnowledgeError([*problems, *error.problems]) from None
    if words is not None:
        from cds_service.knowledge.texts import reworded

        knowledge = reworded(knowledge, words, problems)
    said: list[dict[str, Any]] = []
    if document is None:
        knowledge = follow(knowledge, guideline, problems)
    else:
        knowledge, said = _changed(knowledge, document, guideline, today, problems)
    if problems:
        raise KnowledgeError(problems)
    if not guideline and document is None:
        return knowledge
    return msgspec.structs.replace(knowledge, version=_version_at(knowledge, guideline, said))


@cache
def _shipped() -> Knowledge:
    """The shipped knowledge, read anew only when a file of it or the code that reads it has changed."""
    code = [*_HERE.glob("*.py"), _HERE.parent / "chart.py", *_HERE.glob("schema/*.json")]
    version = version_of(_HERE)
    origin = digest(code, version, sys.version, msgspec.__version__)
    knowledge: Knowledge = remembered(_HERE / "knowledge.py", origin, lambda: _compiled(_HERE))
    return knowledge


def _compiled(folder: Path) -> Knowledge:
    """The knowledge as the files of a folder say it. Raises KnowledgeError."""
    from cds_service.knowledge.protocols import compile_protocols, read_protocols
    from cds_service.knowledge.terminology import compile_terms

    problems: list[Problem] = []
    terms = compile_terms(folder, problems)
    protocols: tuple[Protocol, ...] = ()
    rules: tuple[Rule, ...] = ()
    if terms is None:
        read_protocols(folder, problems)  # what is wrong in themselves is told at once, too
    else:
        protocols, rules = compile_protocols(folder, terms, problems)
    if terms is None or problems:
        raise KnowledgeError(problems)
    parts = {name: getattr(terms, name) for name in terms.__struct_fields__}
    return Knowledge(version=version_of(folder), protocols=protocols, rules=rules, **parts)


def _changed(
    knowledge: Knowledge, document: Document, guideline: str, today: date, problems: list[Problem]
) -> tuple[Knowledge, list[dict[str, Any]]]:
    """The knowledge as an overlay and the setting `guideline` want it today, and what the overlay says."""
    from cds_service.knowledge import overlay

    by_overlay = overlay.guideline_of(document, today)
    if guideline and by_overlay and guideline != by_overlay:
        expected = f"one guideline; the settings say {guideline}, the overlay {by_overlay}"
        problems.append(document.problem(("changes",), expected))
    # A word of the overlay's own that no guideline has is left to `apply`, which tells its line.
    knowledge = follow(knowledge, guideline or by_overlay, problems if guideline else [])
    knowledge = choose(knowledge, overlay.profiles_of(knowledge, document, today))
    return overlay.apply(knowledge, document, today, problems), overlay.meaning(document, today)


def follow(knowledge: Knowledge, guideline: str, problems: list[Problem]) -> Knowledge:
    """The knowledge of a site that follows this guideline ('': the shipped choice)."""
    if not guideline:
        return knowledge
    allowed = knowledge.switch_specs["guideline"].allowed
    if guideline not in allowed:
        problems.append(Problem("knowledge.guideline", 0, "", f"one of {', '.join(allowed)}, not {guideline!r}"))
        return knowledge
    return choose(knowledge, {"guideline": guideline})


def version_of(folder: Path) -> str:
    """A short hash over the names and contents of all knowledge files; changes when any of them does."""
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.tsv"), *folder.glob("protocols/*.yaml")]):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:_VERSION_DIGITS]


def _version_at(knowledge: Knowledge, guideline: str, said: list[dict[str, Any]]) -> str:
    """The version of the shipped files, and a hash over what the site makes of them."""
    digest = hashlib.sha256(msgspec.json.encode([guideline, said], order="deterministic"))
    return f"{knowledge.version}-{digest.hexdigest()[:_SITE_DIGITS]}"
