"""Becomes a command, with streams closed, signals ignored and limits set as the first word says."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any


def main(told: dict[str, Any], argv: list[str]) -> None:
    ignored = set(told["ignored"])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
    for name, limit in told["limits"].items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    for descriptor in told["closed"]:
        os.close(descriptor)
    os.execv(argv[0], argv)  # noqa: S606 - that is its purpose


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
