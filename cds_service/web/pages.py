"""What every page for people shares: one base template, one style sheet, one file of words, one strict policy.

A page is a blueprint of its own that answers with `render("its_template.html", …)`; the template extends
`base.html`. All words stand in `words.yaml`, one section a page, and reach a template as `words`. Scripts are ES
modules in `static/`; nothing is inline, nothing comes from another host, and no page needs a build step.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from flask import Blueprint, Response, current_app, has_app_context, render_template
from jinja2 import StrictUndefined

from cds_service import __version__
from cds_service.knowledge.voice import ISO, Locale
from cds_service.web.page_words import shipped

FOLDER = Path(__file__).parent
WORDS = "cds_page_words"
LOCALE = "cds_page_locale"
_NUMBER = re.compile(r"-?\d+\.\d+")
SELF = "'self'"
NONE = "'none'"


def make_blueprint(site: Mapping[str, Any], locale: Locale) -> Blueprint:
    """The static files at `/web/…`, and the templates of all pages, with the words of the site.

    Templates write dates with the filter `day` and numbers with `number`; scripts are told the locale.
    """
    blueprint = Blueprint(
        "web", __name__, template_folder="templates", static_folder="static", static_url_path="/web"
    )

    @blueprint.record_once
    def be_strict(state: Any) -> None:
        # A word that is missing is an error, never an empty place on a page.
        state.app.jinja_env.undefined = StrictUndefined
        state.app.extensions[WORDS] = site
        state.app.extensions[LOCALE] = locale
        filters = state.app.jinja_env.filters
        filters["day"] = lambda when: locale.date(str(when)) if when else ""
        filters["number"] = lambda text: locale.number(text) if _NUMBER.fullmatch(text) else text

    return blueprint


def words() -> Mapping[str, Any]:
    """The words of all pages, by section: those of the site whose service is asked, else as they are shipped."""
    site: Mapping[str, Any] = current_app.extensions[WORDS] if has_app_context() else shipped()
    return site


def told_locale() -> dict[str, str]:
    """How scripts write numbers and dates (`static/locale.js`)."""
    locale: Locale = current_app.extensions[LOCALE] if has_app_context() else ISO
    return msgspec.structs.asdict(locale)


def policy(*, connect: Iterable[str] = (), ancestors: Iterable[str] = ()) -> str:
    """The Content-Security-Policy of a page: everything from here, nothing inline.

    `connect`: further origins that its scripts may call. `ancestors`: origins that may show it in a frame.
    """
    parts = {
        "default-src": NONE,
        "script-src": SELF,
        "style-src": SELF,
        "img-src": SELF,
        "connect-src": " ".join((SELF, *connect)),
        "form-action": SELF,
        "base-uri": NONE,
        "frame-ancestors": " ".join(ancestors) or NONE,
        "require-trusted-types-for": "'script'",
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items())


def render(template: str, *, csp: str = "", posts: bool = False, **values: Any) -> Response:
    """A page. `csp` '': the policy without any exception. `posts`: it has a form that is sent by POST."""
    html = render_template(
        template,
        words=words(),
        locale=told_locale(),
        version=__version__,
        served=current_app.view_functions.keys(),
        **values,
    )
    response = Response(html, mimetype="text/html")
    response.headers["Content-Security-Policy"] = csp or policy()
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    if posts:  # with `no-referrer` browsers do not say either that a form is from here
        response.headers["Referrer-Policy"] = "same-origin"
    return response
