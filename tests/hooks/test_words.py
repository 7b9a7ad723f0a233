"""Words: what comes from a chart is inert Markdown on one line, and numbers and days read as they were measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from cds_service.chart import When
from cds_service.hooks.words import (
    LONGEST_FOREIGN,
    Own,
    Words,
    as_code,
    clock,
    day,
    escape,
    plain,
    summary_of,
)
from cds_service.knowledge.model import Knowledge
from cds_service.rules.outcome import Line
from tests.hooks import gfm
from tests.hooks.attacks import ATTACKS
from tests.rules.conftest import condition, measurement, month, when

PLACES: list[Callable[[str], str]] = [
    "{}".format,
    "a {} b".format,
    "- {}: b".format,
    "**a** ({})".format,
    "#### {}".format,
    "a | b\n---|---\n{} | c".format,
]
"""Where a template puts words of others: alone, in a sentence, a list, a heading, a table."""

# Letters that matter to Markdown come often, so that they meet.
HARMFUL = st.text(
    st.sampled_from(list("\\`*_{}[]()<>#+-.!|~&:/@=\"' \n\r\t\0wWhtpsxmailo.com1\u202e\u200b\u2028\xad"))
)
ANY = st.one_of(
    HARMFUL, st.text(), st.sampled_from(ATTACKS), st.tuples(HARMFUL, st.sampled_from(ATTACKS)).map("".join)
)


@pytest.fixture(scope="module")
def words(knowledge: Knowledge) -> Words:
    return Words(knowledge)


# -- text of others ----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place("TEXT"))
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: repr(attack)[:40])
def test_attack_is_inert(attack: str, place: Callable[[str], str]) -> None:
    markdown = place(escape(attack))
    gfm.assert_inert(markdown)
    assert gfm.blocks(markdown) == gfm.blocks(place("text"))


@given(ANY, st.sampled_from(PLACES))
def test_any_text_is_inert(text: str, place: Callable[[str], str]) -> None:
    written = escape(text)
    gfm.assert_inert(place(written))
    if written:
        assert gfm.blocks(place(written)) == gfm.blocks(place("text"))


@given(ANY)
def test_any_text_is_read_as_it_is(text: str) -> None:
    """Nothing is lost but what makes links, and what cannot be seen."""
    (read,) = gfm.texts(f"a {escape(text)} b")
    shown = plain(text)
    assert "".join(read.split()) == "".join(f"a {shown} b".replace("@", "(at)").split())


@given(ANY)
def test_a_code_span_holds(text: str) -> None:
    """The name of a prefetch key, were it hostile."""
    tokens = list(gfm.inline(f"a {as_code(text)} b"))
    assert [token.type for token in tokens] == ["text", "code_inline", "text"]
    assert tokens[1].content


@given(st.text(max_size=10000))
def test_summary_is_one_short_line(text: str) -> None:
    summary = summary_of(text)
    assert len(summary) <= 139
    assert summary.splitlines() in ([summary], [])
    summary.encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("testosterone 200 MG/ML", "testosterone 200 MG/ML"),
        ("  two\n lines\t", "two lines"),
        ("a\x00b\x1bc\x7fd", "a b c d"),
        ("pay\u202edlo\u2066g", "paydlog"),
        ("soft\xadhyphen, zero\u200bwidth, \ufeffmark", "softhyphen, zerowidth, mark"),
        ("half a \ud800 pair", "half a pair"),
        ("Müller, 5 µg, 日本語", "Müller, 5 µg, 日本語"),
        ("x" * 101, "x" * 99 + "…"),
        ("x" * 98 + " yy", "x" * 98 + "…"),
    ],
)
def test_plain(text: str, expected: str) -> None:
    assert " ".join(plain(text).split()) == expected
    assert len(plain(text)) <= LONGEST_FOREIGN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200 mg i.m. b.i.d., 2.5 mL", "200 mg i.m. b.i.d., 2.5 mL"),
        ("http://evil.example", "http: //evil. example"),
        ("www.evil.example", "www .evil. example"),
        ("a@evil.example", "a(at)evil. example"),
        ("a_b*c", r"a\_b\*c"),
        ("1. dose", r"1\. dose"),
        ("12) dose", r"12\) dose"),
        ("- dose", r"\- dose"),
        ("---", r"\---"),
        ("-0.5", "-0.5"),
        ("0.552", "0.552"),
        ("<0.1", r"\<0.1"),
    ],
)
def test_escape(text: str, expected: str) -> None:
    assert escape(text) == expected


# -- numbers and days --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marker", "value", "number", "limit"),
    [
        ("HCT", "54", "54.0 %", "54 %"),
        ("HCT", "55.25", "55.3 %", "55.3 %"),
        ("PSA", "4", "4.00 ng/mL", "4 ng/mL"),
        ("PSA", "1.4", "1.40 ng/mL", "1.4 ng/mL"),
        ("TT", "1000", "1000 ng/dL", "1000 ng/dL"),
        ("SHBG", "1000", "1000 nmol/L", "1000 nmol/L"),
        ("TSH", "0.400", "0.400 mIU/L", "0.4 mIU/L"),
        ("LH", "0", "0 mIU/mL", "0 mIU/mL"),
        ("P1NP", "1E+5000", "1E+5000 ng/mL", "1E+5000 ng/mL"),
        ("LH", "1E-5000", "1E-5000 mIU/mL", "1E-5000 mIU/mL"),
    ],
)
def test_numbers(marker: str, value: str, number: str, limit: str, words: Words) -> None:
    shown = words.number(Decimal(value), marker).replace("1.00E", "1E")
    assert shown == number
    assert words.limit(Decimal(value), marker) == limit


@pytest.mark.parametrize(
    ("result", "shown", "as_reported"),
    [
        (("HCT", "55.2", "0.552", "L/L"), "55.2 %", "0.552 L/L"),
        (("HCT", "55.2", "55.2", "%"), "55.2 %", ""),
        (("HCT", "55.24", "55.24", "%"), "55.2 %", "55.24 %"),
        (("PSA", "2.6", "2.6", "ng/mL"), "2.60 ng/mL", ""),
        (("PSA", "2.6", "2.6", "NG/ML"), "2.60 ng/mL", ""),
        (("PSA", "2.6", "2.6", "ug/L"), "2.60 ng/mL", "2.6 ug/L"),
        (("PSA", "<0.1", "<0.1", "ng/mL"), "<0.10 ng/mL", ""),
        (("HCT", "55.2", "55.2", ""), "55.2 %", "55.2"),
        (("HCT", None, "clotted", ""), "clotted", ""),
        (("HCT", "55.2", "about 55", "%"), "55.2 %", "about 55 %"),
        (("HCT", "55.2", "sNaN", "%"), "55.2 %", "sNaN %"),
    ],
)
def test_results(result: tuple[str, str | None, str, str], shown: str, as_reported: str, words: Words) -> None:
    marker, value, reported, unit = result
    found = measurement(marker, value, reported=reported, reported_unit=unit)
    assert words.value(found) == shown
    assert words.as_reported(found) == as_reported


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (date(2026, 11, 10), "2026-11-10"),
        (month(date(2026, 11, 1)), "2026-11"),
        (When(date(2026, 1, 1), date(2026, 12, 31), "year"), "2026"),
        (when(date(2026, 11, 10), "07:05"), "2026-11-10"),
        (measurement("HCT", "50", when=month(date(2026, 11, 1))), "2026-11"),
        (condition("mi", onset=date(2026, 5, 1), recorded=when(date(2026, 6, 1))), "2026-05-01"),
        (condition("mi", recorded=when(date(2026, 6, 1))), "2026-06-01"),
        (condition("mi"), ""),
        (None, ""),
    ],
)
def test_day(shown: Any, expected: str) -> None:
    assert day(shown) == expected


def test_clock() -> None:
    assert clock(measurement("TT", "1", time="07:05")) == "07:05"
    assert clock(measurement("TT", "1", when=msgspec.structs.replace(when(1), hour=7))) == "07:00"
    assert clock(measurement("TT", "1")) == ""


def test_onset_in_a_summary_keeps_its_blank(words: Words) -> None:
    assert words.onset(condition("mi", onset=date(2026, 5, 1))) == " of 2026-05-01"
    assert words.onset(condition("mi")) == ""


def test_a_date_of_record_is_not_put_as_the_onset(words: Words) -> None:
    recorded = when(date(2026, 11, 15))
    assert words.onset(condition("mi", recorded=recorded)) == " (recorded 2026-11-15, onset unknown)"
    assert words.onset(condition("mi", onset=date(2026, 5, 1), recorded=recorded)) == " of 2026-05-01"


def test_decimals_round_half_up(words: Words) -> None:
    assert words.decimals(Decimal("70.905"), 2) == "70.91"
    assert words.decimals(Decimal("20"), 1) == "20.0"


@pytest.mark.parametrize(
    ("names", "lead", "expected"),
    [
        (["a", "b"], "", "a, b"),
        (["x" * 60, "y" * 60, "z" * 60], "", "x" * 60 + ", " + "y" * 60 + " and 1 more"),
        (["x" * 60, "y" * 60, "z" * 60], "leads: ", "x" * 60 + " and 2 more"),
        (["x" * 200, "y"], "", "x" * 200 + " and 1 more"),
        (["x" * 139], "", "x" * 139),
        ([], "lead", ""),
    ],
)
def test_some(names: list[str], lead: str, expected: str, words: Words) -> None:
    assert words.some(names, lead) == expected


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        ("HCT", "hematocrit"),
        ("PSA", "PSA"),
        ("patient", "patient data"),
        ("orders", "open orders"),
        ("HCT-1", "hematocrit"),
        ("C-T-8", "Baseline tests missing before starting testosterone"),
        ("<b>", r"\<b\>"),
        (Own("hematocrit, PSA"), "hematocrit, PSA"),
    ],
)
def test_areas_have_names(area: str, expected: str, words: Words) -> None:
    assert words.name(area) == expected


# -- templates ---------------------------------------------------------------------------------------


def test_messages_escape_what_they_are_given(words: Words) -> None:
    """The interpretation is shown only where it is one of three codes; were that to change, it is inert."""
    for attack in ATTACKS:
        gfm.assert_inert(words.say("lab_alarm", flag=attack))
        gfm.assert_inert(words.say("gap_absent", key=attack, area="HCT"))
        gfm.assert_inert(words.say("refused", detail=attack, area=attack))


def test_a_message_is_one_line(words: Words) -> None:
    assert words.line(Line("condition_undated", {"name": "a\nb\u2028c"})).splitlines() == [
        "a b c has no date of onset, so that it is not known whether it is recent."
    ]
    assert words.line(Line("", text="A note of the rule.")) == "A note of the rule."


def test_a_missing_variable_is_an_error(words: Words) -> None:
    with pytest.raises(UndefinedError):
        words.say("on_hold")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANY)
def test_words_can_be_sent(text: str) -> None:
    json.dumps([escape(text), plain(text), as_code(text)]).encode()
    msgspec.json.encode([str(escape(text)), plain(text)])
