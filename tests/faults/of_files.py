"""Faults of the disk and of the project's files: full, read-only, of another kind, half, absent."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.faults.scene import Scene
from tests.faults.trial import (
    DIRECT_PUSH,
    DONE,
    FAILED_PUSH,
    FRESH_EXPOSURE,
    INTERNAL,
    NO_RESULT,
    PARTIAL_PUSH,
    REFUSED,
    STALE_EXPOSURE,
    TEXTFILE_PUSH,
    UNDELIVERED,
    UNUSABLE,
    USAGE,
    WHOLE_PUSH,
    Arrange,
    Command,
    Hook,
    Kind,
    Trial,
    codes,
)

ROOM = "files"
_SECRET = "{password}"
_WRITES = r"(?:/target/|obs\.lock).* (?:w|a|x|r\+|None)"

Change = Callable[[Path], None]


def trials() -> Iterator[Trial]:
    """Yield every fault of a file under the commands that meet it."""
    yield from _of_target()
    yield from _of_memory()
    yield from _of_the_system()
    yield from _of_project()
    yield from _of_manifest()
    yield from _of_textfile()
    yield from _unexpected()


# What a path becomes.


def a_file(path: Path) -> None:
    """Make it a file."""
    path.write_text("in the way")


def a_directory(path: Path) -> None:
    """Make it a directory that is not empty."""
    path.mkdir()
    (path / "something").write_text("in the way")


def a_fifo(path: Path) -> None:
    """Make it a FIFO that nobody reads or writes."""
    os.mkfifo(path)


def a_dangling_link(path: Path) -> None:
    """Make it a link to nowhere."""
    path.symlink_to("nowhere/at/all")


def a_loop(path: Path) -> None:
    """Make it a link to itself."""
    path.symlink_to(path.name)


def garbage(path: Path) -> None:
    """Make it a file of bytes that mean nothing."""
    path.write_bytes(bytes(range(256)) * 40)


def empty(path: Path) -> None:
    """Make it an empty file."""
    path.touch()


def absent(_: Path) -> None:
    """Leave nothing there."""


def instead(where: Callable[[Scene], list[Path]], change: Change) -> Arrange:
    """Return the arrangement in which these paths are something else, and then what they were."""

    @contextmanager
    def arrange(scene: Scene) -> Iterator[None]:
        paths = where(scene)
        kept = [_put_aside(path, scene.directory / f"aside-{n}") for n, path in enumerate(paths)]
        for path in paths:
            change(path)
        try:
            yield
        finally:
            for path, aside in zip(paths, kept, strict=True):
                _bring_back(path, aside)

    return arrange


def _put_aside(path: Path, aside: Path) -> Path | None:
    if not os.path.lexists(path):
        return None
    path.rename(aside)
    return aside


def _bring_back(path: Path, aside: Path | None) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
    if aside:
        aside.rename(path)


def _target(scene: Scene) -> list[Path]:
    return [scene.target]


def _private(scene: Scene) -> list[Path]:
    return [scene.target / "obs"]


def _lock(scene: Scene) -> list[Path]:
    return sorted(scene.target.rglob("obs.lock"))


def _memory(scene: Scene) -> list[Path]:
    return scene.memory()


def _of_target() -> Iterator[Trial]:
    """Yield a target directory, private directory or lock that is something else."""
    changes = (a_file, a_fifo, a_dangling_link, a_loop)
    places = {"the target directory": _target, "the private directory": _private}
    for place, where in places.items():
        for change in changes:
            yield from _changed(place, where, change)
    for change in (a_directory, a_fifo, a_loop, garbage):
        yield from _changed("the lock", _lock, change)


def _changed(place: str, where: Callable[[Scene], list[Path]], change: Change) -> Iterator[Trial]:
    fault = f"{place} is {change.__name__.replace('_', ' ')}"
    for command in (WHOLE_PUSH, PARTIAL_PUSH, FRESH_EXPOSURE, STALE_EXPOSURE):
        ends = _configuration(command)
        if place == "the lock" and change in (garbage, a_dangling_link):
            ends = codes(command.code)
        found = Trial(ROOM, fault, command.name, command, ends)
        yield replace(found, arrange=instead(where, change))


def _of_memory() -> Iterator[Trial]:
    """Yield what obs remembers as something else; the gateway's own answer is still there."""
    for change in (a_directory, a_fifo, a_dangling_link, a_loop, garbage, empty, absent):
        fault = f"the memory is {change.__name__.replace('_', ' ')}"
        for command in (WHOLE_PUSH, PARTIAL_PUSH, FAILED_PUSH):
            ends = codes(command.code, USAGE, UNUSABLE, UNDELIVERED)
            found = Trial(ROOM, fault, command.name, command, ends, told=False)
            yield replace(found, arrange=instead(_memory, change))


