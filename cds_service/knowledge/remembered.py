"""What is worked out from the shipped files alone, kept between two starts as Python keeps its byte code.

It lies in `__pycache__` and is trusted as the byte code there is: whoever may write it may change the program.
It is used only while it was made from the very same files, by the same version of Python, else it is made anew.
Where byte code is not written (a folder that is read-only, `PYTHONDONTWRITEBYTECODE`), every start works it out.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any


def remembered(file: Path, origin: str, make: Callable[[], Any]) -> Any:
    """What `make` gives, or what it gave at an earlier start whose `origin` was the same.

    `file` is the source that it stands for, as a module stands for its byte code. What `make` raises is raised.
    """
    kept = Path(cache_from_source(str(file))).with_suffix(".pickle")
    with suppress(Exception):  # not there, made by another version, cut off: whatever it is, it can be made anew
        found, _, content = kept.read_bytes().partition(b"\n")
        if found.decode() == origin:
            return pickle.loads(content)
    made = make()
    if not sys.dont_write_bytecode:
        with suppress(OSError):
            _write(kept, origin.encode() + b"\n" + pickle.dumps(made))
    return made


def _write(kept: Path, content: bytes) -> None:
    """Put it there whole or not at all: another process may read or write it at this moment."""
    kept.parent.mkdir(exist_ok=True)
    part = kept.with_suffix(f".{os.getpid()}")
    part.write_bytes(content)
    part.replace(kept)


def digest(files: Iterable[Path], *more: str) -> str:
    """A hash over the names and contents of files, and over further words."""
    total = hashlib.sha256("\0".join(more).encode())
    for file in sorted(files):
        total.update(b"\0" + file.name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()
