"""What is kept between two starts is used only while nothing that it was made from has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from cds_service.knowledge import loader
from cds_service.knowledge.remembered import digest, remembered


@pytest.fixture(autouse=True)
def byte_code_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def counted(value: object) -> tuple[Callable[[], object], list[object]]:
    """A function that gives `value`, and the list of all that it has given."""
    given: list[object] = []

    def make() -> object:
        given.append(value)
        return value

    return make, given


def kept(file: Path) -> Path:
    return Path(cache_from_source(str(file))).with_suffix(".pickle")


def test_made_once_for_one_origin(tmp_path: Path) -> None:
    make, given = counted({"a": 1})
    file = tmp_path / "thing.py"
    assert [remembered(file, "origin", make) for _ in range(3)] == [{"a": 1}] * 3
    assert len(given) == 1
    assert [path.name for path in kept(file).parent.iterdir()] == [kept(file).name]


def test_made_anew_for_another_origin(tmp_path: Path) -> None:
    file = tmp_path / "thing.py"
    remembered(file, "one", lambda: 1)
    assert remembered(file, "two", lambda: 2) == 2
    assert remembered(file, "one", lambda: 3) == 3


@pytest.mark.parametrize("content", [b"", b"origin", b"origin\n", b"origin\nnot a pickle", b"\xff\xfe\n\n\n"])
def test_what_cannot_be_read_is_made_anew(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "thing.py"
    remembered(file, "origin", lambda: 1)
    kept(file).write_bytes(content)
    assert remembered(file, "origin", lambda: 2) == 2
    assert remembered(file, "origin", lambda: 3) == 2


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").write_bytes(b"a file where the folder would be")
    make, given = counted(7)
    assert [remembered(tmp_path / "thing.py", "origin", make) for _ in range(2)] == [7, 7]
    assert len(given) == 2


def test_nothing_is_written_where_byte_code_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert remembered(tmp_path / "thing.py", "origin", lambda: 1) == 1
    assert not list(tmp_path.iterdir())


def test_what_the_maker_raises_is_raised_and_not_kept(tmp_path: Path) -> None:
    def fail() -> object:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        remembered(tmp_path / "thing.py", "origin", fail)
    assert remembered(tmp_path / "thing.py", "origin", lambda: 1) == 1


def test_a_digest_tells_names_contents_and_words_apart(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"x")
    two.write_bytes(b"x")
    digests = [digest([one]), digest([two]), digest([one, two]), digest([one], "w"), digest([one], "w", "")]
    one.write_bytes(b"y")
    digests.append(digest([one]))
    assert len(set(digests)) == len(digests)


def test_the_knowledge_from_memory_is_what_the_files_say() -> None:
    loader._shipped.cache_clear()
    loader._shipped()  # is there from now on
    loader._shipped.cache_clear()
    assert loader._shipped() == loader._compiled(Path(loader.__file__).parent)


LATE = (
    "yaml", "tomllib", "jsonschema", "alembic", "requests", "urllib3", "jwt", "cryptography", "prometheus_client",
    "flask.testing", "cds_service.fhir.transport", "cds_service.explain", "cds_service.scenarios.build",
    "cds_service.knowledge.protocols", "cds_service.knowledge.terminology", "cds_service.knowledge.overlay",
    "cds_service.web.chart_drawing", "cds_service.web.governance",
)  # fmt: skip
"""What many a service never needs, and none for its first call."""


def test_a_start_loads_only_what_calls_need(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    database = f"sqlite:///{tmp_path / 'records.sqlite3'}"
    script = (
        f"import sys; from cds_service.cli_database import upgrade_database; upgrade_database({database!r}); "
        "import cds_service.cli_serve, cds_service.wsgi; print(*sys.modules)"
    )

    def loaded() -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**environ, "CDS_DATABASE_URL": database},
            check=True,
            capture_output=True,
            text=True,
        )
        return set(done.stdout.split())

    loaded()  # what the first start works out, the second finds
    assert loaded().isdisjoint(LATE)


MEASURED = "; import time; print(time.process_time())"
APPLICATION = (
    "from cds_service.app import create_app; from cds_service.settings import Settings; create_app(Settings())"
)
LIBRARIES = "import flask, sqlalchemy, jinja2, yaml, msgspec"


@pytest.mark.slow
def test_a_start_costs_little_more_than_its_libraries(tmp_path: Path) -> None:
    """Without what is remembered, the service takes more than three times as long."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def seconds(script: str) -> float:
        done = subprocess.run(
            [sys.executable, "-c", script + MEASURED], env=environ, cwd=tmp_path, check=True, capture_output=True
        )
        return float(done.stdout.splitlines()[-1])

    seconds(APPLICATION)
    rounds = [(seconds(APPLICATION), seconds(LIBRARIES)) for _ in range(5)]
    whole, libraries = (min(round_[place] for round_ in rounds) for place in (0, 1))
    assert whole < 2 * libraries
