"""The governance page: which rules speak, what the site has changed, what users do with the cards, what is missing.

    GET  /governance?days=90

Read-only, and off unless `[web] governance` is on. With `[web] governance_token` it asks for that password (HTTP
Basic, any user name); without one it answers only a browser on the machine itself. It shows counts and the site's
own words, never anything of a patient.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from hmac import compare_digest
from typing import Any, Literal

import msgspec
from flask import Blueprint, Response, request

from cds_service.feedback.clients import ClientFigures, clients
from cds_service.feedback.codes import CodeFigures, codes
from cds_service.feedback.errors import DatabaseError
from cds_service.feedback.report import NO_REASON, OTHER_REASON, Report, report
from cds_service.hooks.errors import Problem, outcome
from cds_service.hooks.routes import Desk
from cds_service.knowledge.model import Change, Knowledge, Rule
from cds_service.knowledge.review import warnings, what_in_words
from cds_service.settings import Settings
from cds_service.web import pages
from cds_service.web.visitors import refuse_strangers

SPANS = (30, 90, 365)
"""Days that can be looked back."""

State = Literal["live", "lapsed", "silent", "off"]


class RuleRow(msgspec.Struct, frozen=True):
    """One rule, and whether users see it."""

    rule: Rule
    protocol: str
    state: State
    """`lapsed`: live, but its review is past; `off`: draft, retired or switched off by the site."""
    change: Change | None
    """What of the site's has changed whether it is on."""

    @property
    def is_plain(self) -> bool:
        """True if the rule is as shipped and live, so that there is nothing to look at but its figures."""
        return self.state == "live" and self.change is None


def make_blueprint(desk: Desk, settings: Settings) -> Blueprint:
    """The page over the records of the service."""
    blueprint = Blueprint("governance", __name__)
    blueprint.before_request(_guard(settings))
    voice = desk.wording.voice
    said = pages.words()["governance"]
    unnamed = {NO_REASON: said["no_reason"], OTHER_REASON: said["other_reason"]}

    @blueprint.get("/governance")
    def page() -> Response:
        now = desk.clock()
        today = now.astimezone(desk.zone).date()
        days = next((each for each in SPANS if str(each) == request.args.get("days")), SPANS[1])
        period = {"since": now - timedelta(days=days), "until": now + timedelta(seconds=1)}
        counts: Report | None = None
        ehrs: tuple[ClientFigures, ...] = ()
        unmapped: tuple[CodeFigures, ...] = ()
        try:
            counts = report(desk.store.engine, desk.knowledge, **period)
            ehrs = clients(desk.store.engine, **period)
            unmapped = codes(desk.store.engine, since=today - timedelta(days=days), until=today)
        except DatabaseError:
            counts = None  # the page says so
        rows = list(rule_rows(desk.knowledge, settings, today))
        lines = {line.rule: line for line in counts.lines} if counts else {}
        quiet = [row for row in rows if row.is_plain and row.rule.id not in lines] if counts else []
        return pages.render(
            "governance.html",
            today=today,
            days=days,
            spans=SPANS,
            told=[row for row in rows if row not in quiet],
            quiet_rules=quiet,
            changes=desk.knowledge.changes,
            warnings=warnings(desk.knowledge, today, voice),
            what=partial(what_in_words, voice=voice),
            said=voice.say,
            report=counts,
            lines=lines,
            clients=ehrs,
            unmapped=[each for each in unmapped if each.code],
            others=sum(each.results for each in unmapped if not each.code),
            reasons={key: reason.display for key, reason in desk.knowledge.reasons.items()} | unnamed,
            knowledge=desk.knowledge,
            all_silent=settings.silent_all,
        )

    return blueprint


def rule_rows(knowledge: Knowledge, settings: Settings, today: date) -> Iterator[RuleRow]:
    """Every rule of the site, in the order of the knowledge."""
    names = {protocol.key: protocol.name for protocol in knowledge.protocols}
    for rule in knowledge.rules:
        change = next((each for each in knowledge.changes if each.what == f"rule {rule.id}: status"), None)
        yield RuleRow(rule, names[rule.protocol], _state(rule, settings, today), change)


def _state(rule: Rule, settings: Settings, today: date) -> State:
    if rule.status != "active":
        return "off"
    if settings.silent_all or rule.id in settings.silent_rules:
        return "silent"
    return "lapsed" if rule.review_by < today else "live"


def _guard(settings: Settings) -> Any:
    """Who may look: whoever has the password, or without one a browser on this machine."""
    password = settings.governance_token.encode()

    def ask() -> Response | None:
        given = request.authorization
        known = (
            given is not None
            and given.type == "basic"
            and compare_digest((given.password or "").encode(), password)
        )
        if known:
            return None
        response = outcome(401, [Problem("login", "this page needs a password")])
        response.headers["WWW-Authenticate"] = 'Basic realm="governance", charset="UTF-8"'
        return response

    return ask if password else refuse_strangers
