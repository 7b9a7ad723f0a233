"""The command `cds-service`; each of its commands stands in a module of its own, named in `COMMANDS`.

Whatever goes wrong is told in one line on standard error (one line for each mistake in a file), with exit code 2.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

import click
from click.exceptions import Exit

from cds_service import __version__
from cds_service.feedback.errors import DatabaseError
from cds_service.knowledge.yaml_file import KnowledgeError
from cds_service.scenarios.errors import ScenarioError
from cds_service.settings import SettingsError

COMMANDS: Mapping[str, str] = {
    "audit": "cli_audit",
    "check-jwt": "cli_jwt",
    "config": "cli_config",
    "database": "cli_database",
    "demo": "cli_examples",
    "examples": "cli_examples",
    "explain": "cli_knowledge",
    "knowledge": "cli_knowledge",
    "messages": "cli_messages",
    "prefetch": "cli_setup",
    "purge": "cli_records",
    "report": "cli_records",
    "serve": "cli_serve",
    "setup": "cli_setup",
}
"""Each command and the module with the function of its name."""
FAILED = 2
INTERRUPTED = 130
MISTAKES = (SettingsError, KnowledgeError, ScenarioError, DatabaseError, OSError)
"""Errors whose message is meant for whoever runs the command."""


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; return the exit code: 0, or 2 with what is wrong on standard error."""
    try:
        result = cli.main(list(arguments), prog_name="cds-service", standalone_mode=False)
    except Exit as left:
        return left.exit_code
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        return _fail(error.format_message())
    except MISTAKES as error:
        return _fail(str(error))
    return result if isinstance(result, int) else 0


def _fail(message: str) -> int:
    for line in message.splitlines():
        click.echo(f"cds-service: {line}", err=True)
    return FAILED


class _Commands(click.Group):
    """Loads a command when it is asked for: `serve` need not wait for what the others print with."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        # What is imported stays; a collector that looks through it again and again is a tenth of a start.
        gc.disable()
        try:
            module = import_module(f"cds_service.{COMMANDS[cmd_name]}")
        finally:
            gc.enable()
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


@click.group(cls=_Commands, no_args_is_help=False, invoke_without_command=True)
@click.version_option(__version__, message="cds-service %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """CDS Hooks for hormone therapy: blood tests that are due, and results that need action."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
