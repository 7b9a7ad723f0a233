"""Prints an explanation for people: the answer first, then what was read, then every rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.text import Text

from cds_service.explain_facts import Data
from cds_service.hooks.words import HIDDEN
from cds_service.knowledge.voice import Voice

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What would move the cursor, colour what follows or name the window, if somebody wrote it into a chart."""
TITLES = {
    "finding": "Rules that speak",
    "snoozed": "Rules that a user has set aside for a while",
    "silent": "Rules that the site does not show",
    "unknown": "Rules that could not be judged",
    "fine": "Rules that were judged and found nothing",
    "not applicable": "Rules that do not apply here",
}
STATES = {
    "done": "done on {day}",
    "due": "due",
    "overdue": "overdue",
    "ordered": "ordered ({order})",
    "unknown": "not known: data are missing",
}
LAST = {"due": "due; last on {day}", "overdue": "overdue; last on {day}"}
VERDICTS = {True: "yes", False: "no", None: "cannot be told"}
MEANT = "a result counts from {opens}; meant for {target}, overdue from {overdue_from}"
COUNTED = "each test due {due_after_days} days after its last result, overdue after {overdue_after_days}"


def print_explanation(explanation: Data, console: Console, voice: Voice | None = None) -> None:
    """Print everything that `explain_request` has found, in the same voice; None: that of the service."""
    for line in _Printer(voice or Voice()).lines(explanation):
        heading = not line.startswith(" ")
        shown = HIDDEN.sub("", CONTROLS.sub(" ", line))
        console.print(Text(shown, style="bold" if heading else ""), soft_wrap=True)