def _of_the_system() -> Iterator[Trial]:
    """Yield a disk that is full, read-only or broken, and limits that are reached."""
    for error in ("ENOSPC", "EROFS", "EACCES", "EIO", "EDQUOT"):
        for event, pattern in (
            ("open", _WRITES),
            ("os.rename", "/target/"),
            ("os.mkdir", "/target"),
        ):
            for command in (WHOLE_PUSH, PARTIAL_PUSH, FRESH_EXPOSURE):
                hook = Hook(event, pattern, "errno", error, every=True)
                fault = f"{error} at {event}"
                ends = _configuration(command) | codes(command.code)
                yield replace(
                    Trial(ROOM, fault, command.name, command, ends, told=False),
                    hook=hook,
                    must_happen=event == "open",
                )
    limits = {"no file may grow": {"RLIMIT_FSIZE": 0}, "ten open files": {"RLIMIT_NOFILE": 10}}
    for fault, limit in limits.items():
        for command in (WHOLE_PUSH, DIRECT_PUSH, FRESH_EXPOSURE):
            ends = _configuration(command) | codes(command.code, UNDELIVERED)
            yield replace(Trial(ROOM, fault, command.name, command, ends, told=False), limits=limit)


def _configuration(command: Command) -> frozenset[int]:
    """Return how a command may end that cannot use its files."""
    gate = [REFUSED] if command.kind is Kind.GATE else []
    return codes(USAGE, NO_RESULT, UNUSABLE, *gate)


def _written(name: str, content: str) -> Arrange:
    """Return the arrangement in which a file of the project has this content."""

    @contextmanager
    def arrange(scene: Scene) -> Iterator[None]:
        path = scene.project / name
        kept = path.read_bytes()
        path.write_text(content.replace(_SECRET, scene.secrets["password"]))
        yield
        path.write_bytes(kept)

    return arrange


_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(12)
)
_PROFILE = "shop:\n  target: prod\n  outputs:\n    prod:\n      type: postgres\n      password: "
_CONTENTS = {
    "dbt_project.yml is empty": ("dbt_project.yml", ""),
    "dbt_project.yml is garbage": ("dbt_project.yml", "\t: [}"),
    "dbt_project.yml is a list": ("dbt_project.yml", "- 1\n"),
    "dbt_project.yml is a bomb": ("dbt_project.yml", "name: shop\nprofile: shop\n" + _BOMB),
    "dbt_project.yml is deep": ("dbt_project.yml", "name: " + "[" * 5000),
    "profiles.yml is empty": ("profiles.yml", ""),
    "profiles.yml is garbage": ("profiles.yml", "\t: ["),
    "profiles.yml has a tag": ("profiles.yml", _PROFILE + "!" + _SECRET + "\n"),
    "profiles.yml has an odd quote": ("profiles.yml", _PROFILE + '"' + _SECRET + "\n"),
    "profiles.yml is a bomb": ("profiles.yml", _BOMB),
}


def _of_project() -> Iterator[Trial]:
    """Yield project files that are wrong, and odd entries beside them."""
    for fault, (name, content) in _CONTENTS.items():
        for command in (WHOLE_PUSH, DIRECT_PUSH, FRESH_EXPOSURE, STALE_EXPOSURE):
            ends = _configuration(command) | codes(command.code)
            found = Trial(ROOM, fault, command.name, command, ends, told=False)
            yield replace(found, arrange=_written(name, content))
    for change in (a_dangling_link, a_loop, a_fifo, a_directory):
        fault = f"models/.#odd.sql is {change.__name__.replace('_', ' ')}"
        for command in (WHOLE_PUSH, DIRECT_PUSH, FRESH_EXPOSURE, STALE_EXPOSURE):
            arrange = instead(lambda scene: [scene.project / "models" / ".#odd.sql"], change)
            found = Trial(ROOM, fault, command.name, command, codes(command.code))
            yield replace(found, arrange=arrange)


def _manifests(scene: Scene) -> list[Path]:
    return sorted(scene.target.rglob("manifest.json"))


def half(path: Path) -> None:
    """Make it the first half of a manifest."""
    path.write_text('{"metadata": {"dbt_schema_version": "https://schemas.getdbt.com/dbt/man')


