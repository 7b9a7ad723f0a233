"""The shipped terminology, and a copy of its files to break."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cds_service.knowledge import loader
from cds_service.knowledge.model import Terms
from cds_service.knowledge.terminology import compile_terms
from cds_service.knowledge.yaml_file import Problem

FOLDER = Path(loader.__file__).parent


@pytest.fixture(scope="session")
def terms() -> Terms:
    problems: list[Problem] = []
    compiled = compile_terms(FOLDER, problems)
    assert not problems
    assert compiled is not None
    return compiled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for file in [*FOLDER.glob("*.yaml"), *FOLDER.glob("*.tsv")]:
        shutil.copy(file, tmp_path)
    return tmp_path


@pytest.fixture
def broken(folder: Path) -> Callable[..., list[Problem]]:
    """What is wrong after replacing `old` (which must be there once) by `new` in one file of the copy."""

    def replace(file: str, old: str, new: str) -> list[Problem]:
        path = folder / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new), encoding="utf-8")
        problems: list[Problem] = []
        compiled = compile_terms(folder, problems)
        assert (compiled is None) == bool(problems)
        return problems

    return replace
