"""Work that is done while a server is waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TypeVar

_T = TypeVar("_T")


@contextmanager
def beside(work: Callable[[], _T]) -> Iterator[Callable[[], _T]]:
    """Do the work in a thread of its own; yield what waits for it and returns what came of it.

    That raises what the work raised. No way out of the block leaves the work undone.
    """
    done, failed = list[_T](), list[Exception]()

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:
            failed.append(error)

    def result() -> _T:
        thread.join()
        if failed:
            raise failed[0]
        return done[0]

    thread = Thread(target=run)
    thread.start()
    try:
        yield result
    finally:
        thread.join()
