"""The manifest to work with: one that is proven to be of this project, this target, these files.

``target/manifest.json`` of the user's own ``dbt build`` does not say its target, nor what was in
the YAML files, and so proves nothing. The one in the private directory of ``obs`` has a record of
what it was made from; if that is not what there is now, dbt parses once more. A manifest that was
named is taken at the user's word: differences are reported.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from ledgermind_obs.dbt.executable import search_executable
from ledgermind_obs.dbt.inputs import MANIFEST_FILE, Inputs, changed_files, is_of, keep, read_inputs
from ledgermind_obs.dbt.manifest import MOST_MANIFEST_BYTES, Manifest, Metadata
from ledgermind_obs.dbt.project import PROJECT_FILE, Dbt
from ledgermind_obs.dbt.regular_file import read_regular
from ledgermind_obs.errors import ArtifactError, ConfigurationError
from ledgermind_obs.freshness import FUTURE_TOLERANCE

M = TypeVar("M", bound=Manifest)
Read = Callable[[bytes, str], M]
Lock = Callable[[], AbstractContextManager[None]]


class ManifestChoice(msgspec.Struct, frozen=True):
    """What ``--manifest`` and ``--no-parse`` say."""

    path: Path | None = None
    no_parse: bool = False


class ManifestFile(msgspec.Struct, Generic[M], frozen=True):
    """A manifest and where it was found.

    ``changed`` are the project's files that are known to differ from what it was made from,
    ``notes`` what should be told of it, ``clock`` the file and line of each limit that is taken
    from the time of parsing.
    """

    path: Path
    manifest: M
    changed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    clock: tuple[tuple[str, int], ...] = ()

    @property
    def written_at(self) -> datetime:
        """When dbt wrote the manifest: what it says itself, else the file's time."""
        said = generated_at(self.manifest.metadata)
        return said or datetime.fromtimestamp(self.path.stat().st_mtime, UTC)


def manifest_of(
    dbt: Dbt, choice: ManifestChoice, read: Read[M], lock: Lock = nullcontext
) -> ManifestFile[M]:
    """Return the manifest that was named, the proven one, or the one that dbt parses now.

    ``read`` decodes the part of it that is needed; ``lock`` is taken around dbt, and need not be
    given by who holds it. Raises ConfigurationError if there is none that can be used.
    """
    if choice.path:
        from ledgermind_obs.dbt.named_manifest import named_manifest

        has_files = (dbt.project.directory / PROJECT_FILE).is_file()
        return named_manifest(choice.path, read, dbt.project if has_files else None)
    found, doubt = _proven(dbt, read)
    if choice.no_parse:
        return found or _unproven(dbt, read, doubt)
    if found:
        return found
    with lock():
        found, doubt = _proven(dbt, read)  # another run may have parsed while this one waited
        return found or _parsed(dbt, read, doubt)


def written_manifest(dbt: Dbt, read: Read[M]) -> ManifestFile[M]:
    """Return the manifest that a run of dbt has just written into the private directory.

    Raises ConfigurationError where it cannot be read, ArtifactError where it cannot be used.
    """
    return open_manifest(dbt.project.private_target_path / MANIFEST_FILE, read)


def open_manifest(path: Path, read: Read[M]) -> ManifestFile[M]:
    """Return the manifest at ``path`` as it is.

    Raises ConfigurationError where it cannot be read, ArtifactError where it cannot be used.
    """
    return decoded(path, read_content(path), read)


