"""``python -m tests.faults.prove``: each mutation of the product must turn the harness red.

First the runs that are to notice are played on the product as it is, and must be green. Then each
mutation is applied to a copy of the package, and one of its runs must violate an invariant.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import ledgermind_obs
from tests.faults.catalogue import catalogue, named
from tests.faults.mutations import MUTATIONS, Mutation
from tests.faults.play import Result, play
from tests.faults.stage import Stage, parsed_template, stage
from tests.faults.trial import Trial

PACKAGE = Path(ledgermind_obs.__file__).parent


class NotApplicableError(Exception):
    """A mutation whose text is not in the product exactly once, or that has no trial."""


def main(argv: Sequence[str]) -> int:
    """Prove the harness; return 1 if a mutation goes unnoticed, or nothing can be proven."""
    chosen = [m for m in MUTATIONS if not argv or any(word in m.name for word in argv)]
    plans = [(mutation, _trials(mutation)) for mutation in chosen]
    with parsed_template() as template, stage(template) as own:
        broken = list(_violated_without(own, plans))
        survivors = [m.name for m, trials in plans if not _noticed(own, m, trials)]
    for name in broken:
        sys.stdout.write(f"RED WITHOUT A MUTATION  {name}\n")
    for name in survivors:
        sys.stdout.write(f"NOT NOTICED  {name}\n")
    caught = len(plans) - len(survivors)
    sys.stdout.write(f"{caught} of {len(plans)} mutations were noticed\n")
    return int(bool(broken or survivors))


def _trials(mutation: Mutation) -> list[Trial]:
    """Return the runs that are to notice; raises NotApplicableError if there is none."""
    found = [named(catalogue(), [pattern]) for pattern in mutation.noticed_by]
    if not all(found):
        raise NotApplicableError(f"{mutation.name}: no trial for one of {mutation.noticed_by}")
    return [trial for group in found for trial in group]


def _violated_without(
    own: Stage, plans: Sequence[tuple[Mutation, Sequence[Trial]]]
) -> Iterator[str]:
    """Yield the runs that are red already, played once each."""
    trials = {trial.name: trial for _, group in plans for trial in group}
    for trial in trials.values():
        for name, how in play(own, trial).violations:
            yield f"{trial.name}: {name}: {how}"


def _noticed(own: Stage, mutation: Mutation, trials: Sequence[Trial]) -> bool:
    """Return whether one of the trials violates an invariant on the mutated product."""
    began = time.monotonic()
    with _mutated(mutation) as package:
        own.package = package
        try:
            result = next((r for r in (play(own, trial) for trial in trials) if r.violations), None)
        finally:
            own.package = None
    _tell(mutation, result, time.monotonic() - began)
    return result is not None


def _tell(mutation: Mutation, result: Result | None, seconds: float) -> None:
    words = "nothing was violated"
    if result:
        invariant, how = result.violations[0]
        words = f"{invariant}: {how[:100]}\n    {result.name}"
    sys.stdout.write(f"{mutation.name}  ({seconds:.1f} s)\n    {words}\n")
    sys.stdout.flush()


@contextmanager
def _mutated(mutation: Mutation) -> Iterator[Path]:
    """Yield a directory that holds a copy of the package with the mutation applied."""
    with tempfile.TemporaryDirectory(prefix="obs-mutant-") as directory:
        copy = Path(directory) / PACKAGE.name
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        apply(mutation, copy)
        yield Path(directory)


def apply(mutation: Mutation, package: Path) -> None:
    """Apply a mutation to a copy; raises NotApplicableError if its text is not there once."""
    file = package / mutation.file
    text = file.read_text() if file.is_file() else ""
    if text.count(mutation.before) != 1:
        times = text.count(mutation.before)
        raise NotApplicableError(
            f"{mutation.name}: {mutation.file} has {mutation.before!r} {times} times, not once"
        )
    file.write_text(text.replace(mutation.before, mutation.after))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
