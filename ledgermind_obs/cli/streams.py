"""The standard streams of one run: nothing secret leaves by them, and no error comes from them.

Whoever has stopped reading, a full disk behind stdout and a stream that was closed before the start
are remembered in ``lost`` and stop nobody: a command goes on to its decision.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, TextIO

from ledgermind_obs.secrets import Outflow, escaped

# Writes what a stream's encoding does not have, such as an arrow in ASCII, so that JSON stays JSON.
_ESCAPED = "obs.escaped"


def _escape(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)  # noqa: S101 - streams only write
    return escaped(error.object[error.start : error.end]), error.end


codecs.register_error(_ESCAPED, _escape)


class Guard(io.BufferedIOBase):
    """The bytes of a standard stream on their way out; ``lost`` is why some did not get there."""

    def __init__(self, out: BinaryIO | None, encoding: str) -> None:
        """Take where the bytes go, None where that was closed before the start."""
        self.lost: int | None = None
        self._out = out
        self._flow = Outflow(encoding, _ESCAPED)

    @property
    def was_closed(self) -> bool:
        """Whether the stream was closed before the start."""
        return self._out is None

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._out is not None and self._out.isatty()

    def fileno(self) -> int:
        """Return the file descriptor; raises OSError where there is none."""
        if self._out is None:
            raise io.UnsupportedOperation("fileno")
        return self._out.fileno()

    def write(self, data: Any, /) -> int:
        """Send bytes at once, but for what may be the beginning of a secret: that waits."""
        content = bytes(data)
        self._send(self._flow.passed(content))
        return len(content)

    def close(self) -> None:
        """Send everything; the stream below stays open."""
        if not self.closed:
            self._send(self._flow.rest())
            super().close()

    def _send(self, content: bytes) -> None:
        if not content or self.lost is not None:
            return
        if self._out is None:
            self.lost = errno.EBADF
            return
        try:
            self._out.write(content)
            self._out.flush()
        except OSError as error:
            self._lose(error.errno or errno.EIO)

    def _lose(self, number: int) -> None:
        """Remember why, and lead what is still in buffers to nowhere: nobody flushes it in vain."""
        self.lost = number
        with suppress(OSError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self.fileno())


def stdout_was_closed() -> bool:
    """Return whether whoever started this process wants nothing of its output."""
    guard = getattr(sys.stdout, "buffer", None)
    return isinstance(guard, Guard) and guard.was_closed


@contextmanager
def guarded() -> Iterator[tuple[Guard, Guard]]:
    """Put guards before stdout and stderr for the time of one run, and yield them."""
    before = sys.stdout, sys.stderr
    guards = _guard(before[0]), _guard(before[1])
    sys.stdout, sys.stderr = (_text(*pair) for pair in zip(before, guards, strict=True))
    try:
        yield guards
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.close()
        sys.stdout, sys.stderr = before


def _guard(stream: TextIO | None) -> Guard:
    if stream is None:
        return Guard(None, "utf-8")
    stream.flush()
    return Guard(stream.buffer, stream.encoding)


def _text(stream: TextIO | None, guard: Guard) -> TextIO:
    """Return a text stream like the one before, which writes to the guard."""
    lines = stream is sys.stderr or bool(getattr(stream, "line_buffering", False))
    encoding = stream.encoding if stream else "utf-8"
    buffer: Any = guard  # typeshed asks for more than a text stream calls
    return io.TextIOWrapper(buffer, encoding, _ESCAPED, line_buffering=lines)
