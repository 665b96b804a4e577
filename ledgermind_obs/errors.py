"""What can go wrong: one exception a kind of failure, each with its exit code."""

from __future__ import annotations


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
