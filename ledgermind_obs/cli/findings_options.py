"""What `lineage check`, `rules check` and `dashboard check` share: options, output, exit code."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from ledgermind_obs.cli import explain, warn
from ledgermind_obs.cli.help import OUTPUT, Command, Decorator, in_group
from ledgermind_obs.cli.options import option
from ledgermind_obs.errors import ConfigurationError, nearest
from ledgermind_obs.monitoring.findings import (
    Checked,
    Code,
    Finding,
    Ignore,
    Severity,
    Unread,
    failing,
    unused,
    without,
    worst_first,
)

FORMATS = ("table", "json", "github", "sarif", "junit")

Read = TypeVar("Read")


class IgnoreEntry(click.ParamType):  # type: ignore[type-arg]
    """``CODE`` or ``CODE:PATTERN``, of the codes that a command has."""

    name = "code[:pattern]"

    def __init__(self, codes: Sequence[Code]) -> None:
        """Take the codes that may be ignored."""
        self.known = [code.id for code in codes]

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Ignore:
        """Return the entry."""
        if isinstance(value, Ignore):
            return value
        code, _, pattern = value.partition(":")
        if code not in self.known:
            self.fail(f"{code!r} is no code of this check: {nearest(code, self.known)}", param, ctx)
        return Ignore(code, pattern or "*")


class Handling(msgspec.Struct, frozen=True):
    """What is done with findings: which are left out, which fail, and how they are shown."""

    ignored: tuple[Ignore, ...]
    fail_on: str
    output: str


def findings_options(codes: Sequence[Code], ignore_env: str) -> Decorator:
    """Return the options on findings, made into ``handling``; each check ignores its own codes."""
    options = in_group(
        OUTPUT,
        option(
            "--ignore",
            env=ignore_env,
            type=IgnoreEntry(codes),
            multiple=True,
            help="Leave out a kind of finding, or those whose name matches the pattern.",
        ),
        option(
            "--fail-on",
            env="OBS_FINDINGS_FAIL_ON",
            type=click.Choice([severity.value for severity in Severity]),
            default="error",
            help="Exit 1 if any finding is this bad or worse.",
        ),
        option(
            "--format",
            "output",
            env="OBS_FINDINGS_FORMAT",
            type=click.Choice(FORMATS),
            default="table",
            help="Output format.",
        ),
    )

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapper(ignore: tuple[Ignore, ...], fail_on: str, output: str, **others: Any) -> Any:
            return command(handling=Handling(ignore, fail_on, output), **others)

        return options(wrapper)

    return decorate


def read_each(
    paths: Iterable[Path], read: Callable[[Path], Read]
) -> tuple[list[Read], list[Unread]]:
    """Return what could be read, and what not; a file that fails does not stop the others."""
    found, unread = [], []
    for path in paths:
        try:
            found.append(read(path))
        except ConfigurationError as error:
            unread.append(Unread(str(path), str(error), error.next_step))
            explain(error)
    return found, unread


def tell(
    checked: Checked, handling: Handling, locate: Callable[[Finding], Finding] | None = None
) -> None:
    """Print what was found and exit: 2 if a file could not be read, 1 if a finding fails, else 0.

    ``locate`` completes a finding by its file and line.
    """
    from ledgermind_obs.render.findings import rendered

    for entry in unused(checked.findings, handling.ignored):
        warn(f"--ignore {entry.code}:{entry.pattern} ignores nothing")
    left = without(checked.findings, handling.ignored)
    found = worst_first(map(locate, left) if locate else left)
    shown = msgspec.structs.replace(checked, findings=found)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    click.echo(rendered(shown, handling.output, handling.fail_on, width))
    if checked.unread:
        sys.exit(ConfigurationError.exit_code)
    sys.exit(1 if failing(found, handling.fail_on) else 0)
