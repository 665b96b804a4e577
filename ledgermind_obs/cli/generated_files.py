"""Files that a command generates: written, or compared with what is there."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from ledgermind_obs.cli.help import DESTINATION, Decorator, in_group
from ledgermind_obs.cli.options import option
from ledgermind_obs.errors import DestinationError
from ledgermind_obs.monitoring.files import read_file

STDOUT = Path("-")
_SHOWN_LINES = 60


def output_options(
    command: str, formats: Sequence[str], said: str, *others: Decorator
) -> Decorator:
    """Return the options that say where a generated file goes and in which format.

    The first format is the default; ``said`` explains all of them. ``others`` come in between.
    """
    return in_group(
        DESTINATION,
        option(
            "--output",
            env=f"OBS_{command}_OUTPUT",
            type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
            default="-",
            help="File to write; - is stdout.",
        ),
        *others,
        option(
            "--format",
            "output_format",
            env=f"OBS_{command}_GENERATE_FORMAT",
            type=click.Choice(formats),
            default=formats[0],
            help=said,
        ),
        option(
            "--check",
            env=f"OBS_{command}_CHECK",
            is_flag=True,
            help="Write nothing; exit 1 if a file would change.",
        ),
    )


def refuse_check_of_stdout(output: Path, *, check: bool) -> None:
    """Raise UsageError if there is no file to compare with."""
    if check and output == STDOUT:
        raise click.UsageError("--check needs the file to compare: --output FILE")


def put(files: Mapping[Path, str], *, check: bool) -> None:
    """Write the files, or print what goes to stdout; with ``check`` compare them instead.

    Exits with 1 if a file differs, and raises DestinationError if one cannot be written.
    """
    if check:
        _compare(files)
        return
    for path, text in files.items():
        _write(path, text)


def _compare(files: Mapping[Path, str]) -> None:
    """Print how the files differ from what they should be, and exit 1 if any does."""
    changed = False
    for path, wanted in files.items():
        found = read_file(path).decode(errors="replace") if path.exists() else ""
        if found != wanted:
            changed = True
            click.echo(f"{path} is not what the project asks for" if found else f"{path}: no file")
            _show(difflib.unified_diff(found.splitlines(), wanted.splitlines(), n=2, lineterm=""))
    if changed:
        click.echo("next: run the command without --check, and commit the files")
        sys.exit(1)


def _show(difference: Iterator[str]) -> None:
    lines = list(difference)[2:]
    for line in lines[:_SHOWN_LINES]:
        click.echo(f"    {line}")
    if len(lines) > _SHOWN_LINES:
        click.echo(f"    and {len(lines) - _SHOWN_LINES} more lines")


def _write(path: Path, text: str) -> None:
    """Write a file whole, or print it; raises DestinationError."""
    if path == STDOUT:
        click.echo(text, nl=False)
        return
    from ledgermind_obs.sinks.files import check_file, write_atomically

    target = path.resolve() if path.is_symlink() else path
    try:
        check_file(target)
        write_atomically(target, text.encode(), 0o644)
    except OSError as error:
        raise DestinationError(
            f"cannot write {path}: {error.strerror}", "name a file in a folder that exists"
        ) from error
