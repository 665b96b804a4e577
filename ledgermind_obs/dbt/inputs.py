"""What a manifest was made from, remembered beside it, and whether that is still what there is.

dbt does not write into ``manifest.json`` for which target, profile and variables it is, nor what
was in the YAML files. While ``obs`` runs dbt in its private directory it reads the same files, and
keeps in ``inputs.json`` what each held. Contents decide: a file's size, times and inode only save
reading it again.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from ledgermind_obs.dbt.decoding import decode
from ledgermind_obs.dbt.executable import installation, search_executable
from ledgermind_obs.dbt.files import Facts, Stat, is_yaml, path_of, read_facts, stat_of, survey
from ledgermind_obs.dbt.project import Dbt, Project
from ledgermind_obs.dbt.regular_file import read_regular
from ledgermind_obs.errors import ArtifactError, ConfigurationError

INPUTS_FILE = "inputs.json"
MANIFEST_FILE = "manifest.json"
_MARK_FILE = "parsing"
_PARSED_FILE = "partial_parse.msgpack"
_ELSEWHERE = "DBT_PARTIAL_PARSE_FILE_PATH"
_SCHEMA = 1
_MOST_BYTES = 1 << 28
_SECOND = 1_000_000_000
# The coarsest time that a file system in use keeps (FAT).
_COARSE_NS = 2 * _SECOND
# Linux's file systems take their times from a clock that advances every 1 to 10 ms.
_TICK_SECONDS = 0.01
_TICKS = 3


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A file as it was when dbt read it; without a hash it changed while dbt did."""

    stat: Stat
    facts: Facts


class Maker(msgspec.Struct, frozen=True):
    """For what dbt parsed: its variables are kept as a hash, for they may hold secrets."""

    project: str
    profile: str
    target: str
    variables: str
    dbt: str


class Inputs(msgspec.Struct, frozen=True):
    """What one manifest was made from; ``started_ns`` is the file system's time of dbt's start."""

    schema: int
    salt: str
    started_ns: int
    directory: str
    made_for: Maker
    environment: dict[str, str]
    files: dict[str, Entry]
    manifest: Entry

    @property
    def clock(self) -> tuple[tuple[str, int], ...]:
        """Return file and line of what the project's YAML takes from the time of parsing."""
        return tuple(
            (name, line) for name, entry in self.files.items() for line in entry.facts.clock
        )

    def foreign(self, dbt: Dbt) -> str:
        """Return for what else the manifest was made, or an empty text."""
        now = _maker(dbt, self.salt)
        for name in ("project", "profile", "target"):
            then = getattr(self.made_for, name)
            if then != getattr(now, name):
                return f"dbt parsed it for {name} {then}"
        if self.made_for.variables != now.variables:
            return "dbt parsed it with other --vars"
        if now.dbt and self.made_for.dbt != now.dbt:
            return f"another dbt parsed it ({self.made_for.dbt})"
        return ""

    def changed_environment(self) -> list[str]:
        """Return the names of the variables that project files ask for and that changed since."""
        return [
            name
            for name, digest in self.environment.items()
            if _digest(os.environ.get(name), self.salt) != digest
        ]