def read_content(path: Path) -> bytes:
    """Return what is in the file; raises ConfigurationError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", "write it with: dbt parse"
        ) from error


def decoded(path: Path, content: bytes, read: Read[M]) -> ManifestFile[M]:
    """Return the manifest that has this content; raises ArtifactError where it cannot be used."""
    opened = ManifestFile(path, read(content, str(path)))
    gc.freeze()  # it stays until the process ends: the collector need not look at it again
    return opened


def generated_at(metadata: Metadata) -> datetime | None:
    """Return when a manifest says it was written, or None if it does not say."""
    try:
        moment = datetime.fromisoformat(metadata.generated_at)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def check_project(metadata: Metadata, dbt: Dbt) -> None:
    """Raise ArtifactError unless the manifest is of the project."""
    if metadata.project_name != dbt.project.name:
        raise ArtifactError(
            f"the manifest is of project {metadata.project_name or 'without a name'}, "
            f"not of {dbt.project.name}",
            "name the right one with --manifest, or drop --manifest",
        )


def others(names: Iterable[str]) -> str:
    """Return the first name, and how many more there are."""
    first, *rest = names
    return f"{first} and {len(rest)} more" if rest else first


def _proven(dbt: Dbt, read: Read[M]) -> tuple[ManifestFile[M] | None, str]:
    """Return the private manifest if everything it was made from is what there is now, else why."""
    directory = dbt.project.private_target_path
    inputs = read_inputs(directory)
    if inputs is None:
        return None, "dbt has not parsed it for obs yet"
    if doubt := inputs.foreign(dbt):
        return None, doubt
    if names := inputs.changed_environment():
        return None, f"environment variable {others(names)} changed since dbt parsed it"
    changed, refreshed = changed_files(inputs, dbt.project)
    if changed:
        return None, f"{others(changed)} changed since dbt parsed it"
    found, doubt = _recorded(dbt, inputs, read)
    if found and refreshed != inputs:
        with suppress(OSError):  # the next run reads those files again, and that is all
            keep(refreshed, directory)
    return found, doubt


def _recorded(dbt: Dbt, inputs: Inputs, read: Read[M]) -> tuple[ManifestFile[M] | None, str]:
    """Return the private manifest if it is whole and the one that the record is about."""
    path = dbt.project.private_target_path / MANIFEST_FILE
    try:
        content = read_regular(path, MOST_MANIFEST_BYTES)
        if not is_of(inputs, path, content):
            return None, f"{path} is not as dbt left it"
        found = decoded(path, content, read)
        check_project(found.manifest.metadata, dbt)
    except (OSError, ArtifactError):
        return None, f"{path} cannot be used"
    written_at = generated_at(found.manifest.metadata)
    if written_at is None or written_at - datetime.now(UTC) > FUTURE_TOLERANCE:
        return None, f"{path} does not say truly when it was written"
    return msgspec.structs.replace(found, clock=inputs.clock), ""


def _unproven(dbt: Dbt, read: Read[M], doubt: str) -> ManifestFile[M]:
    """Return what dbt last parsed for this target, although files have changed since."""
    inputs = read_inputs(dbt.project.private_target_path)
    if inputs and not inputs.foreign(dbt):
        found, doubt = _recorded(dbt, inputs, read)
        if found:
            changed = (
                *changed_files(inputs, dbt.project)[0],
                *(f"environment variable {name}" for name in inputs.changed_environment()),
            )
            if not changed:  # they were changed back a moment ago
                return found
            note = f"{found.path} is not up to date: {others(changed)} changed since dbt parsed it"
            return msgspec.structs.replace(found, changed=changed, notes=(note,))
    raise _no_manifest(dbt, doubt, "drop --no-parse, or name a manifest with --manifest")


def _parsed(dbt: Dbt, read: Read[M], doubt: str) -> ManifestFile[M]:
    if search_executable(dbt.executable) is None:
        raise _no_manifest(
            dbt,
            doubt,
            f"there is no {dbt.executable or 'dbt'} here to parse the project: install it, "
            "name it with --dbt, or name a manifest with --manifest",
        )
    from ledgermind_obs.dbt.process import parse

    opened = open_manifest(parse(dbt), read)
    inputs = read_inputs(opened.path.parent)
    return msgspec.structs.replace(opened, clock=inputs.clock if inputs else ())


def _no_manifest(dbt: Dbt, doubt: str, next_step: str) -> ConfigurationError:
    project = dbt.project
    return ConfigurationError(
        f"there is no up-to-date manifest.json of project {project.name}, target "
        f"{project.target}: {doubt}",
        next_step,
    )
