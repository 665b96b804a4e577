"""One run: the scene, the run before, the fault, the run in which it comes, and the run after."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from tests.faults.invariants import Evidence, violations
from tests.faults.scene import Outcome, Scene
from tests.faults.stage import Stage
from tests.faults.trial import DONE, Command, Kind, Trial

_MOST_BYTES = 1 << 22
_numbers = count(1)


class BrokenSceneError(Exception):
    """A run without any fault did not end as it should; then no fault can be judged."""


@dataclass(frozen=True)
class Result:
    """A run's violations, by the names of the invariants, and how it ended."""

    name: str
    violations: list[tuple[str, str]]
    outcome: Outcome


def play(stage: Stage, trial: Trial) -> Result:
    """Play a trial and return what it violated."""
    stage.reset()
    scene = _new_scene(stage, trial)
    scene.set_up()
    try:
        _first_run(scene, trial.command)
        evidence = _faulty_run(scene, trial)
        return Result(trial.name, violations(evidence), evidence.outcome)
    except BrokenSceneError as error:
        broken = Outcome(None, "", "", 0.0, 0.0)
        return Result(trial.name, [("the scene", str(error))], broken)
    finally:
        stage.front.plan = None
        _take_away(scene)


def _new_scene(stage: Stage, trial: Trial) -> Scene:
    known = {"database's password": stage.database.password}
    drawn = {name: secrets.token_hex(12) for name in ("password", "token")}
    return Scene(
        stage,
        stage.home / f"run-{next(_numbers)}",
        trial.command.world,
        secrets={**known, **drawn},
        textfile=trial.command.textfile,
        engine=trial.command.engine,
        wired=trial.room == "database",
    )


def _first_run(scene: Scene, command: Command) -> None:
    argv = _plain(command)
    if (outcome := scene.obs(argv)).exit != DONE:
        raise BrokenSceneError(f"the first run ended with {outcome.exit}: {outcome.stderr}")


def _plain(command: Command) -> tuple[str, ...]:
    """Return the command line of the runs before and after: whole, and without a fault."""
    if command.kind is Kind.GATE:
        return command.argv
    return tuple(word for word in ("freshness", "push", *_engine(command)) if word)


def _engine(command: Command) -> tuple[str, ...]:
    return ("--engine", command.engine) if command.engine == "postgres" else ()


def _faulty_run(scene: Scene, trial: Trial) -> Evidence:
    """Let the fault come; then look around, and let the next run go without one."""
    before = scene.series()
    scene.set_world(before=False)
    if trial.cleaned:
        shutil.rmtree(scene.target / "obs")
    outcome, happened = _run(scene, trial)
    evidence = Evidence(
        trial,
        scene,
        outcome,
        before,
        after=scene.series(),
        happened=happened,
        neighbour=scene.neighbour(),
        texts=_texts(scene, outcome),
        processes=[] if trial.leaves else scene.left_processes(),
        locks=scene.locked(),
        temporary=_temporary(scene),
    )
    _end_what_is_left(scene)
    _next_run(scene, trial.command, evidence)
    return evidence


def _run(scene: Scene, trial: Trial) -> tuple[Outcome, list[str]]:
    """Return how the run in which the fault comes ended, and what noted that it came."""
    front, plan = scene.stage.front, trial.plan()
    scene.misbehave(trial.misdeed)
    with trial.arrange(scene):
        front.plan = plan
        outcome = scene.obs(
            (*trial.command.argv, *(word.format(front=front.url) for word in trial.argv)),
            seconds=trial.seconds,
            env={**trial.env, **_hook(scene, trial)},
            streams=asdict(trial.streams),
            limits=trial.limits,
            deaf=trial.deaf,
        )
    front.plan = None
    front.up()
    scene.stage.wire.spoil = ""
    return outcome, [*scene.happened(), *(["met"] if plan and plan.happened else [])]


def _hook(scene: Scene, trial: Trial) -> dict[str, str]:
    if trial.hook is None:
        return {}
    told = {**asdict(trial.hook), "mark": str(scene.directory / "hooked")}
    how = told["how"]
    told["how"] = how.format(**scene.secrets) if isinstance(how, str) else how
    return {"FAULTS_HOOK": json.dumps(told)}


def _texts(scene: Scene, outcome: Outcome) -> dict[str, str]:
    """Return everything that was written or sent, by where it is."""
    told = {"stdout": outcome.stdout, "stderr": outcome.stderr}
    told["the gateway's metrics"] = scene.stage.gateway.metrics()
    if (argv := scene.directory / "argv").exists():
        told["dbt's command line"] = argv.read_text()
    for path in scene.files():
        told[str(path.relative_to(scene.directory))] = _beginning(path)
    return told


def _beginning(path: Path) -> str:
    """Return what a file begins with: one of the faults is a file of 20 GB."""
    with path.open("rb") as file:
        return file.read(_MOST_BYTES).decode("utf-8", "replace")


def _temporary(scene: Scene) -> list[Path]:
    found = scene.files()
    return [path for path in found if path.suffix == ".tmp" or path.name.startswith(".")]


def _end_what_is_left(scene: Scene) -> None:
    for number in scene.processes():
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def _next_run(scene: Scene, command: Command, evidence: Evidence) -> None:
    """Run once more without a fault; a gate is to open again once the data are fresh."""
    scene.misbehave({})
    scene.mend()
    scene.set_world(before=command.kind is Kind.GATE, well=True)
    evidence.next_outcome = scene.obs(_plain(command))
    evidence.restored = scene.series()


def _take_away(scene: Scene) -> None:
    _end_what_is_left(scene)
    shutil.rmtree(scene.directory, ignore_errors=True)
