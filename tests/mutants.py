"""Mutation tests: each small change of the rules, the units and the dates should fail a test.

    python -m tests.mutants [--tests PATH]... [--no-cases] [--every 1] [--seconds 20] [--out FILE] [NAME]...

mutmut makes the changes, in a copy of the sources in mutants/; a NAME is a module (`threshold`) or a pattern of its
names of changes (`*.threshold.x_adjust__*`), none takes all. mutmut itself starts pytest anew for each change,
which here costs seconds. This loads the knowledge, the tests and the clinical cases once, notes which of them reach
which statement, and forks for each change: what last failed for that function runs first, then the module's own
tests, then the cases (`mutant_cases.py`), and the first failure ends it.
"""

from __future__ import annotations

import ast
import gc
import inspect
import json
import os
import random
import signal
import sys
import textwrap
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import wraps
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
import pytest
from _pytest.runner import runtestprotocol
from mutmut.__main__ import create_mutants
from mutmut.configuration import config
from mutmut.mutation import trampoline
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.utils.file_utils import (
    change_cwd,
    copy_also_copy_files,
    copy_src_dir,
    setup_source_paths,
    walk_mutatable_files,
)
from mutmut.utils.format_utils import make_mutant_key, mangled_name_from_mutant_name

if TYPE_CHECKING:
    from tests.mutant_cases import Judge

SURVIVED, KILLED, TIMEOUT = 0, 1, 2
KEPT = {"index", "plan", "questions", "predicates", "context", "outcome", "threshold", "schedule", "lines"}
"""Modules of which something is worked out once for a knowledge base."""
WORDS = {SURVIVED: "survived", KILLED: "killed", TIMEOUT: "timeout"}

active: dict[str, str] = {}
"""Function -> the change of it that is on trial; at most one."""
made: dict[str, dict[str, Callable[..., Any]]] = {}
"""Function -> its original and all changes of it."""


def switched(changes: dict[str, Callable[..., Any]], is_classmethod: bool = False) -> Callable[..., Any]:
    """Stands in for `wrap_in_trampoline` of mutmut: the same, without a look into the environment at every call."""
    assert not is_classmethod, "none of the modules has a class method"

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        owner, _, name = function.__qualname__.rpartition(".")
        key = f"{function.__module__}.{make_mutant_key(name, owner or None)}"
        made[key] = changes

        @wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            return changes[active.get(key, "_mutmut_orig")](*args, **named)

        return call

    return decorated


class Reach:
    """Lines of the originals that run while it is open."""

    def __init__(self) -> None:
        self.lines: set[tuple[str, int]] = set()

    def __enter__(self) -> Reach:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: object) -> Any:
        if "__mutmut_orig" not in frame.f_code.co_qualname:
            return None
        self.lines.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))  # its defaults
        return self._line

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


def statement(name: str) -> tuple[str, range]:
    """File and lines of the smallest statement of the original that is changed; of a compound one its head."""
    functions = made[mangled_name_from_mutant_name(name)]
    original = functions["_mutmut_orig"]
    old, new = (inspect.getsource(one).splitlines() for one in (original, functions[name.rpartition(".")[2]]))
    differing = [number for number, pair in enumerate(zip(old[1:], new[1:], strict=False), 1) if pair[0] != pair[1]]
    offset = differing[0] if differing else min(len(old), len(new))
    first = original.__code__.co_firstlineno
    best = range(first, first + len(old))
    for node in ast.walk(ast.parse(textwrap.dedent("\n".join(old)))):
        if isinstance(node, ast.stmt) and node.lineno - 1 <= offset < (node.end_lineno or node.lineno):
            body = getattr(node, "body", None)
            end = body[0].lineno - 1 if body and body[0].lineno - 1 > offset else node.end_lineno or node.lineno
            if end - node.lineno + 1 <= len(best):
                best = range(first + node.lineno - 1, first + end)
    return original.__code__.co_filename, best


