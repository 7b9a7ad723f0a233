"""The wheel is whole: installed with the locked runtime packages alone, it starts and knows its data."""

import os
import re
import subprocess
import sys
import tomllib
import venv
from importlib import metadata
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).parent.parent
# Where each folder of the source tree lies in the wheel.
SHIPPED = {
    "cds_service": "cds_service",
    "cards_templates": "cds_service/cards_templates",
    "examples": "cds_service/examples",
}
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)", re.MULTILINE)

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed; this process's Python settings do not reach it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pins(lock: str) -> dict[str, str]:
    return dict(PIN.findall((TOP / lock).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, cwd=TOP)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a clean environment that holds the wheel and the runtime lock, nothing else.

    The locked packages are linked from the environment that runs the tests. That needs no network, and a
    package that only the developers' lock has is missing here, as it would be at a user's.
    """
    environment = tmp_path_factory.mktemp("installed")
    venv.create(environment, symlinks=True)
    site = next(environment.glob("lib/python*/site-packages"))
    for name in pins("requirements.lock"):
        for entry in packages_of(name):
            link = site / entry.name
            if not link.exists():
                link.symlink_to(entry)
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--quiet", "--disable-pip-version-check")
    run(*pip, "install", "--no-index", "--no-deps", wheel, cwd=environment)
    return python.parent


def packages_of(name: str) -> set[Path]:
    """What an installed distribution put at the top of site-packages."""
    distribution = metadata.distribution(name)
    files = [file for file in distribution.files or () if not {"..", "__pycache__"} & set(file.parts[:1])]
    return {Path(str(distribution.locate_file(file.parts[0]))) for file in files}


@pytest.mark.parametrize("folder", SHIPPED)
def test_wheel_holds_every_file_of(folder: str, wheel: Path) -> None:
    sources = (path.relative_to(TOP / folder) for path in (TOP / folder).rglob("*") if path.is_file())
    expected = {f"{SHIPPED[folder]}/{path.as_posix()}" for path in sources if "__pycache__" not in path.parts}
    assert expected, f"{folder} is empty"
    assert expected <= set(ZipFile(wheel).namelist())


def test_wheel_holds_the_knowledge_and_its_schemas(wheel: Path) -> None:
    knowledge = [PurePosixPath(name) for name in ZipFile(wheel).namelist() if "/knowledge/" in name]
    assert {".yaml", ".tsv", ".json"} <= {path.suffix for path in knowledge}


def test_wheel_holds_nothing_else(wheel: Path) -> None:
    tops = {PurePosixPath(name).parts[0] for name in ZipFile(wheel).namelist()}
    version = wheel.name.split("-")[1]
    assert tops == {"cds_service", f"cds_service-{version}.dist-info"}


def test_package_is_imported_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    found = run(installed / "python", "-c", "import cds_service; print(cds_service.__file__)", cwd=tmp_path)
    assert Path(found.strip()).is_relative_to(installed.parent)


def test_command_tells_its_version(installed: Path, wheel: Path, tmp_path: Path) -> None:
    assert wheel.name.split("-")[1] in run(installed / "cds-service", "--version", cwd=tmp_path)


def test_demo_runs_on_an_example_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    first_example = run(installed / "cds-service", "demo", "--list", cwd=tmp_path).split()[0]
    assert run(installed / "cds-service", "demo", first_example, cwd=tmp_path).strip()


def test_locks_agree() -> None:
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()


def test_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {
        "requirements.lock": project["dependencies"] + project["optional-dependencies"]["build"],
        "requirements-dev.lock": project["optional-dependencies"]["dev"],
    }
    for lock, requirements in asked.items():
        for requirement in map(Requirement, requirements):
            if requirement.name == project["name"]:
                continue
            pinned = pins(lock).get(canonicalize_name(requirement.name))
            assert pinned, f"{requirement} is not in {lock}: make lock"
            assert pinned in requirement.specifier, f"{requirement}, but {lock} has {pinned}: make lock"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_lock_names_no_host(lock: str) -> None:
    text = (TOP / lock).read_text(encoding="utf-8")
    assert not re.search(r"://|^--?[a-z]", text, re.MULTILINE)
