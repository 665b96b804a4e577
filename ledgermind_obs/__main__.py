"""The process: its standard streams and its signals first, then the command line."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STANDARD_STREAMS = (0, 1, 2)
# When an end is tried again that could not be had at once.
_AGAIN_SECONDS = 0.01


def main() -> None:
    """Run the command line, also as ``python -m ledgermind_obs``.

    It ends without Python's own ending: everything is written, and to take each object apart is
    12 ms of a push of a thousand sources.
    """
    _open_what_is_closed()
    try:
        with _ending_when_told():
            from ledgermind_obs.cli import main as run

            run()
    except SystemExit as ended:
        os._exit(int(ended.code or 0))


def _open_what_is_closed() -> None:
    """Let no file that is opened later become one of the standard streams."""
    for number in _STANDARD_STREAMS:
        try:
            os.fstat(number)
        except OSError:  # this one is the lowest that is free, so that it is what open() returns
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


@contextmanager
def _ending_when_told() -> Iterator[None]:
    """End in order when told to, and at once when told again.

    Interrupts count even where they were ignored at the start, as in a job in the background; a
    hang-up that is ignored is what ``nohup`` is for.
    """
    sys.unraisablehook = _take_up
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _end)
    try:
        yield
    finally:
        if any(signal.getitimer(signal.ITIMER_REAL)):  # no good end overtakes one that was put off
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.raise_signal(signal.SIGALRM)


def _end(number: int, frame: FrameType | None) -> None:
    """Leave by the ordinary way, so that dbt is ended and the lock let go."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) is _end:
            signal.signal(each, _end_at_once)
    _leave(128 + number, frame)


def _leave(code: int, frame: FrameType | None) -> None:
    """Exit, but not from within an import: modules in C drop what is raised while they load."""
    if _is_importing(frame):
        _leave_later(code)
    else:
        sys.exit(code)


def _leave_later(code: int) -> None:
    signal.signal(signal.SIGALRM, lambda _, frame: _leave(code, frame))
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _take_up(passed_over: sys.UnraisableHookArgs) -> None:
    """Say what Python would pass over, and try an end again that it met in a callback.

    https://docs.python.org/3/library/sys.html#sys.unraisablehook
    """
    error = passed_over.exc_value
    if isinstance(error, SystemExit):
        _leave_later(int(error.code or 0))
        return
    from ledgermind_obs.cli import tell_unexpected

    tell_unexpected(error)


def _end_at_once(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
