"""What a check finds: one type for lineage, alert rules and dashboards.

Each kind of finding has a code, and each code a paragraph in the docs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import msgspec

from ledgermind_obs.errors import DOCS

_PAGES = {"L": f"{DOCS}/lineage.md", "R": f"{DOCS}/alerting.md", "D": f"{DOCS}/dashboard.md"}


class Severity(StrEnum):
    """How bad a finding is; an error means that a gate, an alert or a panel can mislead."""

    ERROR = "error"
    WARNING = "warning"


class Code(NamedTuple):
    """One kind of finding."""

    id: str
    severity: Severity
    title: str

    @property
    def help(self) -> str:
        """The paragraph that explains the code, as page and anchor."""
        return f"{_PAGES[self.id[0]]}#{self.id.lower()}"

    def at(self, name: str, message: str, next_step: str, **place: Any) -> Finding:
        """Return a finding of this kind; ``place`` holds the fields that say where it is."""
        return Finding(
            code=self.id,
            severity=self.severity,
            name=name,
            message=message,
            next_step=next_step,
            help=self.help,
            **place,
        )


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One fault: its code, what it is about, where that is, and what to do next.

    ``name`` and ``message`` make one sentence. ``node`` is the unique id of what it is about:
    dbt's, ``group/alert``, or ``dashboard uid/panel id``. ``group`` is the alert's group, or the
    dashboard's title. ``path`` leads from a node to an exposure, by name.
    """

    code: str
    severity: Severity
    name: str
    message: str
    next_step: str
    help: str
    node: str = ""
    group: str = ""
    file: str = ""
    line: int = 0
    path: tuple[str, ...] = ()


class Ignore(NamedTuple):
    """A code, and the pattern of the names it is ignored at."""

    code: str
    pattern: str = "*"

    def covers(self, finding: Finding) -> bool:
        """Return whether the finding is to be ignored."""
        return finding.code == self.code and any(
            name == self.pattern or fnmatchcase(name, self.pattern)
            for name in (finding.name, finding.node, finding.group)
        )


class Unread(msgspec.Struct, frozen=True):
    """A file that could not be checked, and why."""

    file: str
    message: str
    next_step: str = ""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What one command looked at, by kind, and what it found there, the worst first.

    ``codes`` are all it can find; ``unread`` are the files that it could not check.
    """

    command: str
    codes: Sequence[Code]
    looked_at: Mapping[str, Sequence[str]]
    findings: Sequence[Finding] = ()
    unread: Sequence[Unread] = ()


def without(findings: Iterable[Finding], ignored: Iterable[Ignore]) -> list[Finding]:
    """Return the findings that no entry of the ignore list covers."""
    entries = list(ignored)
    return [finding for finding in findings if not any(e.covers(finding) for e in entries)]


def unused(findings: Sequence[Finding], ignored: Iterable[Ignore]) -> list[Ignore]:
    """Return the entries of the ignore list that cover no finding."""
    return [entry for entry in ignored if not any(entry.covers(f) for f in findings)]


def failing(findings: Iterable[Finding], fail_on: str) -> list[Finding]:
    """Return the findings that are at least as bad as ``fail_on``."""
    return [f for f in findings if fail_on == Severity.WARNING or f.severity is Severity.ERROR]


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return each finding once, errors before warnings, then in the order of their places."""
    return sorted(dict.fromkeys(findings), key=_rank)


def _rank(finding: Finding) -> tuple[bool, str, int, str, str]:
    warns = finding.severity is not Severity.ERROR
    return warns, finding.file, finding.line, finding.code, finding.name