def _of_manifest() -> Iterator[Trial]:
    """Yield a manifest that a killed dbt left, which is parsed anew and not complained about."""
    for change in (half, empty, garbage, absent):
        fault = f"the manifest is {change.__name__.replace('_', ' ')}"
        for command in (WHOLE_PUSH, DIRECT_PUSH, FRESH_EXPOSURE, STALE_EXPOSURE):
            found = Trial(ROOM, fault, command.name, command, codes(command.code))
            yield replace(found, arrange=_without_coming_back(_manifests, change))


def _without_coming_back(where: Callable[[Scene], list[Path]], change: Change) -> Arrange:
    """Return the arrangement that stays: the next run finds it so, or what this run made of it."""

    @contextmanager
    def arrange(scene: Scene) -> Iterator[None]:
        for path in where(scene):
            path.unlink()
            change(path)
        yield

    return arrange


def _of_textfile() -> Iterator[Trial]:
    """Yield a textfile that is not one."""
    for change in (a_directory, a_fifo, a_loop, garbage, a_device):
        fault = f"the textfile is {change.__name__.replace('_', ' ')}"
        found = Trial(ROOM, fault, TEXTFILE_PUSH.name, TEXTFILE_PUSH, codes(UNDELIVERED, USAGE))
        yield replace(found, arrange=_kept(change), told=False)
    fault = "the textfile's directory is absent"
    found = Trial(ROOM, fault, TEXTFILE_PUSH.name, TEXTFILE_PUSH, codes(UNDELIVERED, USAGE))
    parent = instead(lambda scene: [scene.metrics_file.parent], absent)
    yield replace(found, arrange=parent, told=False)
    found = Trial(ROOM, "the textfile is a link", TEXTFILE_PUSH.name, TEXTFILE_PUSH, codes(DONE))
    yield replace(found, arrange=_linked)
    for error in ("ENOSPC", "EROFS", "EIO"):
        for event, pattern in (("tempfile.mkstemp", r"shop\.prom"), ("os.rename", r"shop\.prom")):
            hook = Hook(event, pattern, "errno", error, every=True)
            found = Trial(
                *(ROOM, f"{error} at {event}", TEXTFILE_PUSH.name, TEXTFILE_PUSH),
                codes(UNDELIVERED),
            )
            yield replace(found, hook=hook, told=False)


def a_device(path: Path) -> None:
    """Make it a device of our own, or, for one who may not make any, a FIFO."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        os.mkfifo(path)


def _kept(change: Change) -> Arrange:
    """Return the arrangement in which the textfile is so, and must still be so afterwards."""

    @contextmanager
    def arrange(scene: Scene) -> Iterator[None]:
        path = scene.metrics_file
        with instead(lambda _: [path], change)(scene):
            kind = stat.S_IFMT(path.lstat().st_mode)
            yield
            if not os.path.lexists(path) or stat.S_IFMT(path.lstat().st_mode) != kind:
                scene.complaints.append("what was in the textfile's place is gone")

    return arrange


@contextmanager
def _linked(scene: Scene) -> Iterator[None]:
    """Make the textfile a link to a file elsewhere, which must stay one."""
    real = scene.directory / "elsewhere.prom"
    scene.metrics_file.rename(real)
    scene.metrics_file.symlink_to(real)
    yield
    if not scene.metrics_file.is_symlink():
        scene.complaints.append("the link in the textfile's place is gone")


_PLACES = {
    "as it measures": ("subprocess.Popen", "freshness"),
    "as it takes the lock": ("fcntl.flock", ""),
    "as it reads": ("open", r"sources\.json"),
}


def _unexpected() -> Iterator[Trial]:
    """Yield errors that nobody expects, with a secret in their words, in the midst of a run."""
    for error in ("unexpected", "value-error", "recursion-error", "memory-error"):
        for place, (event, pattern) in _PLACES.items():
            for command in (WHOLE_PUSH, FRESH_EXPOSURE, STALE_EXPOSURE):
                hook = Hook(event, pattern, error, f"Authorization: {_SECRET}")
                ends = _configuration(command) | codes(INTERNAL, UNDELIVERED)
                found = Trial(ROOM, f"{error} {place}", command.name, command, ends)
                yield replace(found, hook=hook, told=event != "fcntl.flock")
        for method, command in (("PUT", WHOLE_PUSH), ("GET", PARTIAL_PUSH), ("POST", FAILED_PUSH)):
            hook = Hook("socket.connect", "127", error, f"Authorization: {_SECRET}", every=True)
            ends = codes(INTERNAL, UNDELIVERED, command.code or INTERNAL)
            found = Trial(
                ROOM, f"{error} as it calls", f"{method} of {command.name}", command, ends
            )
            yield replace(found, hook=hook, told=False)
