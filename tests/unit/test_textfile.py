import errno
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledgermind_obs import metrics
from ledgermind_obs.errors import DestinationError
from ledgermind_obs.metrics import LOADED_AT, METRICS, Series
from ledgermind_obs.sinks.exposition import exposition
from ledgermind_obs.sinks.textfile import Textfile
from tests.unit.reports import of_source, report, source, unmeasured

LABELS = {"project": "ledgermind", "target": "prod"}
SERIES = list(metrics.report_series(report(source("a"), unmeasured("b"))))


@pytest.fixture
def file(tmp_path: Path) -> Textfile:
    return Textfile(tmp_path / "dbt.prom", LABELS)


def test_what_was_put_is_known(file: Textfile) -> None:
    assert file.known(METRICS) == []

    file.put(SERIES)

    assert set(file.known(METRICS)) == set(SERIES)
    assert set(file.known([LOADED_AT])) == {s for s in SERIES if s.metric is LOADED_AT}


def test_a_post_replaces_only_what_it_names(file: Textfile) -> None:
    file.put(SERIES)

    file.post([Series(metrics.RUN_SUCCESS, (), 0.0)])

    expected = {s for s in SERIES if s.metric is not metrics.RUN_SUCCESS}
    assert set(file.known(METRICS)) == {*expected, Series(metrics.RUN_SUCCESS, (), 0.0)}


def test_nothing_but_the_file_is_left_and_everybody_may_read_it(file: Textfile) -> None:
    file.put(SERIES)

    assert [path.name for path in file.path.parent.iterdir()] == ["dbt.prom"]
    assert file.path.stat().st_mode & 0o777 == 0o644


def test_a_folder_that_is_not_there_is_one_clear_error(file: Textfile) -> None:
    nowhere = Textfile(file.path.parent / "nowhere" / "dbt.prom", LABELS)

    with pytest.raises(DestinationError, match=r"cannot write .*dbt\.prom: No such file"):
        nowhere.put(SERIES)


def test_an_empty_file_knows_nothing_and_is_filled(file: Textfile) -> None:
    file.path.touch()

    assert file.known(METRICS) == []
    file.put(SERIES)
    assert set(file.known(METRICS)) == set(SERIES)


def test_a_file_that_grows_while_it_is_read_is_not_believed(
    file: Textfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.put(SERIES)
    fstat = os.fstat

    def growing(descriptor: int) -> os.stat_result:
        found = fstat(descriptor)
        with file.path.open("ab") as other:
            other.write(OURS)
        return found

    monkeypatch.setattr(os, "fstat", growing)
    with pytest.raises(DestinationError, match="changed while it was read") as raised:
        file.known(METRICS)

    assert raised.value.next_step == "see who may read it, and what else writes it"


OTHERS = exposition(SERIES, {**LABELS, "target": "dev"})
OURS = exposition(SERIES, LABELS)
AHEAD = exposition([of_source(metrics.CHECKED_AT, 9e9)], LABELS)
NAN = exposition([of_source(LOADED_AT, float("nan"))], LABELS)
FOREIGN = r"holds other series than those of project ledgermind, target prod"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"my notes\n", FOREIGN),
        (b"up 1\n", FOREIGN),
        (OTHERS, FOREIGN),
        (OURS + OTHERS, FOREIGN),
        (OURS + b"node_load1 1\n", FOREIGN),
        (OURS[:-1], "was cut short"),
        (OURS[: len(OURS) // 2].rstrip(b"\n"), "was cut short"),
        (bytes(range(256)), "was cut short"),
    ],
)
@pytest.mark.parametrize("deed", ["known", "put", "post"])
def test_a_file_that_is_not_ours_alone_and_whole_is_not_touched(
    file: Textfile, deed: str, content: bytes, words: str
) -> None:
    file.path.write_bytes(content)

    with pytest.raises(DestinationError, match=words):
        getattr(file, deed)(METRICS if deed == "known" else SERIES)

    assert file.path.read_bytes() == content


