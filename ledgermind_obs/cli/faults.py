"""What is said of an exception that nobody expected: its kind and its place, never its words.

The words of other libraries' exceptions hold values: a line of profiles.yml, a header, a row.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

import ledgermind_obs

_PACKAGE = "ledgermind_obs"
_ROOT = Path(ledgermind_obs.__file__).parent.parent
# A recursion without an end has thousands.
_MOST_FRAMES = 40


def sentence(error: BaseException) -> str:
    """Return one line on an exception: its kind, where in ``obs`` it arose, what to do."""
    words = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
    return (
        f"internal error: {_kind(error)} at {place(error)}{words} "
        "(--debug shows more; please report it)"
    )


def place(error: BaseException) -> str:
    """Return the file and line of ``obs`` from which an exception came, the innermost one."""
    for frame in reversed(_frames(error)):
        path = Path(frame.filename)
        if path.is_relative_to(_ROOT / _PACKAGE):
            return f"{path.relative_to(_ROOT)}:{frame.lineno}"
    return "an unknown place"


def trace(error: BaseException) -> str:
    """Return the traceback of an exception and of those before it, without foreign words."""
    return "\n".join(line for each in _chain(error) for line in _lines(each))


def _lines(error: BaseException) -> Iterator[str]:
    yield "Traceback (most recent call last):"
    for frame in _frames(error):
        yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
        if frame.filename.endswith(".py") and frame.line:  # not the text of a template
            yield f"    {frame.line}"
    if type(error).__module__.startswith(_PACKAGE):
        yield f"{_kind(error)}: {error}"
    elif isinstance(error, OSError) and error.strerror:
        yield f"{_kind(error)}: {error.strerror}"
    else:
        yield f"{_kind(error)} (its words may hold values and are not shown)"


def _chain(error: BaseException) -> list[BaseException]:
    """Return the exception after those it came from."""
    found: list[BaseException] = []
    before: BaseException | None = error
    while before is not None and before not in found:
        found.insert(0, before)
        before = before.__cause__ or (None if before.__suppress_context__ else before.__context__)
    return found


def _frames(error: BaseException) -> traceback.StackSummary:
    return traceback.extract_tb(error.__traceback__, limit=-_MOST_FRAMES)


def _kind(error: BaseException) -> str:
    return type(error).__name__
