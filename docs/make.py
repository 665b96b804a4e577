"""Write the pages that follow from the code: metrics.md, commands.md, README's table of states."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from ledgermind_obs.cli import root
from ledgermind_obs.freshness import STATES, State
from ledgermind_obs.metrics import METRICS

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
STATES_HEAD = "| state | meaning |\n|---|---|\n| `pass` `warn` `error` | dbt's verdict |\n"

METRICS_HEAD = """# Metrics

Every metric is a gauge. Times are Unix seconds, durations are seconds. A push adds its grouping
key to every series: `job="dbt-freshness"`, `project`, `target`, and what `--grouping-key` adds. A
textfile has `project` and `target` on every series instead. What `obs builds push` sends has
`job="dbt-builds"`, and a textfile of its own.

| metric | labels | value |
|---|---|---|
"""

METRICS_STATES = """
## The states

`status` is one of these, from what needs no attention to what needs it most:

| state | meaning | what to do |
|---|---|---|
"""

METRICS_PUSHES = """
## What a push changes, and what it never erases

| the run | what the sink holds afterwards |
|---|---|
| produced a report of the whole project | the report; sources that left the project are gone |
| produced a report of a `--select`ion | the selected sources are new, every other source's series are as before |
| could not measure some source | that source's status says so; its last known times stay, so its age goes on growing |
| found a table empty | its status is `empty`, and it has no `dbt_source_loaded_at_seconds` |
| produced no report, or was told to end | `dbt_freshness_run_success` is 0; every other series is as before |
| could not reach the sink | what was there before |
| finds that the gateway lost the group, or has an old copy of it | the last known times again, with any run, failed ones included |

What a push must keep it reads from the sink first, and believes only an answer that is provably a
Pushgateway's, whole, and possible: status 200, plain text, its length told, `pushgateway_build_info` in
it, no series twice, no time that lies ahead. Otherwise nothing is sent, and the exit code is 5.

What was last delivered is also remembered on the host, in `target/obs/TARGET/delivered/` of the dbt
project: a private file for each gateway and group, replaced whole, after the gateway has confirmed the
push. Of the two, the later look at a source counts, so that its time never goes back because of a
stale copy. An older, newer or lost group is said in one line; a newer one means that another host or
directory pushes it too. A run with `--engine postgres` that measured everything asks nobody, and
notices no such thing. A memory that is damaged is ignored with a line; without one (a first run, a
cleaned target directory) the gateway's own answer counts.

A textfile is a regular file, or does not exist yet; a link is followed to its end, and stays. A file
that was cut short, or has other series than those of this project and target, is not touched.
"""

COMMANDS_HEAD = """# Commands

Every option has an environment variable; a flag beats it. Results go to stdout, messages to
stderr. Secrets come from a file or from the environment, never from a flag's value.

| exit code | meaning |
|---|---|
| 0 | done; for `push`: the metrics are delivered, whatever they say |
| 1 | a check failed |
| 2 | usage, configuration, or nothing to measure |
| 3 | dbt, or the database, gave no result |
| 4 | the result cannot be used: of another run, cut short, of an unknown schema |
| 5 | the destination refused, or cannot be reached |
| 6 | another `obs` run on this project holds the lock |
| 70 | a fault of `obs` itself |
"""


def metrics_page() -> str:
    """Return docs/metrics.md."""
    rows = (
        f"| `{metric.name}` | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |"
        for metric in METRICS
    )
    states = (
        f"| `{state}` | {meaning.text} | {meaning.next_step} |" for state, meaning in STATES.items()
    )
    return "\n".join(
        [METRICS_HEAD + "\n".join(rows), METRICS_STATES + "\n".join(states), METRICS_PUSHES]
    )


def readme() -> str:
    """Return README.md with the states that are not dbt's verdicts in its table."""
    before, head, after = README.read_text().partition(STATES_HEAD)
    own = (state for state in STATES if state not in {State.PASS, State.WARN, State.ERROR})
    rows = (f"| `{state}` | {STATES[state].text} |" for state in own)
    _, end, rest = after.partition("\n\n")
    return "".join([before, head, "\n".join(rows), end, rest])


def commands_page() -> str:
    """Return docs/commands.md."""
    return COMMANDS_HEAD + "".join(_section(context) for context in commands())


def commands() -> Iterator[click.Context]:
    """Yield the context of every command that is not a group; its path is the words to type."""
    yield from _walk(
        root.make_context(
            "obs", [], resilient_parsing=True, terminal_width=80, max_content_width=80
        )
    )


def _walk(context: click.Context) -> Iterator[click.Context]:
    group = context.command
    if not isinstance(group, click.Group):
        yield context
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command:
            yield from _walk(click.Context(command, info_name=name, parent=context))


def _section(context: click.Context) -> str:
    text = context.command.get_help(context)
    return f"\n## {context.command_path}\n\n```text\n{text}\n```\n"


def main() -> None:
    """Write the pages."""
    (HERE / "metrics.md").write_text(metrics_page())
    (HERE / "commands.md").write_text(commands_page())
    README.write_text(readme())


if __name__ == "__main__":
    main()
