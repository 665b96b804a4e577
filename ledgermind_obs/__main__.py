"""The process: its standard streams and its signals first, then the command line."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_STANDARD_STREAMS = (0, 1, 2)


def main() -> None:
    """Run the command line, also as ``python -m ledgermind_obs``."""
    _open_what_is_closed()
    _end_on_signals()
    from ledgermind_obs.cli import main as run

    run()


def _open_what_is_closed() -> None:
    """Let no file that is opened later become one of the standard streams."""
    for number in _STANDARD_STREAMS:
        try:
            os.fstat(number)
        except OSError:  # this one is the lowest that is free, so that it is what open() returns
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _end_on_signals() -> None:
    """End in order when told to, and at once when told again.

    Interrupts count even where they were ignored at the start, as in a job in the background; a
    hang-up that is ignored is what ``nohup`` is for.
    """
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _end)


def _end(number: int, _: FrameType | None) -> None:
    """Leave by the ordinary way, so that dbt is ended and the lock let go."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) is _end:
            signal.signal(each, _end_at_once)
    sys.exit(128 + number)


def _end_at_once(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
