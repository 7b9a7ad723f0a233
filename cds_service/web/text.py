"""Texts made for cards, on a page."""

from __future__ import annotations

import re

from cds_service.hooks.words import SPECIAL

_ESCAPED = re.compile(rf"\\({SPECIAL.pattern[1:-1]}|[-+=.)])")


def unmarked(text: str) -> str:
    """A sentence of `Words` as plain text: without the escapes and code marks of Markdown."""
    return _ESCAPED.sub(r"\1", re.sub(r"(?<!\\)`", "", text))
