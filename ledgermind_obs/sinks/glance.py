"""What a sink holds, looked at while the engine works: to notice, never to decide."""

from __future__ import annotations

import threading

from ledgermind_obs import metrics
from ledgermind_obs.sinks.deliver import Sink, held_by
from ledgermind_obs.sinks.known import Known


class Glance:
    """A look in a thread; ``held`` is what it has found, None before that and where it failed."""

    def __init__(self, sink: Sink) -> None:
        """Take the sink to look at; nothing happens yet."""
        self.sink = sink
        self.held: Known | None = None

    def begin(self) -> None:
        """Look, without being waited for."""
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        try:
            self.held = held_by(self.sink, [metrics.LAST_SUCCESS])
        except Exception:  # the delivery will say what is wrong, or nothing is
            self.held = None
