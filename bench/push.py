"""What ``obs`` costs: its start, its work beside a bare dbt, and its growth with the sources."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click

from bench.measure import Command, median_ratio, median_seconds, report, side_by_side
from services.postgres import Postgres, postgres
from services.prometheus import pushgateway
from tests.replay import multiplied

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
OBS, DBT = str(BIN / "obs"), str(BIN / "dbt")
STALE = (0, 1)


@click.command()
@click.option("--runs", default=9, show_default=True, help="Counted runs of each command.")
def main(runs: int) -> None:
    """Print each ratio with its limit; end with 1 where one is over."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        results = [help_ratio(runs), growth_ratio(directory)]
        with postgres(directory / "postgres") as server:
            results += push_ratios(server, directory, max(5, runs // 2))
    sys.exit(0 if all(results) else 1)


def help_ratio(runs: int) -> bool:
    """Compare ``obs --help`` with the import of click alone."""
    env = dict(os.environ)
    ours = Command([OBS, "--help"], ROOT, env)
    bare = Command([sys.executable, "-c", "import click"], ROOT, env)
    first, second = side_by_side(ours, bare, runs * 3)
    detail = f"{median_seconds(first):.3f} s / {median_seconds(second):.3f} s"
    return report("obs --help / import click", median_ratio(first, second), 1.6, detail)


def push_ratios(server: Postgres, directory: Path, runs: int) -> list[bool]:
    """Compare a whole push with a bare ``dbt source freshness``, both warm."""
    with pushgateway(directory) as gateway:
        env = {**os.environ, **server.env(), "PUSHGATEWAY_URL": gateway.url}
        env["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "false"
        load = Command([sys.executable, "-m", "demo.data", "--transactions", "2000"], ROOT, env)
        load()
        dbt = [DBT, "source", "freshness", "--target-path", str(directory / "bare")]
        bare = Command(dbt, ROOT / "warehouse", env, STALE)
        target = ["--target-path", str(directory / "target")]
        ours = Command([OBS, "freshness", "push", *target], ROOT / "warehouse", env)
        first, second = side_by_side(ours, bare, runs)
    detail = f"{median_seconds(first):.2f} s / {median_seconds(second):.2f} s"
    peak = max(run.peak_mib for run in first)
    return [
        report(
            "obs freshness push / dbt source freshness", median_ratio(first, second), 1.05, detail
        ),
        report("obs freshness push: own memory, MiB", peak, 60, "peak of its own process"),
    ]


def growth_ratio(directory: Path) -> bool:
    """Compare 10,000 with 1,000 sources on a replayed run: ten times the work, the time below."""
    commands = [_replayed(directory, sources) for sources in (10_000, 1_000)]
    first, second = side_by_side(commands[0], commands[1], 5)
    detail = f"{median_seconds(first):.2f} s / {median_seconds(second):.2f} s"
    return report(
        "push of 10,000 / 1,000 replayed sources", median_ratio(first, second), 11, detail
    )


def _replayed(directory: Path, sources: int) -> Command:
    project = directory / f"replay-{sources}"
    project.mkdir()
    executable = multiplied(project, sources)
    argv = [OBS, "freshness", "push", "--dbt", str(executable)]
    return Command([*argv, "--textfile", str(project / "dbt.prom")], project, dict(os.environ))


if __name__ == "__main__":
    main()
