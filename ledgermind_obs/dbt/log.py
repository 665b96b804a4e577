"""dbt's log, line by line: what it started, what failed, and the message.

dbt writes one event a line with ``--log-format json``; a dbt that dies early writes plain text.
Only the events named here are read, and of them only the fields declared here, so that a dbt which
adds, drops or retypes others changes nothing. What is kept is bounded, however much dbt says, and
values that a database quotes from its rows are left out.
"""

from __future__ import annotations

import re
from collections import deque

import msgspec

TAIL_LINES = 20
# More than a project has, and longer than a message is.
MOST_NODES = 100_000
MOST_CHARACTERS = 2_000
_MOST_READ = 64_000

_LOUD = frozenset({"warn", "error"})

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ERROR_HEADER = re.compile(r"^\w[\w ]* Error in [\w ]+ \S+(?: \(.*\))?$")
_POSITION = re.compile(r"^(?:LINE \d+:|\^|compiled (?:code|sql) at )", re.IGNORECASE)
_CONNECTION = re.compile(
    r"connection to server|could not (?:connect|translate host name)|"
    r"server closed the connection|the database system is|too many clients",
    re.IGNORECASE,
)


# A complaint about a value, by PostgreSQL or another database: what it quotes may be a row's.
_OF_A_VALUE = re.compile(
    r"invalid (?:input|date|time|number|digit|byte|json|uuid|hexadecimal)|"
    r"invalid value (?:[\"']|for (?:parameter|type))|malformed|out of range|not recognized|"
    r"incorrect \w+ value|bad \w+ value|\bcast\b|conversion|"
    r"(?:could not|cannot|can't|unable to|failed to) (?:convert|parse)",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"(?<!\w)([\"'])(?:.*\1|.*$)", re.DOTALL)
# PostgreSQL's further sections: a hint is about the statement, the others may quote a row bare.
_SECTION = re.compile(r"(DETAIL|CONTEXT|QUERY|STATEMENT|WHERE|HINT): ")
# dbt shows the whole row that it could not take.
_ODD_RESULT = re.compile(r"(Got an invalid result from \S+ macro):.*", re.DOTALL)


class NodeInfo(msgspec.Struct, frozen=True):
    """The part of an event that says which node it speaks of, and how that stands."""

    unique_id: str = ""
    node_status: str | None = None


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


class _Line(msgspec.Struct, frozen=True):
    info: EventInfo
    data: msgspec.Raw = msgspec.Raw(b"{}")


_line_decoder = msgspec.json.Decoder(_Line)
_data_decoder = msgspec.json.Decoder(EventData)


class RunLog(msgspec.Struct):
    """What one dbt run said, gathered while it ran.

    ``warned`` are the sources that dbt called ``warn`` before its flags made an error of that;
    ``other_invocation_id`` is there if the lines are of more than one run.
    """

    invocation_id: str = ""
    other_invocation_id: str = ""
    dbt_version: str = ""
    target: str = ""
    total: int = 0
    started: set[str] = msgspec.field(default_factory=set)
    finished: set[str] = msgspec.field(default_factory=set)
    errors: dict[str, str] = msgspec.field(default_factory=dict)
    warned: set[str] = msgspec.field(default_factory=set)
    unmatched: list[str] = msgspec.field(default_factory=list)
    fatal: str = ""
    tail: deque[str] = msgspec.field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    def read(self, line: bytes) -> Event | None:
        """Take in one line of output; return the event it is, if it is one that matters here."""
        try:
            info, data = _split(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._keep(line[:MOST_CHARACTERS].decode("utf-8", "replace"))
            return None
        self._invocation(info.invocation_id)
        if data is None:
            if info.level in _LOUD:
                self._keep(info.msg)
            return None
        event = Event(info, data)
        _HANDLERS[info.name](self, event)
        return event

    def _invocation(self, found: str) -> None:
        self.invocation_id = self.invocation_id or found
        if found and found != self.invocation_id:
            self.other_invocation_id = found

    def _keep(self, text: str) -> None:
        lines = _COLOUR.sub("", text[:MOST_CHARACTERS]).strip().splitlines()
        if lines:
            self.tail.append(without_values(lines[0]))

    def _version(self, event: Event) -> None:
        self.dbt_version = event.data.version.lstrip("=")[:MOST_CHARACTERS]

    def _concurrency(self, event: Event) -> None:
        self.target = event.data.target_name[:MOST_CHARACTERS]

    def _start(self, event: Event) -> None:
        _note(self.started, event.unique_id)
        self.total = max(self.total, event.data.total)

    def _finish(self, event: Event) -> None:
        _note(self.finished, event.unique_id)

    def _error(self, event: Event) -> None:
        if event.unique_id and len(self.errors) < MOST_NODES:
            self.errors.setdefault(event.unique_id, database_message(event.info.msg))

    def _exception(self, event: Event) -> None:
        """Note a verdict of ``warn`` that dbt could not tell because it raised it as an error."""
        node = event.data.node_info
        if node and node.node_status == "warn" and "WARN freshness of" in event.data.exc:
            _note(self.warned, node.unique_id)

    def _unmatched(self, event: Event) -> None:
        if len(self.unmatched) < MOST_NODES:
            self.unmatched.append((event.data.spec_raw or event.info.msg)[:MOST_CHARACTERS])

    def _fatal(self, event: Event) -> None:
        self.fatal = _one_line(event.data.exc or event.info.msg)


def _note(nodes: set[str], unique_id: str) -> None:
    if unique_id and len(nodes) < MOST_NODES:
        nodes.add(unique_id)


_HANDLERS = {
    "MainReportVersion": RunLog._version,
    "ConcurrencyLine": RunLog._concurrency,
    "LogStartLine": RunLog._start,
    "LogFreshnessResult": RunLog._finish,
    "RunResultError": RunLog._error,
    "GenericExceptionOnRun": RunLog._exception,
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
    """Return the database's own words in dbt's error text, or its driver's, on one line.

    dbt's heading, the position in the statement and the caret below it are left out, and so are the
    values that it quotes; hints stay.
    """
    lines = [_COLOUR.sub("", line).strip() for line in text[:_MOST_READ].splitlines()]
    spoken = [line for line in lines if line and not _POSITION.match(line)]
    if len(spoken) > 1 and _ERROR_HEADER.match(spoken[0]):
        spoken = spoken[1:]
    return _shortened(without_values("\n".join(spoken)))


def without_values(text: str) -> str:
    """Return a message, on one line, without the values that it may quote from a row.

    Of a complaint about a value, all that is in quotes is shown as ``"…"``; of any other, the names
    stay. PostgreSQL's further sections are left out, but for a hint about the statement.
    """
    main, *sections = _sections(_ODD_RESULT.sub(r"\1 (the row is not shown)", text))
    if _OF_A_VALUE.search(main):
        return _QUOTED.sub('"…"', main)
    return " ".join([main, *(section for section in sections if section.startswith("HINT"))])


def _sections(text: str) -> list[str]:
    """Return the message, then its further sections, each on one line."""
    sections: list[list[str]] = [[]]
    for line in text.splitlines():
        if _SECTION.match(line.strip()):
            sections.append([])
        sections[-1].append(line.strip())
    return [" ".join(section) for section in sections]


def is_connection_failure(message: str) -> bool:
    """Return whether the message is of a database that could not be reached."""
    return bool(_CONNECTION.search(message))


def _one_line(text: str) -> str:
    plain = _COLOUR.sub("", text[:_MOST_READ])
    return _shortened(" ".join(without_values(plain).split()))


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"
