import errno
import fcntl
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledgermind_obs.dbt import lock
from ledgermind_obs.dbt.lock import holder, locked
from ledgermind_obs.errors import ConfigurationError, LockedError

HOLD = """
import sys
from pathlib import Path
from ledgermind_obs.dbt.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the lock."""
    argv = [sys.executable, "-c", HOLD, str(directory)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.communicate()


def assert_refused(directory: Path, holder: object) -> None:
    with pytest.raises(LockedError, match=f"process {holder}") as raised, locked(directory):
        pass
    assert "--lock-timeout" in raised.value.next_step


def test_a_second_run_is_refused_and_told_who_holds_the_lock(tmp_path: Path) -> None:
    with locked(tmp_path / "obs"):
        assert_refused(tmp_path / "obs", os.getpid())


def test_it_is_seen_who_holds_the_lock_without_taking_it(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with held_elsewhere(tmp_path) as process:
        assert [holder(tmp_path) for _ in range(5)] == [str(process.pid)] * 5
        (tmp_path / "obs.lock").write_text("no number")
        assert holder(tmp_path) == ""
    assert holder(tmp_path) is None
    with locked(tmp_path):
        pass


def test_who_clears_the_directory_lets_nobody_in(tmp_path: Path) -> None:
    directory = tmp_path / "target" / "obs"
    with held_elsewhere(directory) as process:
        shutil.rmtree(tmp_path / "target")
        assert_refused(directory, process.pid)

    with locked(directory):
        pass


def test_a_file_alone_keeps_a_second_run_out_where_the_kernel_has_no_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "other")
    with held_elsewhere(tmp_path) as process:
        assert_refused(tmp_path, process.pid)


def test_a_directory_is_the_same_by_whatever_link_it_is_reached(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    with held_elsewhere(tmp_path / "real") as process:
        shutil.rmtree(tmp_path / "real")
        (tmp_path / "real").mkdir()
        assert_refused(tmp_path / "link", process.pid)


def test_two_directories_are_held_side_by_side_also_if_their_paths_end_alike(
    tmp_path: Path,
) -> None:
    end = "long" * 40
    with locked(tmp_path / "one" / end), locked(tmp_path / "two" / end):
        pass


def test_a_run_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as process:
        process.kill()
        process.wait()
        with locked(tmp_path):
            pass


def test_a_child_that_outlives_the_run_does_not_hold_its_lock(tmp_path: Path) -> None:
    argv, pipe = ["/bin/sh", "-c", "echo; read _"], subprocess.PIPE
    with locked(tmp_path):
        child = subprocess.Popen(argv, stdin=pipe, stdout=pipe, close_fds=False)
        assert child.stdout
        child.stdout.readline()
    try:
        with locked(tmp_path):
            pass
    finally:
        child.communicate(b"\n")


def test_a_lock_file_that_was_replaced_while_waiting_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "obs.lock"
    descriptor = lock._open(path)
    path.unlink()
    try:
        assert lock._lock(descriptor, path)
        assert os.path.samestat(os.fstat(descriptor), path.stat())
    finally:
        os.close(descriptor)


def test_the_lock_is_free_again_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="boom"), locked(tmp_path):
        raise RuntimeError("boom")

    with locked(tmp_path):
        assert (tmp_path / "obs.lock").read_text() == str(os.getpid())


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("a file")

    with pytest.raises(ConfigurationError, match="cannot write below"), locked(tmp_path / "target"):
        pass


def a_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a FIFO"),
        (Path.mkdir, "a directory"),
        (a_dangling_link, "a symbolic link"),
        (lambda path: os.mknod(path, 0o600 | stat.S_IFSOCK), "a socket"),
    ],
)
def test_what_is_no_file_is_refused_by_name_and_not_waited_for(
    tmp_path: Path, make: Callable[[Path], object], kind: str
) -> None:
    make(tmp_path / "obs.lock")

    with pytest.raises(ConfigurationError, match=rf"obs\.lock is {kind}"), locked(tmp_path):
        pass
    assert not (tmp_path / "nowhere").exists()


def refusing(number: int) -> Callable[..., object]:
    def refuse(*_: object, **__: object) -> object:
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_full_disk_costs_the_lock_only_the_name_of_its_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", refusing(errno.ENOSPC))
    with locked(tmp_path), pytest.raises(LockedError), locked(tmp_path):
        pass


def test_a_disk_too_full_for_the_lock_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", refusing(errno.ENOSPC))
    with pytest.raises(ConfigurationError, match="No space left") as raised, locked(tmp_path):
        pass
    assert raised.value.next_step == "free some space"


def test_a_file_system_without_locks_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK))
    with pytest.raises(ConfigurationError, match="cannot lock"), locked(tmp_path):
        pass


def test_a_kernel_that_gives_no_names_leaves_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket.socket, "bind", refusing(errno.EPERM))
    with locked(tmp_path):
        assert_refused(tmp_path, os.getpid())


def test_what_dbt_leaves_in_the_directory_is_its_owners_alone(tmp_path: Path) -> None:
    old = tmp_path / "target" / "obs"
    old.mkdir(mode=0o755, parents=True)

    for directory in (old, tmp_path / "new" / "obs"):
        with locked(directory):
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(old.parent.stat().st_mode) & 0o055
