"""The commands of docs/quickstart.md, and what the page says that they print."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "quickstart.md").read_text()
COMMAND_SECONDS = 60

_GATEWAY = "http://pushgateway:9091"


def blocks() -> Iterator[list[str]]:
    """Yield the indented blocks of the page, without their indentation."""
    for block in re.findall(r"(?:^    .*\n)+", PAGE, re.MULTILINE):
        yield [line[4:] for line in block.splitlines()]


def typed() -> Iterator[tuple[str, list[str]]]:
    """Yield each command of the page with the lines that it is said to print."""
    for block in blocks():
        found = "\n".join(block)
        for command in re.split(r"^\$ ", found, flags=re.MULTILINE)[1:]:
            line, *printed = command.splitlines()
            yield line, printed


def type_in(command: str, directory: Path, gateway: str, env: Mapping[str, str]) -> str:
    """Type a command of the page; return what it prints, with the page's gateway for ours."""
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", command.replace(_GATEWAY, gateway)],
        cwd=directory,
        env=env,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout.replace(gateway, _GATEWAY)