@pytest.mark.parametrize(
    ("content", "words"),
    [(OURS + OURS, "twice"), (NAN, "is nan"), (AHEAD, "ahead of this machine")],
)
@pytest.mark.parametrize("deed", ["known", "post"])
def test_a_file_that_cannot_be_true_is_no_evidence(
    file: Textfile, deed: str, content: bytes, words: str
) -> None:
    file.path.write_bytes(content)

    with pytest.raises(DestinationError, match=f"cannot be believed: .*{words}"):
        getattr(file, deed)(METRICS if deed == "known" else [Series(metrics.RUN_SUCCESS, (), 0.0)])

    assert file.path.read_bytes() == content


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    os.mknod(path, 0o020666, os.makedev(1, 3))  # a null device of our own


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def a_loop(path: Path) -> None:
    path.symlink_to(path.name)


# Only root may make a device.
DEVICES = [(a_device, "it is a device")] if os.geteuid() == 0 else []
KINDS = [
    *DEVICES,
    (a_fifo, "it is a FIFO"),
    (a_socket, "it is a socket"),
    (Path.mkdir, "it is a directory"),
    (a_loop, "it is a symbolic link"),
]


@pytest.mark.parametrize(("make", "words"), KINDS)
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("deed", ["known", "put", "post"])
def test_what_is_no_file_is_refused_by_name_and_stays(
    file: Textfile, deed: str, make: Callable[[Path], None], words: str, linked: bool
) -> None:
    end = file.path.with_name("end") if linked else file.path
    make(end)
    if linked:
        file.path.symlink_to(end)
    before = os.lstat(end)

    with bounded(), pytest.raises(DestinationError, match=f"cannot read .*: {words}"):
        getattr(file, deed)(METRICS if deed == "known" else SERIES)

    assert os.path.samestat(before, os.lstat(end))
    assert file.path.is_symlink() == (linked or make is a_loop)


@contextmanager
def bounded() -> Iterator[None]:
    """Break off what hangs: a FIFO that is opened waits for its other end."""
    interrupt = threading.Timer(10, lambda: os.kill(os.getpid(), 2))
    interrupt.start()
    yield
    interrupt.cancel()
    interrupt.join()


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_followed_to_its_end_and_stays(file: Textfile, exists: bool) -> None:
    elsewhere = file.path.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "middle").symlink_to("real.prom")
    file.path.symlink_to(elsewhere / "middle")
    if exists:
        (elsewhere / "real.prom").write_bytes(OURS)

    file.put(SERIES)

    assert (elsewhere / "real.prom").read_bytes() == OURS
    assert not (elsewhere / "real.prom").is_symlink()
    assert file.path.is_symlink()
    assert (elsewhere / "middle").is_symlink()
    assert set(file.known(METRICS)) == set(SERIES)
    assert file.destination == Textfile(elsewhere / "real.prom", LABELS).destination


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("place", ["os.fsync", "os.open", "pathlib.Path.replace"])
def test_a_disk_that_fails_leaves_the_old_file_whole(
    file: Textfile, monkeypatch: pytest.MonkeyPatch, place: str, number: int
) -> None:
    file.put(SERIES)
    real = os.open

    def failing(*asked: object, **more: object) -> object:
        if place == "os.open" and not asked[1] & os.O_CREAT:  # type: ignore[operator]
            return real(*asked, **more)  # type: ignore[arg-type]
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(place, failing)
    with pytest.raises(DestinationError, match=f"cannot write .*: {os.strerror(number)}"):
        file.put(SERIES[:1])
    monkeypatch.undo()

    assert file.path.read_bytes() == OURS
    assert list(file.path.parent.iterdir()) == [file.path]


def test_a_file_that_may_not_grow_leaves_the_old_one_whole(file: Textfile) -> None:
    file.put(SERIES)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(DestinationError, match=r"cannot write .*: File too large"):
            file.put(SERIES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert file.path.read_bytes() == OURS
    assert list(file.path.parent.iterdir()) == [file.path]
