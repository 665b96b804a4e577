"""Groups of commands: a misspelt command is answered with the one that was meant."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class Group(click.Group):
    """A group that knows what a misspelt command was meant to be."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command; one that does not exist is answered with the one that was meant."""
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            from ledgermind_obs.errors import nearest

            ctx.fail(f"No such command {name!r}: {nearest(name, known)}")
        return super().resolve_command(ctx, args)


class LateGroup(Group):
    """A group whose commands are loaded when they are called: a help does not pay for them.

    ``late`` has the module of each command and its line in the help.
    """

    def __init__(self, *args: Any, late: Mapping[str, tuple[str, str]], **settings: Any) -> None:
        """Take the late commands beside what Click takes."""
        super().__init__(*args, **settings)
        self._late = late

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's signature
        """Return the names in the order of the help."""
        return list(self._late)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - Click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Load a command's module, and return the command, which has the name that it is called."""
        if cmd_name not in self._late:
            return None
        module = importlib.import_module(self._late[cmd_name][0])
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - Click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._late.items()])
