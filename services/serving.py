"""A server of this process: it answers in a thread of its own, and both end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer


@contextmanager
def serving(server: BaseServer, poll_seconds: float = 0.01) -> Iterator[None]:
    """Let ``server`` answer; it looks as often as that whether it is to end."""
    thread = threading.Thread(target=server.serve_forever, args=(poll_seconds,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
