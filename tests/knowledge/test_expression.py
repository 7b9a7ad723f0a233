"""Regular expressions of the knowledge: told wrong at once when read, compiled late when remembered."""

from __future__ import annotations

import pickle
import re

import pytest

from cds_service.knowledge.drugs import whole_words
from cds_service.knowledge.expression import Expression


def remembered(expression: Expression) -> Expression:
    again = pickle.loads(pickle.dumps(expression))
    assert isinstance(again, Expression)
    return again


def test_one_that_is_wrong_is_refused_when_it_is_made() -> None:
    with pytest.raises(re.error):
        whole_words(["(estradiol"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Estradiol 2 mg", "Estradiol"),
        ("ESTRADIOL", "ESTRADIOL"),
        ("ethinylestradiol", None),
        ("E.V. 10 mg", "E.V."),
        ("", None),
    ],
)
def test_a_remembered_one_finds_what_it_found_before(text: str, found: str | None) -> None:
    made = whole_words(["estradiol", r"e\.v\."])
    for expression in (made, remembered(made)):
        for _ in range(2):
            match = expression.search(text)
            assert (match[0] if match else None) == found


def test_a_remembered_one_is_compiled_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    content = pickle.dumps(Expression("a+"))
    compiled: list[str] = []
    compile_ = re.compile

    def counted(pattern: str, flags: int) -> re.Pattern[str]:
        compiled.append(pattern)
        return compile_(pattern, flags)

    monkeypatch.setattr(re, "compile", counted)
    again = pickle.loads(content)
    assert (again.pattern, compiled) == ("a+", [])
    assert [bool(again.search(text)) for text in ("bA", "b")] == [True, False]
    assert compiled == ["a+"]


def test_it_is_known_by_its_text_and_has_nothing_else() -> None:
    one, same, other = Expression("a"), remembered(Expression("a")), Expression("b")
    assert (one == same, one == other, one == "a", hash(one) == hash(same)) == (True, False, False, True)
    with pytest.raises(AttributeError):
        _ = one.fullmatch
