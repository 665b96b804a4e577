"""What a project says to ``obs`` of its own data: the key ``obs`` of dbt's ``meta``.

On a source table, or on a source for all its tables: ``no_freshness`` and ``owner``. On an
exposure: ``max_age`` and ``fail_on``. dbt takes ``meta`` at the top level and under ``config``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, NoReturn

import msgspec

from ledgermind_obs.dbt.manifest import Exposure, LineageManifest, Meta, Node, Source
from ledgermind_obs.dbt.positions import line_of_key
from ledgermind_obs.durations import parse_age
from ledgermind_obs.errors import ConfigurationError

_WAYS = (["meta", "obs"], ["config", "meta", "obs"])


class NoFreshness(msgspec.Struct, frozen=True):
    """Why a source is known not to be measured, and the last day on which that counts."""

    reason: str
    until: date | None = None

    @property
    def told(self) -> str:
        """The reason, and until when it counts."""
        return f"{self.reason} (until {self.until})" if self.until else self.reason

    def holds(self, now: datetime) -> bool:
        """Return whether it still counts; a day ends at midnight UTC."""
        return self.until is None or now.astimezone(UTC).date() <= self.until


class SourceSettings(msgspec.Struct, frozen=True):
    """What ``meta.obs`` says of a source table."""

    no_freshness: NoFreshness | None = None
    owner: str | None = None


class ExposureSettings(msgspec.Struct, frozen=True):
    """What ``meta.obs`` says of an exposure: limits for the gate in front of it."""

    max_age_seconds: float | None = None
    fail_on: Literal["warn", "error"] | None = None


class Settings(msgspec.Struct, frozen=True):
    """What a project's ``meta.obs`` says, by unique id; who says nothing is not in it."""

    sources: Mapping[str, SourceSettings] = {}
    exposures: Mapping[str, ExposureSettings] = {}


def settings_of(manifest: LineageManifest, directory: Path | None) -> Settings:
    """Return what the project says; ``directory`` is the project's, in which errors find lines.

    Raises ConfigurationError, with file and line, for a key or a value that is not known.
    """
    read = _Reader(directory)
    for node in (manifest.nodes or {}).values():
        meta = _in_config(node)
        if meta and meta.obs is not None:
            read.refuse(node, [], "only sources and exposures have settings", "take it out")
    sources = {uid: read.source(source) for uid, source in manifest.sources.items()}
    exposures = {uid: read.exposure(each) for uid, each in (manifest.exposures or {}).items()}
    return Settings(
        {uid: found for uid, found in sources.items() if found != SourceSettings()},
        {uid: found for uid, found in exposures.items() if found != ExposureSettings()},
    )


class _Reader:
    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def source(self, source: Source) -> SourceSettings:
        """Return what a source table says, or its source for it."""
        metas = (source.source_meta, _in_config(source), source.meta)
        return SourceSettings(**self._values(source, metas, _SOURCE_KEYS))

    def exposure(self, exposure: Exposure) -> ExposureSettings:
        """Return what an exposure says."""
        metas = (_in_config(exposure), exposure.meta)
        return ExposureSettings(**self._values(exposure, metas, _EXPOSURE_KEYS))

    def _values(
        self,
        node: Source | Exposure,
        metas: Iterable[Meta | None],
        keys: Mapping[str, tuple[str, Callable[[Any], Any]]],
    ) -> dict[str, Any]:
        return {
            keys[key][0]: self._value(node, key, value, keys[key][1])
            for key, value in self._merged(node, metas, keys).items()
            if value is not None
        }

    def _merged(
        self, node: Source | Exposure, metas: Iterable[Meta | None], keys: Iterable[str]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for meta in metas:
            said = meta.obs if meta else None
            if said is None:
                continue
            if not isinstance(said, dict):
                self.refuse(node, [], "it is no mapping", _known(keys))
            for key in said:
                if key not in keys:
                    self.refuse(node, [key], f"{key} is not known", _known(keys))
            found.update(said)
        return found

    def _value(
        self, node: Source | Exposure, key: str, value: Any, read: Callable[[Any], Any]
    ) -> Any:
        try:
            return read(value)
        except (ValueError, TypeError) as error:
            self.refuse(node, [key], f"{key} {error}", "correct it, then run dbt parse")

    def refuse(self, node: Node | Source, way: list[str], why: str, next_step: str) -> NoReturn:
        """Raise ConfigurationError for what stands at a key below a node's ``meta.obs``."""
        raise ConfigurationError(
            f"{self._place(node, way)}: meta.obs of {node.label}: {why}", next_step
        )

    def _place(self, node: Node | Source, way: list[str]) -> str:
        path = node.original_file_path or "the manifest"
        if self._directory is None:
            return path
        try:
            text = (self._directory / path).read_text(errors="replace")
        except OSError:
            return path
        kind, names = _declaration(node)
        line = line_of_key(text, kind, names, [[*start, *way] for start in _WAYS])
        return f"{path}:{line}" if line else path


def _in_config(node: Node | Source) -> Meta | None:
    return node.config.meta if node.config else None


def _declaration(node: Node | Source) -> tuple[str, list[str]]:
    if isinstance(node, Source):
        return "sources", [node.source_name, node.name]
    return f"{node.resource_type}s", [node.name]


def _known(keys: Iterable[str]) -> str:
    return f"the keys are {' and '.join(sorted(keys))}"


def _no_freshness(value: Any) -> NoFreshness:
    if isinstance(value, str):
        return NoFreshness(_text(value))
    if not isinstance(value, dict) or not value.keys() <= {"reason", "until"}:
        raise ValueError("is a reason, or has reason and until")
    until = value.get("until")
    return NoFreshness(_text(value.get("reason")), None if until is None else _day(until))


def _day(value: Any) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("has an until that is no day such as 2027-01-31") from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("says nothing: write a line of text")
    return value.strip()


def _age(value: Any) -> float:
    if not isinstance(value, str):
        raise TypeError("is no duration such as 12h or 5d")
    seconds = parse_age(value)
    if seconds <= 0:
        raise ValueError("is not longer than nothing")
    return seconds


def _fail_on(value: Any) -> Any:
    if value not in {"warn", "error"}:
        raise ValueError("is neither warn nor error")
    return value


_SOURCE_KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "no_freshness": ("no_freshness", _no_freshness),
    "owner": ("owner", _text),
}
_EXPOSURE_KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "max_age": ("max_age_seconds", _age),
    "fail_on": ("fail_on", _fail_on),
}


def owner_in_meta(source: Source) -> str | None:
    """Return the ``owner`` that a source's ``meta`` names outside ``obs``, None if none."""
    return next(_owners(source), None)


def _owners(source: Source) -> Iterator[str]:
    for meta in (source.meta, _in_config(source), source.source_meta):
        owner = meta.owner if meta else None
        if isinstance(owner, str) and owner.strip() and owner.isprintable():
            yield owner.strip()
