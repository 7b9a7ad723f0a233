"""Jinja2 templates, compiled once: those of the shipped words are kept between two starts.

Compiling is most of what a start would cost, and the code that comes of a text does not change.
"""

from __future__ import annotations

import marshal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import jinja2
from jinja2 import Environment, Template

from cds_service.knowledge.remembered import digest, remembered


def compiled(environment: Environment, texts: Iterable[str], keep: str) -> Mapping[str, Template]:
    """A template of each text. `keep`: name under which their code is kept, '' if it is not worth it.

    Raises TemplateSyntaxError.
    """
    wanted = sorted(set(texts))

    def compile_all() -> dict[str, bytes]:
        return {text: marshal.dumps(environment.compile(text, name="template")) for text in wanted}

    if keep:
        origin = digest((), *wanted, sys.version, jinja2.__version__)
        codes = remembered(Path(__file__).with_name(f"{keep}.py"), origin, compile_all)
    else:
        codes = compile_all()
    spaces = environment.make_globals(None)
    return {text: Template.from_code(environment, marshal.loads(code), spaces) for text, code in codes.items()}
