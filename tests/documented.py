"""The `obs` command lines that README and docs show, as a shell would split them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[1]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "warehouse/README.md",
)

_FENCE = re.compile(r"^ *```")
# In a block: a prompt, a schedule's fields or another command may stand before it.
_IN_BLOCK = re.compile(r"(?:^|\$ |&& |^\S+ \S+ \S+ \S+ \S+ +)(obs (?:--?)?[a-z][^#]*)")
_IN_TEXT = re.compile(r"(`+)(obs [^`]+)\1")
# The command ends where the shell would begin another, or where two blanks begin a remark.
_END = re.compile(r"\s(?:→|<|\||\\\||&&|>>?|;|2>)|;|\s{2,}|\s#")
_OUTPUT = re.compile(r"^ *obs: ")


class CommandLine(msgspec.Struct, frozen=True):
    """A command line of a page: its words after ``obs``, and where it stands."""

    page: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        """Its words, without ``obs`` itself."""
        return shlex.split(self.text)[1:]

    def __str__(self) -> str:
        """Return the place and the command, for messages and names of tests."""
        return f"{self.page}:{self.line} {self.text}"


def command_lines() -> list[CommandLine]:
    """Return every command line of every page, in order."""
    return [line for page in PAGES for line in of_page(page)]


def of_page(page: Path) -> Iterator[CommandLine]:
    """Yield the command lines of a page: in code blocks, and between backticks."""
    name = page.relative_to(ROOT).as_posix()
    for number, line, in_block in _lines(page.read_text()):
        found = _IN_BLOCK.findall(line.strip()) if in_block else _in_text(line)
        for text in found:
            command = _END.split(text, maxsplit=1)[0].strip()
            yield CommandLine(name, number, command)


def _in_text(line: str) -> list[str]:
    return [text for _, text in _IN_TEXT.findall(line)]


def _lines(content: str) -> Iterator[tuple[int, str, bool]]:
    """Yield each line with its number, and whether it is in a block; continued lines are joined."""
    fenced, before = False, ""
    for number, raw in enumerate(content.splitlines(), start=1):
        if _FENCE.match(raw):
            fenced = not fenced
            continue
        line = before + raw
        if (fenced or raw.startswith("    ")) and raw.endswith("\\"):
            before = line[:-1].rstrip() + " "
            continue
        before = ""
        in_block = fenced or raw.startswith("    ")
        if not (in_block and _OUTPUT.match(line)):
            yield number, line, in_block
