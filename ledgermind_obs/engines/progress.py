"""How far a run has come, as every engine tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    """A source of ``total`` that a run has begun with, or ``finished``."""

    unique_id: str
    total: int
    finished: bool

    @property
    def name(self) -> str:
        """``source.table``, as people write it."""
        return ".".join(self.unique_id.split(".")[2:])


# Called from whatever thread.
OnProgress = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """Tell nobody."""
