"""Command lines of ``obs`` in texts, parsed as the command line itself parses them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from ledgermind_obs.cli import root

_CODE = re.compile(r"^```.*?\n(.*?)^```|^    (.*?)$|`([^`]+)`", re.MULTILINE | re.DOTALL)
_CONTINUED = re.compile(r"\\\n\s*")


def code_in(page: str) -> Iterator[str]:
    """Yield each line of code in a Markdown text: fenced, indented, or in backquotes."""
    for found in _CODE.finditer(_CONTINUED.sub(" ", page)):
        fenced, indented, quoted = found.groups()
        yield from [" ".join(quoted.split())] if quoted else (fenced or indented or "").splitlines()


def obs_commands(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each ``obs`` in a line of shell, up to the next operator."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # a quotation that goes on in the next line: no command of ours does
        return
    for at, word in enumerate(words):
        if " " in word and word != line:  # what a shell in the line is given
            yield from obs_commands(word)
        starts = at == 0 or words[at - 1] in {"$", "exec", *_operators(words[at - 1])}
        if Path(word).name == "obs" and "/" not in word.removesuffix("obs") and starts:
            rest = words[at + 1 :]
            end = next((i for i, w in enumerate(rest) if _operators(w)), len(rest))
            if end:  # `obs` alone is the program's name
                yield rest[:end]


def _operators(word: str) -> set[str]:
    return {word} if re.fullmatch(r"[();<>|&]+", word) else set()


def check(argv: list[str]) -> None:
    """Raise click's UsageError if ``obs`` would not take the arguments; nothing is run."""
    command: click.Command = root
    context = root.make_context("obs", [], resilient_parsing=True)
    while isinstance(command, click.Group):
        name, found, argv = command.resolve_command(context, argv)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
        if isinstance(command, click.Group) and not argv:
            raise click.UsageError(f"{name} needs a command")
    command.parse_args(context, argv)
