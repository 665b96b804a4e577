"""The gate as a GitHub Action: `obs freshness check`, a summary, and an annotation per blocker.

Its exit code is the gate's own. Whatever cannot be read is a refusal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

REFUSED = 1


def main(options: list[str]) -> int:
    """Ask the gate, show what it says, and return its exit code; 0 only if it opens."""
    asked = subprocess.run(
        ["obs", "freshness", "check", *options, "--format", "json"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    verdict = read(asked.stdout)
    opens = asked.returncode == 0 and verdict["verdict"] == "pass"
    print(verdict["sentence"])
    for line in workflow_commands(verdict, opens=opens):
        print(line)
    write_summary(verdict, opens=opens)
    return 0 if opens else asked.returncode or REFUSED


def read(text: str) -> dict[str, Any]:
    """Return the verdict; one that cannot be read blocks."""
    try:
        found: dict[str, Any] = json.loads(text)
        return {**found, "verdict": str(found["verdict"]), "sentence": str(found["sentence"])}
    except (ValueError, KeyError, TypeError):
        return {"verdict": "block", "sentence": "DO NOT RUN: obs gave no verdict"}


def blockers(verdict: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield what blocks: its name, why, and what to do next."""
    for source in verdict.get("sources", ()):
        if source["blocks"]:
            why = source["message"] or f"{source['state']} {age(source)}".strip()
            yield source["name"], why, source["next_step"]
    for table in verdict.get("tables") or ():
        if table["blocks"]:
            yield table["name"], f"{table['kind']} {table['build']}", table["next_step"]
    for spot in verdict.get("blind_spots", ()):
        yield spot["name"], spot["reason"], ""


def age(source: Mapping[str, Any]) -> str:
    """Return how old a source is, in hours, if that is known."""
    seconds = source["age_seconds"]
    return "" if seconds is None else f"({seconds / 3600:.1f} h old)"


def workflow_commands(verdict: Mapping[str, Any], *, opens: bool) -> Iterator[str]:
    """Yield one line per annotation: errors for what blocks, none for an open gate."""
    if opens:
        return
    yield f"::error title=obs::{escaped(verdict['sentence'])}"
    for name, why, step in blockers(verdict):
        yield f"::error title={escaped_title(name)}::{escaped(f'{why}. {step}'.rstrip('. '))}"


def escaped(text: str) -> str:
    """Return a text as a workflow command takes it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escaped_title(text: str) -> str:
    """Return a text as a property of a workflow command."""
    return escaped(text).replace(":", "%3A").replace(",", "%2C")


def write_summary(verdict: Mapping[str, Any], *, opens: bool) -> None:
    """Append the verdict and a table of what blocks to the job's summary, if there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    lines = [f"### {'✅' if opens else '⛔'} {verdict['sentence']}", ""]
    rows = [[cell.replace("|", "\\|") for cell in row] for row in blockers(verdict)]
    if rows:
        lines += ["| blocks | why | next |", "|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
    with Path(path).open("a", encoding="utf-8") as summary:
        summary.write("\n".join([*lines, "", ""]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
