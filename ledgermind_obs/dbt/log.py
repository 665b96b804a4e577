"""dbt's log, line by line: what it started, what failed and in whose words.

dbt writes one event a line with ``--log-format json``; a dbt that dies early writes plain text.
Only the events named here are read, and of them only the fields declared here, so that a dbt which
adds, drops or retypes others changes nothing.
"""

from __future__ import annotations

import re
from collections import deque

import msgspec

TAIL_LINES = 20

_LOUD = frozenset({"warn", "error"})

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ERROR_HEADER = re.compile(r"^\w[\w ]* Error in [\w ]+ \S+(?: \(.*\))?$")
_POSITION = re.compile(r"^(?:LINE \d+:|\^|compiled (?:code|sql) at )", re.IGNORECASE)
_CONNECTION = re.compile(
    r"connection to server|could not (?:connect|translate host name)|"
    r"server closed the connection|the database system is|too many clients",
    re.IGNORECASE,
)


class NodeInfo(msgspec.Struct, frozen=True):
    """The part of an event that says which node it speaks of."""

    unique_id: str = ""


class EventData(msgspec.Struct, frozen=True):
    """The fields of the events that matter here; each event fills a few."""

    node_info: NodeInfo | None = None
    total: int = 0
    target_name: str = ""
    version: str = ""
    exc: str = ""
    spec_raw: str = ""


class EventInfo(msgspec.Struct, frozen=True):
    """What every event carries."""

    name: str = ""
    msg: str = ""
    level: str = ""
    invocation_id: str = ""


class Event(msgspec.Struct, frozen=True):
    """One event that matters here."""

    info: EventInfo
    data: EventData

    @property
    def unique_id(self) -> str:
        """The node the event speaks of, or an empty string."""
        return self.data.node_info.unique_id if self.data.node_info else ""


def measured(unique_id: str, total: int) -> Event:
    """Return the event by which dbt tells that one of ``total`` sources has been measured."""
    return Event(EventInfo(name="LogFreshnessResult"), EventData(NodeInfo(unique_id), total))


class _Line(msgspec.Struct, frozen=True):
    info: EventInfo
    data: msgspec.Raw = msgspec.Raw(b"{}")


_line_decoder = msgspec.json.Decoder(_Line)
_data_decoder = msgspec.json.Decoder(EventData)


class RunLog(msgspec.Struct):
    """What one dbt run said, gathered while it ran."""

    invocation_id: str = ""
    dbt_version: str = ""
    target: str = ""
    total: int = 0
    started: set[str] = msgspec.field(default_factory=set)
    finished: set[str] = msgspec.field(default_factory=set)
    errors: dict[str, str] = msgspec.field(default_factory=dict)
    unmatched: list[str] = msgspec.field(default_factory=list)
    fatal: str = ""
    tail: deque[str] = msgspec.field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    def read(self, line: bytes) -> Event | None:
        """Take in one line of output; return the event it is, if it is one that matters here."""
        try:
            info, data = _split(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._keep(line.decode("utf-8", "replace"))
            return None
        self.invocation_id = self.invocation_id or info.invocation_id
        if data is None:
            if info.level in _LOUD:
                self._keep(info.msg)
            return None
        event = Event(info, data)
        _HANDLERS[info.name](self, event)
        return event

    def _keep(self, text: str) -> None:
        lines = _COLOUR.sub("", text).strip().splitlines()
        if lines:
            self.tail.append(lines[0])

    def _version(self, event: Event) -> None:
        self.dbt_version = event.data.version.lstrip("=")

    def _concurrency(self, event: Event) -> None:
        self.target = event.data.target_name

    def _start(self, event: Event) -> None:
        self.started.add(event.unique_id)
        self.total = max(self.total, event.data.total)

    def _finish(self, event: Event) -> None:
        self.finished.add(event.unique_id)

    def _error(self, event: Event) -> None:
        if event.unique_id:
            self.errors.setdefault(event.unique_id, database_message(event.info.msg))

    def _unmatched(self, event: Event) -> None:
        self.unmatched.append(event.data.spec_raw or event.info.msg)

    def _fatal(self, event: Event) -> None:
        self.fatal = _one_line(event.data.exc or event.info.msg)


_HANDLERS = {
    "MainReportVersion": RunLog._version,
    "ConcurrencyLine": RunLog._concurrency,
    "LogStartLine": RunLog._start,
    "LogFreshnessResult": RunLog._finish,
    "RunResultError": RunLog._error,
    "NoNodesForSelectionCriteria": RunLog._unmatched,
    "MainEncounteredError": RunLog._fatal,
}


def _split(line: bytes) -> tuple[EventInfo, EventData | None]:
    """Return what the line says of itself, and its data if the event matters here."""
    event = _line_decoder.decode(line)
    if event.info.name not in _HANDLERS:
        return event.info, None
    return event.info, _data_decoder.decode(event.data)


def database_message(text: str) -> str:
    """Return the database's own words in dbt's error text, on one line.

    dbt's heading, the position in the statement and the caret below it are left out; hints stay.
    """
    lines = [_COLOUR.sub("", line).strip() for line in text.splitlines()]
    spoken = [line for line in lines if line and not _POSITION.match(line)]
    if len(spoken) > 1 and _ERROR_HEADER.match(spoken[0]):
        spoken = spoken[1:]
    return " ".join(spoken)


def is_connection_failure(message: str) -> bool:
    """Return whether the message is of a database that could not be reached."""
    return bool(_CONNECTION.search(message))


def _one_line(text: str) -> str:
    return " ".join(_COLOUR.sub("", text).split())
