"""Write the pages that follow from the code, and README's table of states."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from ledgermind_obs.cli import root
from ledgermind_obs.doctor import canary
from ledgermind_obs.doctor.check import Area, Check, Claim
from ledgermind_obs.doctor.checks import CHECKS
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


DOCTOR_HEAD = """# obs doctor

`obs doctor` walks the whole chain, from dbt to whoever is notified, and says where it is broken:

```text
$ obs doctor
dbt
  ok       dbt-project             project shop, profile shop, target prod, in /app/warehouse
  …
Prometheus
  ok       prometheus-answers      http://prometheus:9090 answers
  failed   prometheus-scrapes      job pushgateway cannot scrape http://pushgateway:9091/metrics: connection refused
           expected: Prometheus scrapes the gateway
           next: see whether Prometheus reaches the gateway at this address
           more: https://…/docs/doctor.md#prometheus-scrapes
  skipped  prometheus-labels       because prometheus-scrapes failed
  …

38 ok, 1 failed, 14 skipped (1.2 s)
```

Each check is a sentence that is true or not, and says what it saw.

| state | meaning | exit code |
|---|---|---|
| ok | it is so | 0 |
| warning | no fault yet, and something to do | 0 |
| failed | it is not so; the next step is named | 1 |
| skipped | there was nothing to look at: it is not configured, or what it needs failed | 0 |

A failure skips only what depends on it, so that the first one named is the one to mend. The checks run
side by side, by the same code as the other commands: what lets `push` or `check` fail lets a check
fail here. The doctor takes the options of `push`, so give it those of your cron line.

- **What it looks at.** dbt, the warehouse and the gateway always; Prometheus, Alertmanager and Grafana
  if `--prometheus`, `--alertmanager` and `--grafana` (or `PROMETHEUS_URL`, `ALERTMANAGER_URL`,
  `GRAFANA_URL`) say where they are. What is not configured is skipped, with that reason.
- **Part of it.** `obs doctor gateway` makes the checks of one area, `obs doctor rules-loaded` one
  check; in both cases with what they need. `--list` lists them.
- **Time.** Each check has a few seconds, all together `--deadline` (20 s). What has not answered by
  then failed, and says so. A project that dbt measures for longer needs a longer one.
- **What it changes.** Nothing but a directory of its own below dbt's target directory: it measures there
  and takes no lock that a push waits for. It cannot know whether the gateway would take a push;
  `--end-to-end` finds that out.
- **Programs** read `--format json`: `failed` names the failed checks, `checks` has each with `state`,
  `observed`, `next_step`, `help` and `seconds`.

## End to end

`obs doctor --end-to-end` also sends a canary: one series, `obs_canary_timestamp_seconds`, in a group of
its own with a nonce. It waits until Prometheus has it and, if an alert looks at it, until that alert
reached Alertmanager. Each hop is timed, and has `--hop-timeout`. Then the canary is taken away again, and
the doctor waits until it is gone everywhere. That also happens after Ctrl-C or SIGTERM, and if half of
it failed. What a doctor left behind that was killed with SIGKILL, a later one takes away after ten
minutes.

Without an alert on the canary the way from Prometheus to Alertmanager is not tried, and the doctor says
so. This rule is such an alert, and the route keeps it from people:

```yaml
groups:
  - name: obs-canary
    rules:
      - alert: ObsCanary
        expr: obs_canary_timestamp_seconds
        labels: {severity: none}
        annotations: {summary: obs doctor --end-to-end is at work}
```

```yaml
route:
  routes:
    - matchers: [alertname="ObsCanary"]
      receiver: nobody
receivers:
  - name: nobody
```
"""


def doctor_page() -> str:
    """Return docs/doctor.md."""
    claims: list[Claim] = [*CHECKS, *canary.CLAIMS]
    areas = [[claim for claim in claims if claim.area is area] for area in Area]
    return DOCTOR_HEAD + "".join(
        _area(area, found) for area, found in zip(Area, areas, strict=True)
    )


def _area(area: Area, claims: list[Claim]) -> str:
    page = (HERE / "troubleshooting.md").read_text()
    more = f"[Symptoms, and how to see them](troubleshooting.md#{area.lower()}).\n"
    has_more = f"\n## {area}\n".lower() in page.lower()
    head = f"\n## Checks: {area}\n" + (f"\n{more}" if has_more else "")
    return head + "".join(map(_claim, claims))


def _claim(claim: Claim) -> str:
    lines = [f"\n### {claim.name}\n", f"{_capitalised(claim.sentence)}.\n"]
    before = (*claim.needs, *claim.after) if isinstance(claim, Check) else ()
    links = ", ".join(f"[{name}](#{name})" for name in before)
    lines += [f"Looked at after {links}.\n"] if links else []
    return "\n".join([*lines, f"If not: {claim.hint}.\n"])


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]


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
    (HERE / "doctor.md").write_text(doctor_page())
    README.write_text(readme())


if __name__ == "__main__":
    main()
