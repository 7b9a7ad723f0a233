"""The container file: what its linter says, and what a hospital's security office asks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_packaging import TOP, pins

FILE = TOP / "deploy" / "Containerfile"
TEXT = FILE.read_text(encoding="utf-8")


def instructions(word: str) -> list[str]:
    joined = TEXT.replace("\\\n", " ")
    return [line.partition(" ")[2].strip() for line in joined.splitlines() if line.startswith(f"{word} ")]


def test_the_linter_finds_nothing() -> None:
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, FILE], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_runs_as_nobody_in_particular() -> None:
    assert instructions("USER")[-1] == "10001:10001"


def test_packages_are_locked_by_hash_and_no_source_is_built() -> None:
    (locked, ours) = [line for line in instructions("RUN") if "pip install" in line]
    assert {"--require-hashes", "--only-binary=:all:"} <= set(locked.split())
    assert {"--no-deps", "--no-build-isolation"} <= set(ours.split())


def test_the_image_s_lock_is_the_tested_one_with_the_driver() -> None:
    image, runtime = pins("deploy/requirements.lock"), pins("requirements.lock")
    assert runtime.items() <= image.items()
    assert set(image) - set(runtime) <= {"psycopg", "psycopg-binary"}
    assert "psycopg-binary" in image
    assert image.items() <= pins("requirements-dev.lock").items()


def test_everything_that_the_wheel_needs_is_copied_and_nothing_else() -> None:
    let_in = [
        line[1:] for line in (TOP / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[0] == "!"
    ]
    copied = {source for line in instructions("COPY") if "--from" not in line for source in line.split()[:-1]}
    assert copied == set(let_in)
    assert all((TOP / source).exists() for source in copied)


def test_its_health_is_asked_where_the_service_listens() -> None:
    (health,) = instructions("HEALTHCHECK")
    (port,) = re.findall(r"PORT=(\d+)", TEXT)
    assert f"http://127.0.0.1:{port}/healthz" in health
    assert port in instructions("EXPOSE")[0].split()


@pytest.mark.slow
def test_the_check_of_its_health_works(tmp_path: Path) -> None:
    from tests.operations.running import serving

    (program,) = re.findall(r'"-c", "(.*?)"\]', instructions("HEALTHCHECK")[0])
    with serving(tmp_path) as service:
        healthy = program.replace(":8000/", f":{service.port}/")
        assert subprocess.run([sys.executable, "-c", healthy], timeout=60, check=False).returncode == 0
        service.stop()
        ill = subprocess.run([sys.executable, "-c", healthy], capture_output=True, timeout=60, check=False)
        assert ill.returncode != 0
