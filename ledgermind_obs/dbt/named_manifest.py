"""A manifest that the user named: how the project differs from it, as far as contents tell.

Beside a manifest of ``obs`` lies a record of what it was made from. Any other one has dbt's own
checksums of the SQL and seeds, and the names that the YAML files must declare.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ledgermind_obs.dbt import yaml_files
from ledgermind_obs.dbt.decoding import decode
from ledgermind_obs.dbt.files import is_yaml, path_of, read_facts, survey
from ledgermind_obs.dbt.inputs import Inputs, changed_files, is_of, read_inputs
from ledgermind_obs.dbt.manifest import Metadata
from ledgermind_obs.dbt.manifest_file import M, ManifestFile, Read, decoded, others, read_content
from ledgermind_obs.dbt.project import Project

# dbt 2 may count otherwise.
_CHECKSUMS_OF = "1."
_HAVE_CHECKSUMS = frozenset({"analysis", "model", "seed", "snapshot", "test"})
_IGNORED = ".dbtignore"


class _Checksum(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    checksum: str = ""


class _Declared(msgspec.Struct, frozen=True, gc=False):
    resource_type: str = ""
    package_name: str | None = None
    original_file_path: str | None = None
    checksum: _Checksum | None = None


class _Contents(msgspec.Struct, frozen=True):
    """The part of a manifest that says what files it was made from."""

    metadata: Metadata
    nodes: dict[str, _Declared] | None = None
    sources: dict[str, _Declared] | None = None
    exposures: dict[str, _Declared] | None = None
    disabled: dict[str, msgspec.Raw] | None = None

    def declared(self) -> dict[str, _Declared]:
        """Return the sources and exposures, by their ids."""
        return {**(self.sources or {}), **(self.exposures or {})}


def named_manifest(path: Path, read: Read[M], project: Project | None) -> ManifestFile[M]:
    """Return the manifest at ``path``, with how it differs from the project, if there is one.

    Raises ConfigurationError where it cannot be read, ArtifactError where it cannot be used.
    """
    content = read_content(path)
    opened = decoded(path, content, read)
    if project is None:
        return opened
    inputs = read_inputs(path.parent)
    if inputs is None or not is_of(inputs, path, content):
        inputs = None
    changed = _changed(project, content, inputs)
    told = [*_of_another(opened.manifest.metadata, project, inputs)]
    if changed:
        told.append(f"{others(changed)} changed since dbt wrote it")
    return msgspec.structs.replace(
        opened,
        changed=changed,
        notes=(f"{path} differs from the project: {'; '.join(told)}",) if told else (),
        clock=inputs.clock if inputs else tuple(_clock(project)),
    )


def _of_another(metadata: Metadata, project: Project, inputs: Inputs | None) -> Iterator[str]:
    name = metadata.project_name
    if name != project.name:
        yield f"it is of project {name or 'without a name'}, not of {project.name}"
    if inputs and project.target and inputs.made_for.target != project.target:
        yield f"it is of target {inputs.made_for.target}, not of {project.target}"


def _changed(project: Project, content: bytes, inputs: Inputs | None) -> tuple[str, ...]:
    if inputs:
        return tuple(changed_files(inputs, project)[0])
    contents = decode(content, _Contents)
    if contents.metadata.project_name != project.name:
        return ()
    return tuple(sorted({*_other_checksums(project, contents), *_other_names(project, contents)}))


def _other_checksums(project: Project, contents: _Contents) -> Iterator[str]:
    """Yield the project's files that are gone or have another checksum than dbt's."""
    if not contents.metadata.dbt_version.startswith(_CHECKSUMS_OF):
        return
    for node in (contents.nodes or {}).values():
        name, checksum = node.original_file_path, node.checksum
        if (
            node.package_name == project.name
            and node.resource_type in _HAVE_CHECKSUMS
            and name
            and checksum
            and checksum.name == "sha256"
            and checksum.checksum not in _checksums(Path(path_of(project, name)))
        ):
            yield name


def _checksums(path: Path) -> tuple[str, ...]:
    """Return what dbt's checksum of a file may be: of its text without outer blanks, or of all."""
    try:
        content = path.read_bytes() if path.is_file() else b""
        texts = (content.decode().strip().encode(), content)
    except (OSError, UnicodeDecodeError):
        return ()
    return tuple(hashlib.sha256(text).hexdigest() for text in texts)


def _other_names(project: Project, contents: _Contents) -> Iterator[str]:
    """Yield the YAML files that declare what the manifest has not, or no more what it has."""
    files = survey(project)
    if _IGNORED in files:  # what dbt leaves out then is not known here
        return
    declared: set[str] = set()
    for name in files:
        if is_yaml(name) and not name.startswith(project.packages_path):
            ids = set(_declared_in(path_of(project, name), project.name))
            declared |= ids
            if ids - contents.declared().keys() - (contents.disabled or {}).keys():
                yield name
    for unique_id, item in contents.declared().items():
        if item.package_name == project.name and unique_id not in declared:
            yield item.original_file_path or unique_id


def _declared_in(path: str, package: str) -> Iterator[str]:
    """Yield the ids of the sources and exposures that a YAML file declares."""
    try:
        content = yaml_files.load(Path(path).read_bytes())
    except (OSError, yaml_files.FaultyYamlError):
        return
    for source in _items(content, "sources"):
        for table in _items(source, "tables"):
            yield f"source.{package}.{source.get('name')}.{table.get('name')}"
    for exposure in _items(content, "exposures"):
        yield f"exposure.{package}.{exposure.get('name')}"


def _items(content: Any, key: str) -> Iterable[dict[str, Any]]:
    found = content.get(key) if isinstance(content, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _clock(project: Project) -> Iterator[tuple[str, int]]:
    for name in survey(project):
        if is_yaml(name):
            try:
                facts = read_facts(path_of(project, name))
            except OSError:
                continue
            yield from ((name, line) for line in facts.clock)
