"""Jinja2 templates, compiled once: those of the shipped words are kept between two starts.

Compiling is most of what a start would cost, and the code that comes of a text does not change.
"""

from __future__ import annotations

import marshal
import sys
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import Environment, Template
from jinja2.nodes import EvalContext
from jinja2.runtime import Context
from jinja2.utils import missing

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


def filled(template: Template, values: dict[str, Any], block: str = "") -> str:
    """The text of a template, or of one of its blocks; the values are all there is: Jinja's own globals are not."""
    part = template.blocks[block] if block else template.root_render_func
    return "".join(part(_Given(template, values)))


class _Given(Context):
    """What a template is given. Making Jinja's own context costs as much as a whole sentence does."""

    def __init__(self, template: Template, values: dict[str, Any]) -> None:
        self.parent = values
        self.vars = {}
        self.environment = template.environment
        self.exported_vars = set()
        self.name = template.name
        self.blocks = {name: [part] for name, part in template.blocks.items()}

    @cached_property
    def eval_ctx(self) -> EvalContext:  # type: ignore[override]  # made only if a filter asks for it
        return EvalContext(self.environment, self.name)

    def resolve_or_missing(self, key: str) -> Any:
        if key in self.vars:
            return self.vars[key]
        return self.parent.get(key, missing)
