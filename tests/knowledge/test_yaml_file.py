from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.knowledge.yaml_file import Document, KnowledgeError, Problem, read

GOOD = """
# a comment
sources:
  one: {label: One, year: 2020}
  two:
    label: Two
    url: "https://example.org/two"
"""


def problems_of(tmp_path: Path, text: str, schema: str = "sources") -> list[Problem]:
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8")
    problems: list[Problem] = []
    document = read(path, schema, problems)
    assert (document is None) == bool(problems)
    return problems


def test_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(GOOD, encoding="utf-8")
    problems: list[Problem] = []
    document = read(path, "sources", problems)
    assert not problems
    assert isinstance(document, Document)
    assert document.data["sources"]["one"] == {"label": "One", "year": 2020}


def test_duplicate_key(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, GOOD + "  one: {label: Again}\n")
    assert (problem.file, problem.line) == ("file.yaml", 8)
    assert "'one'" in problem.expected


def test_duplicate_key_deep_inside(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "sources:\n  one:\n    label: A\n    year: 2020\n    label: B\n")
    assert problem.line == 5


def test_no_yaml(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "sources:\n  one: {label: One\n  two: 2\n")
    assert problem.line in (2, 3)
    assert problem.expected.startswith("valid YAML")


def test_no_text(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(b"sources: \xff\xfe\n")
    problems: list[Problem] = []
    assert read(path, "sources", problems) is None
    assert len(problems) == 1


def test_no_file(tmp_path: Path) -> None:
    problems: list[Problem] = []
    assert read(tmp_path / "absent.yaml", "sources", problems) is None
    assert [problem.file for problem in problems] == ["absent.yaml"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "sources\n", "sources: {}\n"])
def test_another_shape(tmp_path: Path, text: str) -> None:
    assert problems_of(tmp_path, text)


def test_unknown_field_is_named_with_its_line_and_the_known_ones(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "sources:\n  one:\n    label: One\n    lable: Two\n")
    assert problem == Problem("file.yaml", 4, "sources.one.lable", "a known field: label, url, year")


def test_bad_key(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "sources:\n  One: {label: One}\n")
    assert (problem.line, problem.field) == (2, "sources.One")
    assert problem.expected.startswith("a key of the form")


def test_missing_field(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "sources:\n  one: {year: 2020}\n")
    assert (problem.line, problem.field) == (2, "sources.one")
    assert "label" in problem.expected


def test_all_problems_of_a_file_at_once(tmp_path: Path) -> None:
    text = "sources:\n  one:\n    year: soon\n  two:\n    label: Two\n    url: http://example.org\n    year: 1066\n"
    problems = problems_of(tmp_path, text)
    assert sorted((problem.line, problem.field) for problem in problems) == [
        (2, "sources.one"),
        (3, "sources.one.year"),
        (6, "sources.two.url"),
        (7, "sources.two.year"),
    ]


@pytest.mark.parametrize(
    "url", ["example.org", "https://exa mple.org", "https://exämple.org", "http://example.org", ""]
)
def test_urls_are_absolute_and_https(tmp_path: Path, url: str) -> None:
    assert problems_of(tmp_path, f'sources:\n  one:\n    label: One\n    url: "{url}"\n')


@pytest.mark.parametrize("factor", ["28.842", "1e3", "28,842", "", "1.", ".5", "+1"])
def test_a_number_that_is_no_quoted_decimal(tmp_path: Path, factor: str) -> None:
    value = factor if factor == "28.842" else f'"{factor}"'
    text = f"""markers:
  TT:
    name: testosterone
    unit: ng/dL
    factors:
      nmol/L: {value}
    codes:
      "2986-8": {{name: Testosterone, mark: verified}}
flags: {{told: [HH], kept: [H]}}
"""
    (problem,) = problems_of(tmp_path, text, "markers")
    assert (problem.line, problem.field) == (6, "markers.TT.factors.nmol/L")


@pytest.mark.parametrize("word", ["on", "yes", "No", "2026-01-02", "12:30", "012", "0x1F", "1_000"])
def test_words_that_yaml_1_1_would_turn_into_something_else(tmp_path: Path, word: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(f"sources:\n  one:\n    label: {word}\n", encoding="utf-8")
    problems: list[Problem] = []
    document = read(path, "sources", problems)
    assert not problems
    assert document is not None
    assert document.data["sources"]["one"]["label"] == word


def test_a_key_that_is_no_text(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "sources:\n  one: {label: One}\n  12: {label: Two}\n")
    assert problem.line == 3
    assert "quotes" in problem.expected


def test_tags_make_no_objects(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "sources: !!python/object/apply:os.getcwd []\n")


def test_merge_keys_are_no_magic(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "sources:\n  one: &one {label: One}\n  two:\n    <<: *one\n    year: 2020\n")


def test_an_error_prints_one_problem_a_line_in_order() -> None:
    error = KnowledgeError(
        [
            Problem("b.yaml", 3, "x.y", "something"),
            Problem("a.yaml", 20, "", "valid YAML"),
            Problem("a.yaml", 3, "codes[0].name", "a name"),
        ]
    )
    assert str(error).splitlines() == [
        "a.yaml:3: codes[0].name: a name",
        "a.yaml:20: valid YAML",
        "b.yaml:3: x.y: something",
    ]
    assert len(error.problems) == 3
