"""Help texts: options in groups, and examples to copy."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Container
from typing import Any

import click

from ledgermind_obs.errors import DOCS

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

_PAGE = re.compile(r"\bdocs/(\w+\.md)\s+explains\s+([^.]+)\.")

# In this order; what a command has to itself comes first.
OTHER = "Options"
PROJECT = "Project"
SELECTION = "Selection"
ENGINE = "Measuring"
DESTINATION = "Destination"
GATE = "Gate"
EVIDENCE = "Evidence"
OUTPUT = "Output"
_GROUPS = (OTHER, GATE, EVIDENCE, SELECTION, ENGINE, PROJECT, DESTINATION, OUTPUT)


class HelpfulCommand(click.Command):
    """A command whose help lists its options in groups, and ends with ``examples``.

    Each example is a line to type, or a comment that begins with ``#``.
    """

    def __init__(self, *args: Any, examples: str = "", **settings: Any) -> None:
        """Take the examples beside what Click takes.

        An installed obs has no docs/ beside it: a page is named by its address, on a line of its
        own, since Click would break it at a hyphen.
        """
        on_the_web = rf"This page explains \2:\n\n\b\n{DOCS}/\1"
        settings["help"] = _PAGE.sub(on_the_web, inspect.cleandoc(settings.get("help") or ""))
        super().__init__(*args, **settings)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section per group of options."""
        sections: dict[str, list[tuple[str, str]]] = {group: [] for group in _GROUPS}
        for param in self.params:
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                sections[getattr(param, "group", OTHER)].append(record)
        if (own := self.get_help_option(ctx)) and (record := own.get_help_record(ctx)):
            sections[OUTPUT if sections[OUTPUT] else OTHER].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are, so that they can be copied."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"  {line.strip()}\n")
        super().format_epilog(ctx, formatter)


def in_order(*decorators: Decorator) -> Decorator:
    """Return the decorators as one; the help lists their options in this order."""
    return lambda command: functools.reduce(lambda f, add: add(f), reversed(decorators), command)


def in_group(group: str, *decorators: Decorator) -> Decorator:
    """Return the decorators as one; the help lists their options in this order, in ``group``."""

    def decorate(command: Command) -> Command:
        known = list(_params(command))
        command = in_order(*decorators)(command)
        for param in _params(command):
            if param not in known and not hasattr(param, "group"):
                param.group = group  # type: ignore[attr-defined]
        return command

    return decorate


def _params(command: Command) -> list[click.Parameter]:
    params: list[click.Parameter] = getattr(command, "__click_params__", [])
    return params


def options_of(*makers: Command, without: Container[str] = ()) -> Decorator:
    """Return a decorator that gives a command the options of ``makers``, as they were given.

    The command itself calls the makers, when it needs what they make.
    """

    def decorate(command: Command) -> Command:
        borrowed = [param for maker in makers for param in _params(maker)]
        kept = [param for param in borrowed if param.name not in without]
        command.__click_params__ = [*_params(command), *kept]  # type: ignore[attr-defined]
        return command

    return decorate