class Mutants:
    """A pytest plugin that runs the collected tests and the cases once as they are, then against each change."""

    def __init__(self, names: list[str], cases: list[Judge], seconds: float, out: Path | None) -> None:
        self.names = names
        self.cases = cases
        self.seconds = seconds
        self.out = out
        self.items: list[pytest.Item] = []
        self.reaching: dict[tuple[str, int], list[int]] = defaultdict(list)
        """File and line -> numbers of the tests that reach it; those of the cases follow those of the tests."""
        self.lately: dict[str, list[int]] = defaultdict(list)
        """Function -> tests that failed for a change of it, the last one first."""
        self.survivors: list[str] = []
        self.counts: Counter[str] = Counter()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of the tests: once each, then the changes."""
        self.items = session.items
        started = time.monotonic()
        self._unchanged()
        seconds = time.monotonic() - started
        print(f"\n{len(self.items)} tests, {len(self.cases)} cases pass unchanged, {seconds:.0f} s", flush=True)
        gc.collect()
        gc.freeze()
        for name in self.names:
            order = self._order(name)
            self._note(name, len(order), *self._against(name, order))
        return True

    def _unchanged(self) -> None:
        for number in range(len(self.items) + len(self.cases)):
            forget()
            with Reach() as reach:
                following = number + 1 if self._is_test(number + 1) else 0
                passes = self._passes(number, following) if self._is_test(number) else self._case(number).settle()
            if not passes:
                raise click.ClickException(f"{self._name(number)} fails without any change")
            for line in reach.lines:
                self.reaching[line].append(number)

    def _is_test(self, number: int) -> bool:
        return number < len(self.items)

    def _case(self, number: int) -> Judge:
        return self.cases[number - len(self.items)]

    def _name(self, number: int) -> str:
        return self.items[number].nodeid if self._is_test(number) else self._case(number).name

    def _passes(self, number: int, following: int) -> bool:
        """One test or case; the fixtures that the following test shares with it stay."""
        if not self._is_test(number):
            return self._case(number).holds()
        reports = runtestprotocol(self.items[number], nextitem=self.items[following], log=False)
        return not any(report.failed for report in reports)

    def _order(self, name: str) -> list[int]:
        """What failed lately, the module's own tests, the cases, other tests; each time in the same order."""
        function = mangled_name_from_mutant_name(name)
        own = f"test_{function.split('.')[-2]}"
        file, lines = statement(name)
        reaching = {number for line in lines for number in self.reaching.get((file, line), ())}
        lately = [number for number in self.lately[function] if number in reaching]
        rest = sorted(reaching.difference(lately))
        random.Random(0).shuffle(rest)
        return [*lately, *sorted(rest, key=lambda number: self._turn(number, own))]

    def _turn(self, number: int, own: str) -> int:
        """0: the module's own tests; 1: cases, which take the least time; 2: other tests."""
        if not self._is_test(number):
            return 1
        return 0 if self.items[number].path.name.startswith(own) else 2

    def _against(self, name: str, order: list[int]) -> tuple[int, int, int]:
        """How it ends, the number of the test that failed (else -1), and how many ran."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            self._child(name, order, writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) or not told:
            return TIMEOUT, -1, 0
        return tuple(json.loads(told))

    def _child(self, name: str, order: list[int], writing: int) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        signal.alarm(int(self.seconds) + 20)
        active[mangled_name_from_mutant_name(name)] = name.rpartition(".")[2]
        if name.split(".")[-2] in KEPT:
            forget()
        # Cases may stand between two tests: what the first leaves set up must be what the second can begin with.
        following = dict(pairwise(number for number in order if self._is_test(number)))
        end, verdict = time.monotonic() + self.seconds, (SURVIVED, -1, 0)
        for ran, number in enumerate(order, 1):
            passes = self._passes(number, following.get(number, number))
            verdict = (SURVIVED, -1, ran) if passes else (KILLED, number, ran)
            if not passes or time.monotonic() > end:
                break
        os.write(writing, json.dumps(verdict).encode())
        os._exit(0)

    def _note(self, name: str, reach: int, how: int, number: int, ran: int) -> None:
        function = mangled_name_from_mutant_name(name)
        self.counts[WORDS[how]] += 1
        test = self._name(number) if number >= 0 else ""
        if number >= 0:
            lately = self.lately[function]
            self.lately[function] = [number, *(other for other in lately if other != number)]
        if self.out is not None:
            with self.out.open("a", encoding="utf-8") as file:
                print(
                    json.dumps({"name": name, "how": WORDS[how], "test": test, "ran": ran, "of": reach}), file=file
                )
        if how == SURVIVED:
            self.survivors.append(name)
            print(f"left: {name} ({ran} of {reach} tests)", flush=True)


def forget() -> None:
    """Make anew what is worked out once for a knowledge base: it was worked out unchanged."""
    from cds_service.rules.index import INDEX
    from cds_service.rules.plan import PLANS
    from cds_service.rules.predicates import QUESTIONS

    for kept in (INDEX, PLANS, QUESTIONS):
        kept._made.clear()


def changes(wanted: tuple[str, ...]) -> list[str]:
    """Names of the changes that were made, in the order in which they are wanted."""
    all_of_them: list[str] = []
    for path in sorted(walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        data.load()
        all_of_them.extend(data.exit_code_by_key)
    found = [name for one in wanted for name in all_of_them if fnmatchcase(name, one) or name.split(".")[-2] == one]
    return list(dict.fromkeys(found)) if wanted else all_of_them


def judged(out: Path | None) -> set[str]:
    """Changes that an earlier run has noted."""
    lines = out.read_text(encoding="utf-8").splitlines() if out is not None and out.exists() else []
    return {json.loads(line)["name"] for line in lines}


def cases() -> list[Judge]:
    """The clinical cases; their module uses the changed sources, which are to be found only now."""
    from tests.mutant_cases import all_cases

    return all_cases()


@click.command()
@click.argument("names", nargs=-1)
@click.option("--tests", multiple=True, help="Tests that should fail (else those of [tool.mutmut]).")
@click.option("--cases/--no-cases", "with_cases", default=True, help="Clinical cases that should fail, too.")
@click.option("--every", default=1, show_default=True, help="Only each so many-th change.")
@click.option("--seconds", default=20.0, show_default=True, help="Longest time for the tests of one change.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="JSON lines, one a change; what stands there is not done again."
)
def main(
    names: tuple[str, ...], tests: tuple[str, ...], with_cases: bool, every: int, seconds: float, out: Path | None
) -> None:
    """Change the rules, the units and the dates in small ways: each change should fail a test."""
    Path("mutants").mkdir(exist_ok=True)
    copy_src_dir()
    copy_also_copy_files()
    setup_source_paths()
    create_mutants(1)
    trampoline.wrap_in_trampoline = switched  # type: ignore[assignment]
    known = judged(out)
    chosen = [name for name in changes(names)[::every] if name not in known]
    plugin = Mutants(chosen, cases() if with_cases else [], seconds, out.absolute() if out else None)
    selected = tests or config().pytest_add_cli_args_test_selection
    options = ["--quiet", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", *config().pytest_add_cli_args]
    with change_cwd("mutants"):
        code = pytest.main(["--rootdir=.", *options, *selected], plugins=[plugin])
    if code:
        sys.exit(int(code))
    for name in plugin.survivors:
        print(f"\n# {name}\n{get_diff_for_mutant(name)}")
    print(", ".join(f"{count} {word}" for word, count in plugin.counts.items()), "of", len(chosen))


if __name__ == "__main__":
    main()
