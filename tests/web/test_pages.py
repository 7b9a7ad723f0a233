"""What every page shares: words, files, and the policy that lets in nothing from elsewhere."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import jinja2
import pytest
from flask import Flask
from flask.testing import FlaskClient

from cds_service.app import create_app
from cds_service.knowledge.model import Knowledge
from cds_service.settings import Settings
from cds_service.web import pages

STATIC = pages.FOLDER / "static"
OWN = [
    path
    for path in (pages.FOLDER).rglob("*")
    if path.suffix in (".html", ".css", ".js") and "vendor" not in path.parts
]


def directives(policy: str) -> dict[str, str]:
    return dict(part.split(" ", 1) for part in policy.split("; "))


@pytest.fixture
def bare(knowledge: Knowledge) -> Flask:
    """An application with one page of nothing but the frame."""
    app = create_app(Settings(), knowledge=knowledge, log=io.StringIO())
    app.add_url_rule("/bare", view_func=lambda: pages.render("base.html"))
    return app


def test_a_page_has_landmarks_a_language_and_a_way_to_skip(bare: Flask):
    html = bare.test_client().get("/bare").get_data(as_text=True)
    assert '<html lang="en">' in html
    for landmark in ("<header", "<nav aria-label=", '<main id="main"', "<footer"):
        assert landmark in html
    assert html.index('href="#main"') < html.index("<header")


def test_a_page_lets_in_nothing_from_elsewhere(bare: Flask):
    response = bare.test_client().get("/bare")
    policy = directives(response.headers["Content-Security-Policy"])
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src", "form-action")} == {
        "'self'"
    }
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert response.headers["Cache-Control"] == "no-store"


def test_a_page_may_be_given_more():
    policy = directives(pages.policy(connect=["http://127.0.0.1:8081"], ancestors=["https://ehr.example.org"]))
    assert policy["connect-src"] == "'self' http://127.0.0.1:8081"
    assert policy["frame-ancestors"] == "https://ehr.example.org"
    assert policy["script-src"] == "'self'"


def test_a_missing_word_stops_the_page(bare: Flask):
    with bare.test_request_context(), pytest.raises(jinja2.UndefinedError):
        bare.jinja_env.from_string("{{ words.page.no_such_word }}").render(words=pages.words())


@pytest.mark.parametrize("file", ["style.css", "icon.svg", "icons.svg"])
def test_files_are_served_and_may_be_kept_if_asked_about(client: FlaskClient, file: str):
    response = client.get(f"/web/{file}", buffered=True)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-cache"
    again = client.get(f"/web/{file}", headers={"If-None-Match": response.headers["ETag"]}, buffered=True)
    assert again.status_code == 304


def test_no_file_outside_the_folder_is_served(client: FlaskClient):
    for path in ("/web/../pages.py", "/web/%2e%2e/pages.py", "/web//etc/passwd", "/web/"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_nothing_is_inline_and_nothing_comes_from_another_host(path: Path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"""(?i)\b(src|href|url)\s*[=(]\s*["']?(https?:)?//""", text)
    if path.suffix == ".html":
        assert not re.search(r"(?i)<style|\sstyle\s*=|\son[a-z]+\s*=|javascript:", text)
        for attributes in re.findall(r"(?i)<script([^>]*)>", text):
            assert "src=" in attributes or 'type="application/json"' in attributes


@pytest.mark.parametrize(
    "folder", [STATIC / "vendor", Path(__file__).parents[1] / "browser" / "vendor"], ids=["shipped", "tests"]
)
def test_what_was_taken_from_others_is_unchanged_and_carries_its_licence(folder: Path):
    lines = (folder / "SHA256SUMS").read_text("utf-8").splitlines()
    sums = {name: digest for digest, name in map(str.split, lines)}
    scripts = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.js")}
    assert scripts == sums
    for name in scripts:
        assert (folder / f"{name.split('.')[0]}.LICENSE").is_file()


def test_words_are_words():
    """YAML reads a bare `on` or `no` as true or false."""

    def check(value: object) -> None:
        if isinstance(value, dict):
            assert all(isinstance(key, str) for key in value), value
            for part in value.values():
                check(part)
        else:
            assert isinstance(value, str), value
            assert value.strip()

    check(dict(pages.words()))


def test_every_word_of_the_workbench_is_used_and_every_used_one_is_there():
    """Scripts name words by `say('name')`, `words.name` or a string that is one; templates by `w.name`."""
    known = set(pages.words()["workbench"])
    scripts = "\n".join(path.read_text("utf-8") for path in (STATIC / "workbench").glob("*.js"))
    template = (pages.FOLDER / "templates" / "workbench.html").read_text("utf-8")
    said = set(re.findall(r"(?:say\('|words\.)(\w+)", scripts)) | set(re.findall(r"\bw\.(\w+)", template))
    assert said <= known
    assert known <= said | set(re.findall(r"'(\w+)'", scripts))
