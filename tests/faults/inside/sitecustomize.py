"""Goes wrong inside ``obs``: at the n-th event of a kind, a signal or an error of the system.

Python imports this module at its start if its directory is on ``PYTHONPATH``. ``$FAULTS_HOOK`` says
what is to happen: which audit event, a pattern of its arguments, which occurrence, and what then.
"""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from typing import Any


def _is_obs() -> bool:
    return any(os.path.basename(arg) == "obs" for arg in sys.orig_argv[:3])


class _Hook:
    """Counts the events that match, and acts once."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.event, self.do, self.left = told["event"], told["do"], int(told["nth"])
        self.pattern = re.compile(told["pattern"])
        self.mark, self.how = told["mark"], told["how"]
        self.every = bool(told["every"])

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        if event != self.event or self.left == 0 or not self.pattern.search(_text(args)):
            return
        self.left -= 1
        if self.left == 0:
            self.left = int(self.every)
            self.act()

    def act(self) -> None:
        left, self.left = self.left, 0  # what happens in here is not counted
        os.close(os.open(self.mark, os.O_WRONLY | os.O_CREAT))
        self.left = left
        if self.do == "signal":
            os.kill(os.getpid(), self.how)
        elif self.do == "errno":
            raise OSError(getattr(errno, self.how), os.strerror(getattr(errno, self.how)))
        else:
            raise _ERRORS[self.do](self.how)


class UnexpectedError(Exception):
    """An error of somebody else's, of which nobody has heard."""


_ERRORS: dict[str, type[BaseException]] = {
    "unexpected": UnexpectedError,
    "value-error": ValueError,
    "memory-error": MemoryError,
    "recursion-error": RecursionError,
}


def _text(args: tuple[object, ...]) -> str:
    return " ".join(str(arg) for arg in args)


if (told := os.environ.get("FAULTS_HOOK")) and _is_obs():
    sys.addaudithook(_Hook(json.loads(told)))
