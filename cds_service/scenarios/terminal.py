"""Cases and cards in a terminal, for people: the list, the summaries, one patient's cards in full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.markdown import Markdown
from rich.panel import Panel
from rich.text import Text

from cds_service.scenarios.facts import Case
from cds_service.scenarios.run import Answer

COLOURS = {"critical": "red", "warning": "yellow", "info": "cyan"}


def list_examples(cases: Sequence[Case]) -> None:
    """One line an example: its name, the hook, what it is about."""
    console = Console()
    width = max(len(case.id) for case in cases)
    for case in cases:
        console.print(Text(f"{case.id:<{width}}  {case.hook:<12}  {case.title}"), soft_wrap=True)


def overview(answers: Iterable[tuple[Case, Answer]]) -> None:
    """Every example with the summaries of its cards."""
    console = Console()
    for case, answer in answers:
        console.print(Text.assemble((case.id, "bold"), f"  {case.title}"), soft_wrap=True)
        for card in answer.cards:
            console.print(Text.assemble("  ", _badge(card), f" {card['summary']}"), soft_wrap=True)
        if not answer.cards:
            console.print(Text("  no card", style="dim"))
    console.print(Text("\ncds-service demo NAME shows the cards in full.", style="dim"), soft_wrap=True)


def show(case: Case, answer: Answer) -> None:
    """The cards of one example as a clinician reads them."""
    console = Console()
    title = Text.assemble((case.id, "bold"), f"  {case.title}  ", (f"{case.hook} on {case.as_of}", "dim"))
    console.print(title, soft_wrap=True)
    for card in answer.cards:
        console.print(_card(card))
    if not answer.cards:
        console.print("No card: nothing is due, and no result needs action.")


def _card(card: Mapping[str, Any]) -> Panel:
    parts: list[Any] = [Text.assemble(_badge(card), f" {card['summary']}", style="bold")]
    if card.get("detail"):
        parts += [Text(""), Markdown(card["detail"])]
    labels = [suggestion["label"] for suggestion in card.get("suggestions", ())]
    if labels:
        parts += [Text(""), Text("Suggestions", style="bold"), *(Text(f"  [ {label} ]") for label in labels)]
    source = card["source"]
    label = Text.assemble(source["label"], f"  {source.get('url', '')}".rstrip(), style="dim")
    return Panel(Group(*parts, Text(""), label), border_style=COLOURS[card["indicator"]])


def _badge(card: Mapping[str, Any]) -> tuple[str, str]:
    indicator = str(card["indicator"])
    return f" {indicator.upper()} ", f"bold black on {COLOURS[indicator]}"
