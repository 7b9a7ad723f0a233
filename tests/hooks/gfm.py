"""Reads the Markdown of a card as a GitHub-flavoured reader would, and refuses what could do harm there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
INERT = {"text", "strong_open", "strong_close", "softbreak", "code_inline"}

# What GFM makes a link of without any markup (its section 6.9), and what bolder readers do.
AUTOMATIC = [
    re.compile(r"(?i)www\."),
    re.compile(r"(?i)[a-z][a-z0-9+.-]*://"),
    re.compile(r"[\w.+-]@[\w-]"),
    re.compile(r"\w\.[^\W\d_]{2}"),
]


@lru_cache(maxsize=1000)
def parsed(markdown: str) -> list[Token]:
    """The blocks of a text; a card is looked at from several sides."""
    return READER.parse(markdown)


def inline(markdown: str) -> Iterator[Token]:
    """Everything inside paragraphs, headings, list items and table cells."""
    for block in parsed(markdown):
        yield from block.children or ()


def blocks(markdown: str) -> list[str]:
    """The structure without the text: `paragraph_open`, `table_open`, …"""
    return [token.type for token in parsed(markdown)]


def texts(markdown: str) -> list[str]:
    """What is read, paragraph by paragraph, cell by cell."""
    found = []
    for block in parsed(markdown):
        if block.type == "inline":
            found.append(
                "".join(t.content if t.content else " " * (t.type == "softbreak") for t in block.children or ())
            )
    return found


def rows(markdown: str) -> list[list[str]]:
    """The rows of all tables, the head first."""
    found: list[list[str]] = []
    cell = False
    for block in parsed(markdown):
        if block.type == "tr_open":
            found.append([])
        cell = block.type in ("th_open", "td_open") or (cell and block.type == "inline")
        if cell and block.type == "inline":
            found[-1].append("".join(t.content for t in block.children or ()))
    return found


def assert_inert(markdown: str) -> None:
    """No HTML, no image, no link, whether marked or automatic, and nothing that is not seen."""
    for block in parsed(markdown):
        assert block.type not in ("html_block", "fence", "code_block", "blockquote_open", "hr"), block
    for token in inline(markdown):
        assert token.type in INERT, f"{token.type}: {token.content}{token.attrs}"
        if token.type == "text":
            for pattern in AUTOMATIC:
                assert not pattern.search(token.content), f"{pattern.pattern} in {token.content!r}"
    assert not re.search(
        r"[^\S\n ]|[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]", markdown
    )
