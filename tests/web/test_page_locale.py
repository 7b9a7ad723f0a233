"""Dates and numbers of the pages as the site writes them; what machines read stays ISO."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape

import pytest
from flask import Flask

from cds_service.app import create_app
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.voice import Locale
from cds_service.scenarios.workbench import TOOLS
from cds_service.settings import Settings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ISO = re.compile(r"\b\d{4}-\d\d(-\d\d)?\b")
DAYS = {"de": r"\b\d\d\.\d\d\.\d{4}\b", "en-GB": r"\b\d\d/\d\d/\d{4}\b"}


def site(knowledge: Knowledge, locale: str) -> Flask:
    settings = Settings(words_locale=locale, governance=True)
    return create_app(settings, knowledge=knowledge, tools=TOOLS, clock=lambda: NOON)


@pytest.fixture(scope="module")
def german(knowledge: Knowledge) -> Flask:
    return site(knowledge, "de")


def shown(html: str) -> str:
    """What a reader sees or hears: text, and the attributes that are read out."""
    html = re.sub(r"<(script|style)\b.*?</\1>", " ", html, flags=re.DOTALL)
    heard = re.findall(r'\b(?:aria-label|title|placeholder|alt)="([^"]*)"', html)
    return unescape(" ".join([re.sub(r"<[^>]*>", " ", html), *heard]))


@pytest.mark.parametrize("path", ["/chart?patient=hematocrit-high", "/governance"])
@pytest.mark.parametrize("locale", DAYS)
def test_no_date_is_left_as_it_is_kept(path: str, locale: str, knowledge: Knowledge) -> None:
    text = shown(site(knowledge, locale).test_client().get(path).text)
    assert re.search(DAYS[locale], text)
    assert ISO.findall(text) == []


def test_results_limits_and_axes_have_the_comma(german: Flask) -> None:
    """55.2 % of the example stands in the card, beside its mark, in the table and in what is read out."""
    text = shown(german.test_client().get("/chart?patient=hematocrit-high").text)
    assert text.count("55,2") >= 4
    assert "55.2" not in text.replace("reported as 55.2", "")
    assert re.search(r"\b\d\d\.\d{4}\b", text)  # months on the axis of time
    assert re.search(r" [mn]g/[dm]L", text)


def test_what_machines_read_stays(german: Flask) -> None:
    chart = german.test_client().get("/chart?patient=hematocrit-high&as_of=2026-11-20").text
    assert '<input id="as_of" name="as_of" type="date" value="2026-11-20">' in chart
    bench = german.test_client().get("/").text
    assert '"today": "2026-11-22"' in bench
    assert '"locale": {"day": "DD.MM.YYYY", "decimal": ",", "month": "MM.YYYY"}' in bench


def test_the_default_is_iso(knowledge: Knowledge) -> None:
    text = shown(site(knowledge, "en").test_client().get("/chart?patient=hematocrit-high").text)
    assert "2026-11-12 08:10" in text


@pytest.mark.parametrize(
    ("iso", "here"),
    [
        ("2026-11-02 07:30", "02.11.2026 07:30"),
        ("2026-11-02", "02.11.2026"),
        ("2026-11", "11.2026"),
        ("2026", "2026"),
    ],
)
def test_a_date_of_any_precision(iso: str, here: str, german: Flask) -> None:
    assert Locale(",", "DD.MM.YYYY", "MM.YYYY").date(iso) == here
    assert german.jinja_env.filters["day"](iso) == here


def test_only_numbers_are_numbers(german: Flask) -> None:
    number = german.jinja_env.filters["number"]
    assert [number(text) for text in ("54.0", "-1.5", "54", "urn:oid:1.2.840", "")] == [
        "54,0",
        "-1,5",
        "54",
        "urn:oid:1.2.840",
        "",
    ]
