"""Two runs at once: on one target, on two, and with the target directory taken away between."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.faults.scene import Scene
from tests.faults.trial import (
    DIRECT_PUSH,
    DONE,
    FRESH_CHECK,
    FRESH_EXPOSURE,
    LOCKED,
    PARTIAL_PUSH,
    REFUSED,
    STALE_EXPOSURE,
    WHOLE_PUSH,
    Arrange,
    Command,
    Trial,
    codes,
)

ROOM = "two runs"
_PATIENCE_SECONDS = 10.0
_MOMENTS = ("begin", "manifest-half", "one-source", "sources", "end")


def trials() -> Iterator[Trial]:
    """Yield every command beside a push that is in the midst of its work."""
    for moment in _MOMENTS:
        for command in (WHOLE_PUSH, PARTIAL_PUSH, FRESH_CHECK, FRESH_EXPOSURE, STALE_EXPOSURE):
            yield _beside(command, moment, "the same target", (), codes(LOCKED))
            yield _beside(command, moment, "another target", ("--target", "dev"), _both(command))
        yield _beside(WHOLE_PUSH, moment, "the target was removed", (), codes(LOCKED, DONE), True)
        yield _beside(FRESH_EXPOSURE, moment, "the target was removed", (), _removed(), True)
    yield _beside(DIRECT_PUSH, "one-source", "the same target", (), codes(LOCKED))


def _both(command: Command) -> frozenset[int]:
    return codes(command.code)


def _removed() -> frozenset[int]:
    return codes(LOCKED, DONE, REFUSED)


def _beside(
    command: Command,
    moment: str,
    fault: str,
    argv: tuple[str, ...],
    ends: frozenset[int],
    removed: bool = False,
) -> Trial:
    found = Trial(ROOM, fault, f"{moment} of the other, {command.name}", command, ends, told=False)
    other = () if not argv else ("--target", "prod")
    return replace(
        found,
        argv=argv,
        arrange=_other(moment, other, removed=removed),
        elsewhere=bool(argv) or removed,  # the other one has the last word
    )


def _other(moment: str, argv: tuple[str, ...], *, removed: bool) -> Arrange:
    """Return the arrangement in which a push waits at a moment until the trial's run is over."""

    @contextmanager
    def arrange(scene: Scene) -> Iterator[None]:
        scene.misbehave({"at": moment, "do": "await_release"})
        with scene.started(("freshness", "push", *argv)) as other:
            _await(scene, moment)
            scene.misbehave({})
            if removed:
                shutil.rmtree(scene.target)
            yield
            (scene.directory / "release").touch()
            outcome = other.outcome(_PATIENCE_SECONDS)
        allowed = (DONE,) if not removed else (DONE, 3, 4, LOCKED)
        if outcome.exit not in allowed:
            words = outcome.stderr.strip()[:300]
            scene.complaints.append(f"the other run ended with {outcome.exit}: {words}")

    return arrange


def _await(scene: Scene, moment: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while moment not in scene.happened():
        if time.monotonic() > deadline:
            scene.complaints.append(f"the other run did not come to {moment}")
            return
        time.sleep(0.005)
