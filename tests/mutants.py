"""Mutation tests: each small change of the rules, the units and the dates should fail a test.

    python -m tests.mutants [--tests PATH]... [--every 1] [--seconds 20] [--out FILE] [NAME]...

mutmut makes the changes, in a copy of the sources in mutants/; a NAME is a module (`threshold`) or a pattern of its
names of changes (`*.threshold.x_adjust__*`), none takes all. mutmut itself starts pytest anew for each change,
which here costs seconds. This loads the knowledge and the tests once, notes which test reaches which function, and
forks for each change: what last failed for that function runs first, and the first failure ends it.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import click
import pytest
from _pytest.runner import runtestprotocol
from mutmut.__main__ import create_mutants
from mutmut.configuration import config
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.utils.file_utils import (
    change_cwd,
    copy_also_copy_files,
    copy_src_dir,
    setup_source_paths,
    walk_mutatable_files,
)
from mutmut.utils.format_utils import mangled_name_from_mutant_name

SURVIVED, KILLED, TIMEOUT = 0, 1, 2
WORDS = {SURVIVED: "survived", KILLED: "killed", TIMEOUT: "timeout"}


class Mutants:
    """A pytest plugin that runs the collected tests once as they are, and then against each change."""

    def __init__(self, names: list[str], seconds: float, out: Path | None) -> None:
        self.names = names
        self.seconds = seconds
        self.out = out
        self.items: list[pytest.Item] = []
        self.reaching: dict[str, list[int]] = defaultdict(list)
        """Function -> numbers of the tests that reach it."""
        self.lately: dict[str, list[int]] = defaultdict(list)
        """Function -> tests that failed for a change of it, the last one first."""
        self.survivors: list[str] = []
        self.counts: Counter[str] = Counter()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of the tests: once each, then the changes."""
        self.items = session.items
        started = time.monotonic()
        self._unchanged()
        print(f"\n{len(self.items)} tests pass unchanged, {time.monotonic() - started:.0f} s", flush=True)
        gc.collect()
        gc.freeze()
        for name in self.names:
            self._note(name, *self._against(name))
        return True

    def _unchanged(self) -> None:
        set_mutant_under_test("stats")
        for number, item in enumerate(self.items):
            state()._stats.clear()
            forget()
            if not self._passes(number, (number + 1) % len(self.items)):
                raise click.ClickException(f"{item.nodeid} fails without any change")
            for function in state()._stats:
                self.reaching[function].append(number)
        set_mutant_under_test("")

    def _passes(self, number: int, following: int) -> bool:
        """One test; the fixtures that the following one shares with it stay."""
        reports = runtestprotocol(self.items[number], nextitem=self.items[following], log=False)
        return not any(report.failed for report in reports)

    def _order(self, name: str) -> list[int]:
        """What failed lately, then the module's own tests, then the others in an order that is always the same."""
        function = mangled_name_from_mutant_name(name)
        own = f"test_{function.split('.')[-2]}.py"
        lately = self.lately[function]
        rest = [number for number in self.reaching[function] if number not in lately]
        random.Random(0).shuffle(rest)
        return [*lately, *sorted(rest, key=lambda number: self.items[number].path.name != own)]

    def _against(self, name: str) -> tuple[int, int, int]:
        """How it ends, the number of the test that failed (else -1), and how many ran."""
        order = self._order(name)
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
        set_mutant_under_test(name)
        forget()
        end, verdict, ran = time.monotonic() + self.seconds, (SURVIVED, -1), 0
        for ran, number in enumerate(order, 1):
            if not self._passes(number, order[ran % len(order)]):
                verdict = (KILLED, number)
                break
            if time.monotonic() > end:
                break
        os.write(writing, json.dumps([*verdict, ran]).encode())
        os._exit(0)

    def _note(self, name: str, how: int, number: int, ran: int) -> None:
        function = mangled_name_from_mutant_name(name)
        reach = len(self.reaching[function])
        self.counts[WORDS[how]] += 1
        test = self.items[number].nodeid if number >= 0 else ""
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
    from cds_service.rules.predicates import QUESTIONS

    INDEX._made.clear()
    QUESTIONS._made.clear()


def changes(wanted: tuple[str, ...]) -> Iterator[str]:
    """Names of the changes that were made."""
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for name in data.exit_code_by_key:
            module = name.split(".")[-2]
            if not wanted or any(one == module or fnmatchcase(name, one) for one in wanted):
                yield name


@click.command()
@click.argument("names", nargs=-1)
@click.option("--tests", multiple=True, help="Tests that should fail (else those of [tool.mutmut]).")
@click.option("--every", default=1, show_default=True, help="Only each so many-th change.")
@click.option("--seconds", default=20.0, show_default=True, help="Longest time for the tests of one change.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON lines: one a change.")
def main(names: tuple[str, ...], tests: tuple[str, ...], every: int, seconds: float, out: Path | None) -> None:
    """Change the rules, the units and the dates in small ways: each change should fail a test."""
    set_mutant_under_test("mutant_generation")
    Path("mutants").mkdir(exist_ok=True)
    copy_src_dir()
    copy_also_copy_files()
    setup_source_paths()
    create_mutants(1)
    chosen = list(changes(names))[::every]
    plugin = Mutants(chosen, seconds, out.absolute() if out else None)
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
