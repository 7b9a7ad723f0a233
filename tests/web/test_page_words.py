"""A site's own words on the pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.app import create_app
from cds_service.knowledge.model import Knowledge
from cds_service.settings import Settings, SettingsError
from cds_service.web import pages
from cds_service.web.page_words import page_words, shipped


def settings(folder: Path, text: str) -> Settings:
    (folder / "words.yaml").write_text(text, encoding="utf-8")
    return Settings(words_folder=str(folder))


def test_a_site_rewords_what_it_names(tmp_path: Path) -> None:
    words = page_words(settings(tmp_path, "lang: de\npage: {version: 'Fassung {version}'}\n"))
    assert words["lang"] == "de"
    assert words["page"]["version"] == "Fassung {version}"
    assert words["page"]["skip"] == "Skip to the content"
    assert words["workbench"] is shipped()["workbench"]


def test_every_mistake_is_told(tmp_path: Path) -> None:
    text = (
        "page: {skip: '', version: '{n}', nothing: x}\nchart: hello\n"
        "workbench: {card_count: {few: '{n} x', odd: x}}\n"
    )
    with pytest.raises(SettingsError) as raised:
        page_words(settings(tmp_path, text))
    assert [problem.partition("words.yaml: ")[2] for problem in raised.value.problems] == [
        "page.skip: expected a text",
        "page.version: {n}: there is no such value here",
        "page.nothing: nothing uses a text of this name",
        "chart: expected names with their texts",
        "workbench.card_count.odd: nothing uses a text of this name",
    ]


def test_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read as YAML"):
        page_words(settings(tmp_path, "a: b: c"))


def test_the_pages_of_a_service_have_the_words_of_its_site(tmp_path: Path, knowledge: Knowledge) -> None:
    site = settings(tmp_path, "page: {product: Hormontherapie}\n")
    app = create_app(site, knowledge=knowledge)
    with app.app_context():
        assert pages.words()["page"]["product"] == "Hormontherapie"
    assert pages.words()["page"]["product"] == "Hormone therapy monitoring"


def test_a_site_s_mistakes_stop_the_start(tmp_path: Path, knowledge: Knowledge) -> None:
    with pytest.raises(SettingsError, match="no_such"):
        create_app(settings(tmp_path, "no_such: x"), knowledge=knowledge)
