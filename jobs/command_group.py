"""Commands that are imported when they are called, so that `rookery --help` loads none of their libraries.

A group knows of each command its name, a line of help and where it lies; what it takes is asked when somebody calls it,
wants its help, or completes its options in a shell.
"""

from importlib import import_module
from typing import Any, ClassVar

import typer
from rich.markup import escape
from typer.core import TyperGroup
from typer.main import get_command


class Command:
    """A command as the group knows it before it is imported.

    `target` is the module and the name of its function, or of a typer app with commands of its own: `jobs.label:label`.
    `summary` is its line in the list of commands, which has room for 64 characters.
    """

    def __init__(self, target: str, summary: str, *examples: str) -> None:
        self.target = target
        self.summary = summary
        self.examples = examples


class CommandGroup(TyperGroup):
    """Imports a command where it is called. Subclasses name the commands."""

    targets: ClassVar[dict[str, Command]] = {}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        target = self.targets.get(name or "")
        return name, load_command(name, target) if name and target else command, rest


def load_command(name: str, command: Command) -> Any:
    """Imports a command: what typer makes of its function."""
    module, _, attribute = command.target.partition(":")
    imported = getattr(import_module(module), attribute)
    if not isinstance(imported, typer.Typer):
        app = typer.Typer(add_completion=False)
        app.command(name, epilog=example_lines(*command.examples))(imported)
        imported = app
    loaded = get_command(imported)
    loaded.name = name
    return loaded


def add_commands(app: typer.Typer, panels: dict[str, dict[str, Command]]) -> None:
    """Adds the commands to an app's help, in panels by what they are for. They are called by its CommandGroup alone."""
    for panel, commands in panels.items():
        for name, command in commands.items():
            app.command(name, help=command.summary, rich_help_panel=panel)(_not_imported)


def _not_imported() -> None:
    raise AssertionError("CommandGroup imports a command before it is called")


def example_lines(*examples: str) -> str:
    """The end of a command's help."""
    return "\n".join(["[bold]Examples[/bold]", *(f"  {escape(line)}" for line in examples)])