def read_inputs(directory: Path) -> Inputs | None:
    """Return the record in a private directory, or None if there is none that can be read."""
    try:
        content = read_regular(directory / INPUTS_FILE, _MOST_BYTES)
        inputs = decode(content, Inputs)
    except (OSError, ArtifactError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return inputs if inputs.schema == _SCHEMA else None


def is_of(inputs: Inputs, path: Path, content: bytes) -> bool:
    """Return whether the record is about the manifest at ``path`` with this content."""
    return inputs.manifest.stat == stat_of(str(path)) or inputs.manifest.facts.sha256 == _hash(
        content
    )


def changed_files(inputs: Inputs, project: Project) -> tuple[list[str], Inputs]:
    """Return the files that were added, taken away or changed, and the record as of now.

    It costs one stat for each file; one that looks different is read. Raises ConfigurationError if
    dbt_project.yml is unclear.
    """
    now = survey(project)
    changed = sorted(inputs.files.keys() ^ now.keys())
    settled_before, files = time.time_ns() - _COARSE_NS, dict(inputs.files)
    for name, seen in now.items():
        entry = inputs.files.get(name)
        if entry is None or (entry.stat == seen and entry.facts.sha256):
            continue
        if not entry.facts.sha256 or not _holds(path_of(project, name), entry):
            changed.append(name)
        elif seen.changed_ns < settled_before and stat_of(path_of(project, name)) == seen:
            files[name] = Entry(seen, entry.facts)
    return changed, msgspec.structs.replace(inputs, files=files)


def keep(inputs: Inputs, directory: Path) -> None:
    """Write the record into a private directory, whole or not at all; raises OSError."""
    temporary = directory / f"{INPUTS_FILE}.{os.getpid()}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(inputs))
        temporary.replace(directory / INPUTS_FILE)
    except BaseException:  # also a signal
        temporary.unlink(missing_ok=True)
        raise


class Reading:
    """What dbt reads during one run, watched from before its start until after its end.

    ``options`` are dbt's that make it read what it would otherwise believe to know.
    """

    def __init__(self, dbt: Dbt) -> None:
        """Look at the project's files, before dbt starts; the caller holds the directory's lock."""
        self._dbt = dbt
        self._directory = dbt.project.private_target_path
        self._facts: dict[str, Facts] = {}
        self._files: dict[str, Stat] | None = None
        # Without what an earlier run parsed dbt parses all in any case.
        self.options = ["--no-partial-parse"] if self._has_parsed() else []
        with suppress(OSError, ConfigurationError):
            self._begin()

    def _has_parsed(self) -> bool:
        return _ELSEWHERE in os.environ or (self._directory / _PARSED_FILE).exists()

    def _begin(self) -> None:
        known = read_inputs(self._directory)
        mark = self._directory / _MARK_FILE
        unfinished = mark.exists()
        self._before = stat_of(str(self._directory / MANIFEST_FILE))
        self._directory.mkdir(parents=True, exist_ok=True)
        for name in (MANIFEST_FILE, INPUTS_FILE):
            _remove_unless_regular(self._directory / name)
        files = survey(self._dbt.project)
        newest = max((seen.changed_ns for seen in files.values()), default=0)
        self._started_ns = _mark(mark, self._dbt.project.directory, newest)
        if known:
            self._facts = dict(_still_known(known, files))
        self._files = files
        if known and not unfinished and not self._needs_whole_parse(known, files):
            self.options = []

    def _needs_whole_parse(self, known: Inputs, files: Mapping[str, Stat]) -> bool:
        """Return whether dbt's partial parsing would keep what has changed.

        It renders YAML once, and does not read a YAML file again whose modification time it has
        seen. Only a time since its last run is surely new to it.
        """
        for name in files:
            if name not in self._facts and is_yaml(name):
                self._read(name)
                then, seen = known.files.get(name), files[name]
                is_new = known.manifest.stat.changed_ns < seen.modified_ns <= self._started_ns
                if then and then.facts.sha256 != self._sha256(name) and not is_new:
                    return True
        return any(facts.clock for facts in self._facts.values())

    def read_files(self) -> None:
        """Read what is not known yet, while dbt works."""
        for name in self._files or ():
            if name not in self._facts:
                self._read(name)

    def finish(self) -> None:
        """Keep what dbt read, when it ended by itself; without a new manifest nothing is kept."""
        with suppress(OSError, ConfigurationError):
            if self._files is not None:
                self._keep(self._files)

    def _keep(self, files: Mapping[str, Stat]) -> None:
        path = self._directory / MANIFEST_FILE
        written = stat_of(str(path))
        if written is not None and written != self._before:
            salt = os.urandom(16).hex()
            entries = dict(self._entries(files, survey(self._dbt.project)))
            names = {name for entry in entries.values() for name in entry.facts.environment}
            keep(
                Inputs(
                    schema=_SCHEMA,
                    salt=salt,
                    started_ns=self._started_ns,
                    directory=str(self._dbt.project.directory),
                    made_for=_maker(self._dbt, salt),
                    environment={name: _digest(os.environ.get(name), salt) for name in names},
                    files=entries,
                    manifest=Entry(written, read_facts(str(path))),
                ),
                self._directory,
            )
        (self._directory / _MARK_FILE).unlink()

    def _entries(
        self, before: Mapping[str, Stat], after: Mapping[str, Stat]
    ) -> Iterator[tuple[str, Entry]]:
        nothing = Facts("")
        for name, seen in {**before, **after}.items():
            same = before.get(name) == after.get(name) and seen.changed_ns < self._started_ns
            yield name, Entry(seen, self._facts.get(name, nothing) if same else nothing)

    def _read(self, name: str) -> None:
        with suppress(OSError):  # dbt cannot read it either
            self._facts[name] = read_facts(path_of(self._dbt.project, name))

    def _sha256(self, name: str) -> str:
        return self._facts[name].sha256 if name in self._facts else ""


def _still_known(known: Inputs, files: Mapping[str, Stat]) -> Iterator[tuple[str, Facts]]:
    """Yield what was read before in files that look the same, or that are the same."""
    for name, entry in known.files.items():
        if entry.facts.sha256 and files.get(name) == entry.stat:
            yield name, entry.facts


def _remove_unless_regular(path: Path) -> None:
    """Take away what no file can be written to, or would be written elsewhere by."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or not path.is_file():
        path.unlink(missing_ok=True)


def _mark(path: Path, beside: Path, newest_ns: int) -> int:
    """Write a file, and return its time: by the file system's own clock, as coarse as it may be.

    It waits for the clock's next tick if a project file has the same time.
    """
    for _ in range(_TICKS):
        path.unlink(missing_ok=True)
        path.touch()
        written = path.stat()
        is_exact = written.st_ctime_ns % _SECOND and written.st_dev == beside.stat().st_dev
        started_ns = written.st_ctime_ns - (0 if is_exact else _COARSE_NS)
        if started_ns > newest_ns:
            break
        time.sleep(_TICK_SECONDS)
    return started_ns


def _holds(path: str, entry: Entry) -> bool:
    try:
        return read_facts(path).sha256 == entry.facts.sha256
    except OSError:
        return False


def _maker(dbt: Dbt, salt: str) -> Maker:
    project, executable = dbt.project, search_executable(dbt.executable)
    return Maker(
        project=project.name,
        profile=project.profile,
        target=project.target,
        variables=_digest(dbt.vars or "", salt),
        dbt=installation(executable) if executable else "",
    )


def _digest(value: str | None, salt: str) -> str:
    """Return what tells a value from others, and not the value; empty for none."""
    import hashlib

    if value is None:
        return ""
    key = bytes.fromhex(salt)
    return hashlib.blake2b(os.fsencode(value), key=key, digest_size=16).hexdigest()


def _hash(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()
