"""Small faults of the product itself, each of which the harness must notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """A text of the product, what it becomes, and the trials of which one must turn red."""

    name: str
    file: str
    before: str
    after: str
    noticed_by: tuple[str, ...]


MUTATIONS: tuple[Mutation, ...] = ()