class _Printer:
    """Puts an explanation into lines."""

    def __init__(self, voice: Voice) -> None:
        self._say, self._day = voice.say, voice.day

    def lines(self, told: Data) -> Iterator[str]:
        """All lines; headings begin without blanks."""
        yield from self._answer(told)
        yield from self._read(told)
        for word, title in TITLES.items():
            rules = [rule for rule in told["rules"] if rule["result"] == word]
            if rules:
                yield ""
                yield self._say(title)
                yield from _not_run(rules)
                for rule in rules:
                    if "when" in rule:
                        yield from self._rule(rule)

    def _answer(self, told: Data) -> Iterator[str]:
        say, patient, answer = self._say, told["patient"], told["answer"]
        who = f"{patient['sex']} ({patient['sex_by']})" if "sex_by" in patient else say("sex not known")
        age = say("{age} years", age=patient["age"]) if "age" in patient else say("age not known")
        version = say("knowledge {version}", version=told["knowledge"])
        call = say("{hook} on {day}", hook=told["hook"], day=self._day(told["as_of"]))
        yield f"{call}: Patient/{patient['id']}, {who}, {age}; {version}"
        if "problems" in answer:
            yield f"  {say('The service answers {status}:', status=answer['status'])}"
            yield from (f"    {problem}" for problem in answer["problems"])
        elif not answer["cards"]:
            yield f"  {say('The service answers without a card.')}"
        for card in answer["cards"]:
            yield f"  {say(card['indicator']).upper()} {card['topic']}: {card['summary']}"
            yield from (f"    [ {label} ]" for label in card["suggestions"])
        if answer["cards"] and answer.get("silent"):
            yield f"  {say('The service is silent: it answers without these cards.')}"

    def _read(self, told: Data) -> Iterator[str]:
        say, resources, chart = self._say, told["resources"], told["chart"]
        yield ""
        yield say("Resources: {came} came in, {used} used", came=resources["came_in"], used=resources["used"])
        for one in resources["refused"]:
            yield f"  {say('{source}: not used, {detail} ({reason})', **{'detail': '', **one})}"
        for gap in told["gaps"]:
            yield f"  {self._gap(gap)}"
        yield say("Protocols: {names}", names=", ".join(told["protocols"]) or say("none applies"))
        for name in ("therapies", "drafts", "conditions", "procedures", "orders"):
            yield from (f"  {self._fact(one)}" for one in chart[name])
        for found in chart["results"].values():
            earlier = say("; {count} earlier", count=len(found) - 1) if len(found) > 1 else ""
            yield f"  {self._fact(found[0])}{earlier}"

    def _gap(self, gap: Data) -> str:
        detail = f", {gap['detail']}" if "detail" in gap else ""
        day = self._day(gap.get("complete_since", ""))
        since = self._say("; complete since {day}", day=day) if day else ""
        told = {
            "problem": gap["problem"] + detail,
            "since": since,
            "areas": ", ".join(map(self._say, gap["covers"])),
        }
        return self._say("gap: {key} ({problem}){since}; covers {areas}", key=gap["key"], **told)

    def _rule(self, rule: Data) -> Iterator[str]:
        say = self._say
        yield f"  {rule['id']} v{rule['version']}  {rule['title']}"
        if rule["result"] == "not applicable":
            yield from (f"    {reason}" for reason in rule.get("because", (rule["reason"],)))
            return
        yield f"    {say('when: {clause}', clause=rule['when'])}"
        card = f" -> {rule['card']}" if "card" in rule else ""
        yield f"    {say(rule['result'])}: {rule['reason']}{card}"
        yield from (f"    {reason}" for reason in rule.get("because", ()))
        yield from (f"    {self._comparison(one)}" for one in rule.get("compared", ()))
        if "schedule" in rule:
            yield from self._schedule(rule["schedule"])
        yield from (f"    {say('rests on {fact}', fact=self._fact(one))}" for one in rule.get("facts", ()))
        yield from (f"    {say('not known: {text}', text=text)}" for text in rule.get("unknown", ()))
        if "next_due" in rule:
            yield f"    {say('next due: {day}', day=self._day(rule['next_due']))}"
        if "failed" in rule:
            yield f"    {say('the rule failed: {error}', error=rule['failed'])}"

    def _comparison(self, one: Data) -> str:
        of = f" ({one['limit_of']})" if "limit_of" in one else ""
        factor = self._say(" (x {factor} for another drug)", factor=one["factor"]) if "factor" in one else ""
        source = f"; {self._fact(one['result'])}" if "result" in one else ""
        verdict = self._say(VERDICTS[one["passed"]])
        return f"{one['subject']} {one['value']}{factor} {one['operator']} {one['limit']}{of}? {verdict}{source}"

    def _schedule(self, told: Data) -> Iterator[str]:
        say = self._say
        days = {name: self._day(told[name]) for name in ("start", "opens", "target", "overdue_from")}
        known = say("day {day} since {start}", day=told["day"], start=days["start"])
        start = known if told["start"] else say("start not known: the annual rule holds")
        open_one = say("; {milestone} milestone", milestone=told["milestone"]) if told["milestone"] else ""
        yield f"    {say('schedule {profile}', profile=told['profile'])}: {start}{open_one}"
        if told["target"]:
            yield f"    {say(MEANT, **days)}"
        if "again" in told:
            yield f"    {say(COUNTED, **told['again'])}"
        for state in told["tests"]:
            word = (LAST if state["day"] else STATES).get(state["state"], STATES[state["state"]])
            yield f"      {state['name']}: {say(word, day=self._day(state['day']), order=state['order'])}"

    def _fact(self, one: Data) -> str:
        say, kind, day = self._say, one["kind"], self._day(one.get("date", ""))
        if kind == "result":
            value = one["value"] or one["reported"] or say("no value")
            of = say("{name} {value} of {day}", name=one["name"], value=value, day=day or say("no date"))
            return f"{of}{self._notes(one)} ({one['source']})"
        if kind in ("therapy", "draft"):
            form = "" if one["form"] == "unknown" else f" ({one['form']})"
            return f"{one['agent']}{form}{self._span(one)}; {one['recognised']} ({_sources(one)})"
        words = [word for word in (one.get("state"), day) if word]
        return f"{say(kind)} {one['name']}, {', '.join(words)} ({one['source']})"

    def _notes(self, one: Data) -> str:
        told = not one["value"] or one["reported"] in one["conversion"] or not one["conversion"]
        notes = [] if told else [self._say("reported as {reported}", reported=one["reported"])]
        notes += [one[name] for name in ("conversion", "problem", "conflict") if one.get(name)]
        return f" [{'; '.join(notes)}]" if notes else ""

    def _span(self, one: Data) -> str:
        say = self._say
        if one["kind"] == "draft":
            return say(", drafted") if one["selected"] else say(", drafted, not what this call is about")
        start = say(" since {start}", start=self._day(one["start"]) or say("an unknown day"))
        end = say(" to {end}", end=self._day(one["end"])) if one["end"] else ""
        end = end or (say(", current") if one["current"] else "")
        end = say(", not known whether it goes on") if one["unsure"] else end
        hold = say(", on hold") if one["on_hold"] else ""
        day = self._day(one["dose_changed"])
        return start + end + hold + (say(", dose changed {day}", day=day) if day else "")


def _not_run(rules: Iterable[Data]) -> Iterator[str]:
    """Rules that were not asked at all, a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for rule in rules:
        if "when" not in rule:
            reasons.setdefault(rule["reason"], []).append(rule["id"])
    for reason, names in reasons.items():
        yield f"  {', '.join(names)}: {reason}"


def _sources(one: Data) -> str:
    listed: Iterable[str] = one["sources"] if "sources" in one else [one["source"]]
    return ", ".join(listed)
