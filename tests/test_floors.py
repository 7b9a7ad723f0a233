"""The house: which folder may import which, and what the rules must never touch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cds_service

HOUSE = Path(cds_service.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))
LONGEST = 400

# From the top floor down. A room on the same floor may be entered too, as long as nobody walks in a circle.
FLOORS = (
    {"cli", "wsgi", "metrics_export", "metrics_page", "__main__"},
    {"scenarios", "explain", "explain_facts", "explain_text"},
    {"app"},
    {"hooks", "web"},
    {"rules"},
    {"fhir", "feedback", "security"},
    {"knowledge", "chart", "settings", "settings_checks", "log", "metrics", ""},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

RULES = [*sorted((HOUSE / "rules").glob("*.py")), HOUSE / "chart.py"]
FORBIDDEN = {
    "flask", "requests", "sqlalchemy", "structlog", "jinja2", "yaml", "json", "jsonschema", "fhir", "os", "io",
    "pathlib", "socket", "urllib", "http", "subprocess", "random", "uuid", "time", "logging", "msgspec.json",
}  # fmt: skip
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter", "localtime", "gmtime"}


def name_of(file: Path) -> str:
    """`cds_service.rules.engine`; a package bears the name of its folder."""
    parts = ("cds_service", *file.relative_to(HOUSE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


def room(module: str) -> str:
    """`rules` of `cds_service.rules.engine`, '' of the package itself; the commands are one room."""
    first = module.partition(".")[2].partition(".")[0]
    return "cli" if first.startswith("cli_") else first


def imported(file: Path, *, types_too: bool = True) -> Iterator[str]:
    """Full names of all that a file imports, anywhere in it: `package.module` and `package.module.name`."""
    waiting: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not types_too:
            continue
        waiting.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def neighbours(module: str, *, types_too: bool = True) -> set[str]:
    """Modules of ours that a module imports."""
    names = imported(MODULES[module], types_too=types_too)
    return {name for name in names if name in MODULES and name != module}


@pytest.mark.parametrize("module", MODULES)
def test_a_lower_floor_never_imports_a_higher_one(module):
    assert room(module) in FLOOR, f"{module} stands on no floor"
    higher = {name for name in neighbours(module) if FLOOR[room(name)] < FLOOR[room(module)]}
    assert higher == set()


def test_nobody_walks_in_a_circle():
    """What only a type checker imports is no way that anybody walks."""
    waiting = {module: neighbours(module, types_too=False) - {"cds_service"} for module in MODULES}
    while free := {module for module, wanted in waiting.items() if not wanted & waiting.keys()}:
        waiting = {module: wanted for module, wanted in waiting.items() if module not in free}
    assert waiting == {}


@pytest.mark.parametrize("file", RULES, ids=name_of)
def test_the_rules_know_no_web_no_store_no_json_and_no_file(file):
    names = set(imported(file))
    assert {name for name in names if name.split(".")[0] in FORBIDDEN or name in FORBIDDEN} == set()
    attributes = {
        node.attr
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    assert not attributes & {"json", "open"}


@pytest.mark.parametrize("file", RULES, ids=name_of)
def test_the_rules_never_ask_for_the_time(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert called not in CLOCKS, f"{file.name}:{node.lineno} asks for the time"


def test_the_rules_can_be_used_alone():
    script = (
        "import sys\n"
        f"import {', '.join(name_of(file) for file in RULES)}\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=HOUSE.parent
    )
    loaded = set(answer.stdout.split())
    assert "cds_service" in loaded
    assert not loaded & {"flask", "jinja2", "requests", "sqlalchemy", "structlog", "yaml", "jsonschema", "granian"}


# Numbers that are no medicine: counting, lengths of a month and a year, digits, percent, powers of ten.
PLAIN = {0, 1, 2, 3, 4, 10, 12, 30, 40, 100}
PLAIN_TEXT = {"1", "365.25", "1e-9", "1e9", "1e12", "0.001"}


@pytest.mark.parametrize("file", RULES, ids=name_of)
def test_no_limit_stands_in_python(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    numbers = {value for value in constants if isinstance(value, int | float) and not isinstance(value, bool)}
    texts = {
        value for value in constants if isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", value)
    }
    assert numbers <= PLAIN
    assert texts <= PLAIN_TEXT


CLINICAL = [
    name for name in MODULES if room(name) in {"fhir", "rules", "knowledge", "hooks", "scenarios", "web", "chart"}
]
CODES = re.compile(r"[0-9]{6,18}|[0-9]{2,7}-[0-9]")
"""Codes of SNOMED CT and RxNorm, and of LOINC."""


@pytest.mark.parametrize("module", CLINICAL)
def test_no_code_of_a_terminology_stands_in_python(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    texts = [
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [text for text in texts if CODES.fullmatch(text)] == []


@pytest.mark.parametrize("module", MODULES)
def test_a_file_fits_into_a_head(module):
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) < LONGEST
