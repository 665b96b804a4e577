"""What can go wrong: one exception a kind of failure, each with its exit code, and what helps."""

from __future__ import annotations

from collections.abc import Iterable

# An installed obs has no docs/ beside it.
DOCS = "https://github.com/leok974/ai-finance-agent-oss/blob/main/docs"
# As many names as can be read at a glance.
_SHOWN_NAMES = 12


class ObsError(Exception):
    """A failure; ``str()`` says what failed and where, ``next_step`` what to do about it."""

    exit_code = 1

    def __init__(self, message: str, next_step: str = "") -> None:
        """Take one sentence on what failed and where, and one on what to do about it."""
        super().__init__(message)
        self.next_step = next_step


class ConfigurationError(ObsError):
    """An option, environment variable or input file is wrong or absent."""

    exit_code = 2


class NothingSelectedError(ConfigurationError):
    """The project, or the selection, holds no source that could be measured."""


class DbtError(ObsError):
    """dbt, or the database behind it, gave no result."""

    exit_code = 3


class ArtifactError(ObsError):
    """A result exists and cannot be used: of another run, cut short, or of an unknown schema."""

    exit_code = 4


class DestinationError(ObsError):
    """Where the result was to go refused it or cannot be reached."""

    exit_code = 5


class LockedError(ObsError):
    """Another run on the same project still holds the lock."""

    exit_code = 6


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that was probably meant, as a question, or the names that there are."""
    from difflib import get_close_matches

    names = sorted(known)
    if found := get_close_matches(name, names, n=1):
        return f"did you mean {found[0]}?"
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return f"there are {', '.join(names[:_SHOWN_NAMES])}{more}" if names else "there are none"
