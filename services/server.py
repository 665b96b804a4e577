"""One server process: started on loopback, awaited by a condition, and always ended."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
START_SECONDS = 30.0
STOP_SECONDS = 5.0

# Below Linux's range for outgoing connections, which would take a port while its server is down.
_PORTS = range(20_000, 32_000)
_TAIL_LINES = 20

# Linux ends a child when the *thread* that started it ends, so one lasting thread starts them all.
_launcher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="launcher")


class ServiceError(Exception):
    """A server that did not start; the message carries the end of its log."""


@dataclass
class Server:
    """A server process that can be taken down and up again; ``log`` keeps what it prints.

    ``user`` is the id it runs as, ``env`` what it gets beside our environment, ``cwd`` where.
    """

    name: str
    command: Sequence[str | Path]
    log: Path
    ready: Callable[[], bool]
    stop_signal: signal.Signals = signal.SIGTERM
    user: int | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        """The process id, or None while it is down."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it and return once it answers; raise ServiceError where it does not."""
        if self._process:
            return
        self._process = _launcher.submit(self._launch).result()
        try:
            self._wait_ready(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it and return once it is gone; kill it where it takes too long."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(self.stop_signal)
        try:
            process.wait(STOP_SECONDS)
        except BaseException as error:
            process.kill()
            process.wait(STOP_SECONDS)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it for the length of a ``with`` block."""
        try:
            self.start()
            yield
        finally:
            self.stop()

    def _launch(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*_ended_with_us(self.stop_signal), *map(str, self.command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end what we started
                user=self.user,
                env={**os.environ, **self.env},
                cwd=self.cwd,
            )

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None:
            if self.ready():
                return
            if time.monotonic() > deadline:
                raise self._failure(f"did not answer within {START_SECONDS:.0f} s")
            time.sleep(0.02)
        raise self._failure(f"ended with exit code {process.returncode}")

    def _failure(self, what: str) -> ServiceError:
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return ServiceError("\n  ".join([f"{self.name} {what}; its log ends with:", *lines]))


def free_port() -> int:
    """Return a port on loopback that nothing listens on."""
    for port in random.sample(_PORTS, k=200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise ServiceError(f"no free port found on {HOST} from {_PORTS.start} to {_PORTS.stop}")


def _ended_with_us(stop_signal: signal.Signals) -> list[str]:
    """Return the prefix that makes a server end with us, even if we are killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", stop_signal.name.removeprefix("SIG"), "--"] if setpriv else []
