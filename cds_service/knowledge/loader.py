"""Loads the knowledge: all YAML and TSV files of one folder, compiled, or one error with all faults."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cds_service.knowledge.model import Knowledge, Protocol, Rule
from cds_service.knowledge.protocols import compile_protocols
from cds_service.knowledge.terminology import compile_terms
from cds_service.knowledge.yaml_file import KnowledgeError, Problem

_HERE = Path(__file__).parent
_VERSION_DIGITS = 12


def load(path: Path | None = None) -> Knowledge:
    """The knowledge in the folder `path` (default: the shipped one).

    Raises KnowledgeError with every problem found, each with file, line, field and what was expected.
    """
    folder = path or _HERE
    problems: list[Problem] = []
    terms = compile_terms(folder, problems)
    protocols: tuple[Protocol, ...] = ()
    rules: tuple[Rule, ...] = ()
    if terms is not None:
        protocols, rules = compile_protocols(folder, terms, problems)
    if terms is None or problems:
        raise KnowledgeError(problems)
    parts = {name: getattr(terms, name) for name in terms.__struct_fields__}
    return Knowledge(version=version_of(folder), protocols=protocols, rules=rules, **parts)


def version_of(folder: Path) -> str:
    """A short hash over the names and contents of all knowledge files; changes when any of them does."""
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.tsv"), *folder.glob("protocols/*.yaml")]):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:_VERSION_DIGITS]
