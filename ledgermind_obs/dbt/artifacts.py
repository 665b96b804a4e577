"""dbt's ``sources.json`` and ``freshness.json``: what a run measured, if it can be believed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from ledgermind_obs.dbt.decoding import decode
from ledgermind_obs.dbt.manifest import Freshness, Metadata
from ledgermind_obs.dbt.regular_file import read_regular
from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import ArtifactError, ConfigurationError
from ledgermind_obs.freshness import FUTURE_TOLERANCE

# An entry has about 700 bytes: some 90,000 sources.
MOST_BYTES = 64 << 20
# A longer run is not believed: its elapsed_time says how old an entry of it may be.
LONGEST_RUN = timedelta(days=1)

# sources.json, and the freshness.json of dbt v2's own ``dbt freshness``.
_SCHEMA = re.compile(r"/dbt/(sources|freshness)/v(\d{1,4})(?:\.json)?$", re.ASCII)
_SCHEMAS = {"sources": {1, 2, 3}, "freshness": {0, 1}}
_LIKE_A_TIME = re.compile(r"[\dTZ:+. /-]{1,40}|[+-]?infinity", re.ASCII | re.IGNORECASE)
_DATE = re.compile(r"\d{4,}-\d\d-\d\d", re.ASCII)
_KINDS: dict[type, str] = {
    type(None): "nothing",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
}


class Result(msgspec.Struct, frozen=True):
    """One entry of ``sources.json``; its times are as they were written, see ``moment``."""

    unique_id: str
    status: str
    max_loaded_at: Any = None
    snapshotted_at: Any = None
    criteria: Freshness | None = None
    error: str | None = None


class Artifact(msgspec.Struct, frozen=True):
    """``sources.json`` (schema v1 to v3), or dbt v2's ``freshness.json``, as dbt writes it."""

    metadata: Metadata
    results: list[Result]
    elapsed_time: float | None = None

    @property
    def elapsed(self) -> timedelta:
        """How long the run took; nothing if it does not say."""
        return timedelta(seconds=self.elapsed_time or 0.0)


def read_artifact(content: bytes, name: str = "sources.json") -> Artifact:
    """Return the freshness artifact in ``content``; ``name`` is what errors call it.

    Raises ArtifactError if it is cut short, not JSON, of another shape or of another schema, if it
    says something twice, or if its run took an impossible time.
    """
    import json

    try:
        artifact = decode(content, Artifact)
        json.loads(content, object_pairs_hook=_without_repeats, parse_int=str)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{name} cannot be read: {error}", "run dbt source freshness again"
        ) from error
    _check_schema(artifact.metadata, name)
    _check_repeats((result.unique_id for result in artifact.results), name)
    _check_elapsed(artifact.elapsed_time, name)
    return artifact


def _without_repeats(pairs: list[tuple[str, Any]]) -> None:
    """Raise ValueError if a key is there twice: readers differ in which of them they take."""
    keys = Counter(key for key, _ in pairs)
    if len(keys) < len(pairs):
        raise ValueError(f"it has the key {keys.most_common(1)[0][0]!r} twice in one place")


def _check_schema(metadata: Metadata, name: str) -> None:
    told = metadata.dbt_schema_version
    found = _SCHEMA.search(told)
    if found is None:
        raise ArtifactError(
            f"{name} is not a freshness result of dbt: its schema is {told or 'not given'}"
        )
    if int(found[2]) not in _SCHEMAS[found[1]]:
        raise ArtifactError(
            f"{name} has schema {found[1]} v{found[2]}",
            "obs knows sources v1 to v3, freshness v0 and v1: see whether a newer obs knows it",
        )


def _check_repeats(unique_ids: Iterable[str], name: str) -> None:
    """Refuse a file with two entries of one source, also if they agree: dbt writes one of each."""
    counted = Counter(unique_ids)
    twice = [unique_id for unique_id, count in counted.items() if count > 1]
    if twice:
        others = f" and {len(twice) - 1} more sources" if len(twice) > 1 else ""
        raise ArtifactError(
            f"{name} has more than one entry of {min(twice)}{others}",
            "dbt writes one of each: run dbt source freshness again, and see what else writes it",
        )


