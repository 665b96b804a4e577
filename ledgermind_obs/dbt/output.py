"""A child's output, line by line: bounded, and read without waiting for whoever holds the pipe."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator

# dbt's longest events are some kilobytes; what is longer is no event, and is cut off here.
MAX_LINE_BYTES = 1 << 20
# A pipe holds 64 KiB unless somebody enlarged it: what dbt wrote before it ended is in there.
MOST_LEFT_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16


class Lines:
    """Makes lines of chunks; each line is at most ``MAX_LINE_BYTES`` long, the rest is dropped."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._begun = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the lines that end in the chunk."""
        *ended, begun = chunk.split(b"\n")
        for part in ended:
            self._add(part)
            yield from self.rest()
        self._add(begun)

    def rest(self) -> Iterator[bytes]:
        """Yield the line that has begun and not ended, if it is not empty."""
        line = bytes(self._begun)
        self._begun.clear()
        if line:
            yield line

    def _add(self, part: bytes) -> None:
        self._begun += part[: MAX_LINE_BYTES - len(self._begun)]


class Output:
    """The reading end of a child's pipe; ``on_line`` is called with each line."""

    def __init__(self, descriptor: int, on_line: Callable[[bytes], object]) -> None:
        """Take a descriptor, which is read without blocking from now on."""
        os.set_blocking(descriptor, False)
        self.on_line = on_line
        self.ended = False
        self._descriptor = descriptor
        self._lines = Lines()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def take(self, seconds: float) -> int:
        """Hand over what is there, after at most ``seconds``; return how many bytes it was."""
        if self.ended or not self._poll.poll(seconds * 1000):
            return 0
        try:
            chunk = os.read(self._descriptor, _CHUNK_BYTES)
        except BlockingIOError:  # somebody who shares the pipe was quicker
            return 0
        self.ended = not chunk
        for line in self._lines.feed(chunk):
            self.on_line(line)
        return len(chunk)

    def drain(self) -> None:
        """Hand over what is left in the pipe, and wait for nothing more."""
        left = MOST_LEFT_BYTES
        while left > 0 and (taken := self.take(0)):
            left -= taken
        for line in self._lines.rest():
            self.on_line(line)
