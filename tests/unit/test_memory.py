import json
import os
import stat
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import pytest

from ledgermind_obs import metrics
from ledgermind_obs.freshness import State
from ledgermind_obs.metrics import Series
from ledgermind_obs.sinks import memory as memories
from ledgermind_obs.sinks.known import OF_LAST_REPORT, Destination
from ledgermind_obs.sinks.memory import FileMemory
from tests.unit.reports import report, source, unmeasured

HERE = Destination("http://gw:9091", {"job": "dbt-freshness", "project": "shop", "target": "prod"})
SERIES = list(
    metrics.report_series(
        report(source("a"), unmeasured("b"), source("c", State.EMPTY, None), source('t"\n\\'))
    )
)

FACTS = {s for s in SERIES if s.source or s.metric in OF_LAST_REPORT}


def facts(memory: FileMemory) -> set[Series]:
    """Return all series that are remembered."""
    found = memory.recall()
    assert found
    return {*chain.from_iterable(found.sources.values()), *found.of_report}


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def memory(tmp_path: Path, told: list[str]) -> FileMemory:
    return FileMemory(tmp_path / "obs", HERE, told.append)


def test_what_was_delivered_is_recalled(memory: FileMemory, told: list[str]) -> None:
    assert memory.recall() is None

    memory.remember(SERIES)

    assert facts(memory) == FACTS
    assert not told


def test_it_is_private_and_nothing_else_is_left(memory: FileMemory) -> None:
    memory.remember(SERIES)

    assert list(memory.path.parent.iterdir()) == [memory.path]
    assert stat.S_IMODE(memory.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(memory.path.parent.stat().st_mode) == 0o700


def test_each_destination_and_group_has_its_own(memory: FileMemory, tmp_path: Path) -> None:
    memory.remember(SERIES)

    others = [
        Destination("http://other:9091", HERE.labels),
        Destination(HERE.place, {**HERE.labels, "target": "dev"}),
        Destination(HERE.place, {**HERE.labels, "team": "a"}),
    ]
    assert [FileMemory(tmp_path / "obs", other, print).recall() for other in others] == [None] * 3


def test_the_order_of_a_groups_labels_changes_nothing(memory: FileMemory, tmp_path: Path) -> None:
    memory.remember(SERIES)

    turned = Destination(HERE.place, dict(sorted(HERE.labels.items(), reverse=True)))
    assert facts(FileMemory(tmp_path / "obs", turned, print)) == FACTS


def sealed(document: object) -> bytes:
    body = json.dumps(document).encode()
    return b"%08x\n" % zlib.crc32(body) + body


def changed(change: Callable[[dict[str, object]], object]) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        document = json.loads(content.partition(b"\n")[2])
        change(document)
        return sealed(document)

    return damage


def rows(metric: metrics.Metric, value: object) -> Callable[[bytes], bytes]:
    return changed(lambda d: d["series"].update({metric.name: value}))  # type: ignore[attr-defined]


A = next(s.label_values for s in SERIES if s.metric is metrics.LOADED_AT)
AHEAD = datetime(2999, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda _: b"", "checksum"),
        (lambda content: content[: len(content) // 2], "checksum"),
        (lambda content: content.replace(b"17", b"16", 1), "checksum"),
        (lambda _: bytes(range(256)), "checksum"),
        (lambda _: sealed([]), "Expected `object`"),
        (changed(lambda d: d.update(schema=2)), "of version 2, not 1"),
        (changed(lambda d: d.update(destination={"place": "x", "labels": {}})), "another destin"),
        (rows(metrics.LOADED_AT, [[["a"], 1.0]]), "other labels"),
        (rows(metrics.LOADED_AT, [[A, "yesterday"]]), "Expected `float`"),
        (rows(metrics.LOADED_AT, [[]]), "Expected `array` of length 2"),
        (rows(metrics.LOADED_AT, [[A, 1.0], [A, 2.0]]), "twice"),
        (rows(metrics.STATUS, [[[*A, "pass"], 1.0], [[*A, "error"], 1.0]]), "twice"),
        (rows(metrics.CHECKED_AT, [[A, AHEAD]]), "ahead of this machine"),
        (rows(metrics.CHECKED_AT, []), "is missing"),
    ],
)
def test_a_damaged_memory_is_ignored_with_one_line(
    memory: FileMemory, told: list[str], damage: Callable[[bytes], bytes], words: str
) -> None:
    memory.remember(SERIES)
    memory.path.write_bytes(damage(memory.path.read_bytes()))

    assert memory.recall() is None

    assert len(told) == 1
    assert f"ignoring the memory {memory.path}, which is damaged: " in told[0]
    assert words in told[0]


def test_a_metric_that_only_a_newer_obs_knows_is_let_be(
    memory: FileMemory, told: list[str]
) -> None:
    memory.remember(SERIES)
    add = changed(lambda d: d["series"].update(dbt_source_rows=[[["a"], 1.0]]))  # type: ignore[attr-defined]
    memory.path.write_bytes(add(memory.path.read_bytes()))

    assert facts(memory) == FACTS
    assert not told


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_link(path: Path) -> None:
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("put", "words"),
    [(a_fifo, "a FIFO"), (Path.mkdir, "a directory"), (a_link, "a symbolic link")],
)
def test_what_is_no_file_is_ignored_with_one_line(
    memory: FileMemory, told: list[str], put: Callable[[Path], None], words: str
) -> None:
    memory.path.parent.mkdir(parents=True)
    put(memory.path)

    assert memory.recall() is None
    assert told == [f"ignoring the memory {memory.path}: it is {words}"]


def test_a_memory_that_is_too_large_is_ignored_and_not_kept(
    memory: FileMemory, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.remember(SERIES)
    monkeypatch.setattr(memories, "MAX_BYTES", 100)

    assert memory.recall() is None
    assert "it is larger than" in told[0]
    memory.remember(SERIES)
    assert not memory.path.exists()


def test_a_memory_that_cannot_be_written_is_told_and_fails_nothing(
    tmp_path: Path, told: list[str]
) -> None:
    (tmp_path / "obs").write_text("in the way")

    FileMemory(tmp_path / "obs", HERE, told.append).remember(SERIES)

    assert len(told) == 1
    assert "delivered, but it cannot be remembered in" in told[0]
    assert "Not a directory" in told[0]


def test_only_the_last_destinations_are_remembered(tmp_path: Path) -> None:
    for number in range(memories.MAX_DESTINATIONS + 3):
        each = FileMemory(tmp_path, Destination(f"http://gw-{number}", {}), print)
        each.remember(SERIES)
        os.utime(each.path, ns=(number, number))
    last = FileMemory(tmp_path, Destination("http://last", {}), print)

    last.remember(SERIES)

    assert len(list(last.path.parent.iterdir())) == memories.MAX_DESTINATIONS
    assert last.recall()
    assert FileMemory(tmp_path, Destination("http://gw-0", {}), print).recall() is None


def test_no_message_of_the_database_is_kept(memory: FileMemory) -> None:
    memory.remember([*SERIES, Series(metrics.RUN_DURATION, (), 1.0)])

    content = memory.path.read_text()
    assert "relation does not exist" not in content
    assert metrics.RUN_DURATION.name not in content