def _check_elapsed(seconds: float | None, name: str) -> None:
    if seconds is None or 0 <= seconds <= LONGEST_RUN.total_seconds():
        return
    raise ArtifactError(
        f"{name} says that its run took {seconds:g} seconds",
        f"that is not between 0 and {format_age(LONGEST_RUN.total_seconds())}: run it again",
    )


def generated_at(metadata: Metadata, name: str) -> datetime:
    """Return when dbt wrote an artifact; raises ArtifactError if it does not say."""
    try:
        found = datetime.fromisoformat(metadata.generated_at)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ArtifactError(
            f"{name} does not say when it was written", "run dbt source freshness again"
        ) from error


def check_written(artifact: Artifact, name: str, now: datetime) -> datetime:
    """Return when dbt wrote an artifact; raises ArtifactError if that is ahead of ``now``."""
    written_at = generated_at(artifact.metadata, name)
    ahead = written_at - now
    if ahead > FUTURE_TOLERANCE:
        raise ArtifactError(
            f"{name} is dated {format_age(ahead.total_seconds())} in the future",
            "check the clocks of this host and of the one that ran dbt",
        )
    return written_at


def check_age(artifact: Artifact, name: str, limit: float, now: datetime) -> None:
    """Raise ArtifactError if an artifact is older than ``limit`` seconds, or of the future."""
    age = now - generated_at(artifact.metadata, name)
    if -age > FUTURE_TOLERANCE:
        raise ArtifactError(
            f"{name} is dated {format_age(-age.total_seconds())} in the future: check the clocks"
        )
    if age.total_seconds() > limit:
        raise ArtifactError(
            f"{name} is {format_age(age.total_seconds())} old, limit {format_age(limit)}",
            "measure again, or say with --artifact-max-age how old it may be",
        )


def check_of_run(artifact: Artifact, started_at: datetime, now: datetime) -> None:
    """Raise ArtifactError unless ``sources.json`` was written from ``started_at`` to ``now``."""
    written_at = check_written(artifact, "sources.json", now)
    if written_at < started_at - FUTURE_TOLERANCE:
        age = format_age((started_at - written_at).total_seconds())
        raise ArtifactError(
            f"sources.json is not of this run: it is dated {age} before it began",
            "see what else writes it, or check the clock",
        )


def moment(value: object) -> datetime:
    """Return a time of an entry in UTC: dbt takes one without a zone as UTC.

    Raises ValueError, which says what the value is instead.
    """
    try:
        found = value if isinstance(value, datetime) else msgspec.convert(value, datetime)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise ValueError(_kind(value)) from None


def _kind(value: object) -> str:
    """Return what a value is; of its text only what looks like a time, the rest may be secret."""
    if isinstance(value, str):
        if not _LIKE_A_TIME.fullmatch(value):
            return "a text that is no time"
        return f"{value!r}, a date without a time" if _DATE.fullmatch(value) else repr(value)
    return _KINDS.get(type(value), "a mapping")


def last_artifact(given: Path | None, directories: Iterable[Path]) -> tuple[Path, Artifact] | None:
    """Return the artifact that was named, or the newest ``sources.json`` that holds a source.

    Raises ConfigurationError where that cannot be read, ArtifactError where it cannot be used.
    """
    paths = [directory / "sources.json" for directory in directories]
    existing = [path for path in paths if _is_there(path)]
    if given:
        return given, open_artifact(given)
    newest_first = sorted(existing, key=lambda path: path.stat().st_mtime, reverse=True)
    opened = ((path, open_artifact(path)) for path in newest_first)
    return next(((path, artifact) for path, artifact in opened if artifact.results), None)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:  # what another user's runs left
        return False


def open_artifact(path: Path) -> Artifact:
    """Return the freshness artifact at ``path``.

    Raises ConfigurationError if it cannot be read, ArtifactError if it cannot be used.
    """
    try:
        content = read_regular(path, MOST_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", "write it with: dbt source freshness"
        ) from error
    return read_artifact(content, str(path))


def last_run(given: Path | None, directories: Iterable[Path]) -> frozenset[str] | None:
    """Return the ids of the sources that the last freshness run holds; None without a run."""
    found = last_artifact(given, directories)
    return frozenset(result.unique_id for result in found[1].results) if found else None
