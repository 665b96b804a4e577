"""What one Pushgateway and one Prometheus carry: push, scrape and rule times, memory, by sources.

python -m bench.scaling gateway --sources 1000     pushes, alone and beside up to nine groups
python -m bench.scaling rules --sources 1000       rounds of the project's own rules
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import psutil
import yaml

from bench.measure import Command
from services.monitoring import prometheus_config, prompt_rules
from services.prometheus import HttpService, Prometheus, Pushgateway, prometheus, pushgateway
from tests.replay import multiplied

OBS = str(Path(sys.executable).with_name("obs"))
NEIGHBOURS = 9
SCRAPE_SECONDS = 15
PATIENCE_SECONDS = 840.0
UNCHECKED = "--push.disable-consistency-check"


@click.group()
def main() -> None:
    """Measure on services of its own; the machine should do nothing else."""


@dataclass(frozen=True)
class Shop:
    """A replayed project of many sources, and where its pushes go."""

    directory: Path
    executable: Path

    def push(self, *options: str) -> Command:
        """Return the command of a push; dbt's own time is not in it."""
        argv = [OBS, "freshness", "push", "--dbt", str(self.executable), *options]
        return Command(argv, self.directory, dict(os.environ))


def shop(directory: Path, sources: int) -> Shop:
    """Write a project of so many sources, which a replayed dbt answers for."""
    directory.mkdir()
    return Shop(directory, multiplied(directory, sources))


@main.command()
@click.option("--sources", default=1_000, show_default=True)
@click.option("--runs", default=5, show_default=True)
def gateway(sources: int, runs: int) -> None:
    """Time pushes of one group, alone and beside one to nine others of its size."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        project = shop(directory / "shop", sources)
        bare = _median(project.push("--textfile", str(directory / "dbt.prom")), runs)
        print(f"{sources} sources: to a file {bare:.2f} s")
        for name, flags in (("checked", ()), ("unchecked", (UNCHECKED,))):
            with pushgateway(directory / name, flags=flags) as server:
                _time_pushes(project, server, name, runs)


def _time_pushes(project: Shop, server: Pushgateway, name: str, runs: int) -> None:
    """Print a line per number of groups, until a push or a scrape is too slow to end."""
    here = ("--pushgateway", server.url)
    try:
        _print_gateway(server, f"{name}, alone", _median(project.push(*here), runs))
        for number in range(1, NEIGHBOURS + 1):
            project.push(*here, "--grouping-key", f"shard={number}")()
            seconds = _median(project.push(*here), runs)
            _print_gateway(server, f"{name}, beside {number} groups", seconds)
    except (RuntimeError, TimeoutError) as error:
        print(f"  {name}: beyond that, {str(error).rpartition('obs: ')[2].strip()}")


def _print_gateway(server: Pushgateway, name: str, seconds: float) -> None:
    began = time.perf_counter()
    text = server.metrics()
    scrape = time.perf_counter() - began
    series = sum(1 for line in text.splitlines() if line and not line.startswith("#"))
    print(
        f"  {name:<28} push {seconds:.2f} s   {series:,} series, {len(text) / 1e6:.1f} MB   "
        f"scrape {scrape:.2f} s   {_rss_mib(server):.0f} MiB"
    )


def _median(command: Command, runs: int) -> float:
    command()
    return statistics.median(command().seconds for _ in range(runs))


def _rss_mib(service: HttpService) -> float:
    assert service.server.pid  # noqa: S101 - it runs
    return psutil.Process(service.server.pid).memory_info().rss / 2**20


@main.command()
@click.option("--sources", default=1_000, show_default=True)
@click.option("--rounds", default=240, show_default=True, help="240 fill two hours of 30 seconds.")
@click.option("--seconds", default=1, show_default=True, help="From one round to the next.")
def rules(sources: int, rounds: int, seconds: int) -> None:
    """Time rounds of the project's rules, while the two hours that they look back on fill."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        project = shop(directory / "shop", sources)
        with (
            pushgateway(directory) as server,
            _prometheus(directory, server.url, seconds) as watching,
        ):
            project.push("--pushgateway", server.url)()
            _await(lambda: bool(watching.query("count(dbt_source_loaded_at_seconds)")))
            _print_rounds(watching, sources, list(_rounds(watching, rounds)))


@contextmanager
def _prometheus(directory: Path, gateway_url: str, seconds: int) -> Iterator[Prometheus]:
    text = prometheus_config(
        directory, {"pushgateway": gateway_url}, "http://127.0.0.1:1", quick=False
    )
    config = yaml.safe_load(text)
    config["global"] |= {
        "evaluation_interval": f"{seconds}s",
        "scrape_interval": f"{SCRAPE_SECONDS}s",
    }
    # A round of each group, as often as asked for: the groups' own intervals would stretch it.
    config["rule_files"] = [str(path) for path in prompt_rules(directory / "rules")]
    del config["alerting"]
    with prometheus(directory, yaml.safe_dump(config)) as server:
        yield server


def _rounds(server: Prometheus, rounds: int) -> Iterator[float]:
    """Yield what each round of all groups took, in seconds, until there were so many."""
    first = seen = _number(server.metrics(), "prometheus_rule_group_iterations_total")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while seen - first < rounds and time.monotonic() < deadline:
        text = server.metrics()
        now = _number(text, "prometheus_rule_group_iterations_total")
        if now > seen:
            seen = now
            yield sum(_values(text, "prometheus_rule_group_last_duration_seconds"))
        time.sleep(0.2)


def _print_rounds(server: Prometheus, sources: int, taken: Sequence[float]) -> None:
    tenth = max(1, len(taken) // 10)
    text = server.metrics()
    (head,) = _values(text, "prometheus_tsdb_head_series")
    (scrape,) = (float(s["value"][1]) for s in server.query("scrape_duration_seconds"))
    print(
        f"{sources} sources: {len(taken)} rounds seen; the first tenth took "
        f"{statistics.median(taken[:tenth]):.2f} s each, the last "
        f"{statistics.median(taken[-tenth:]):.2f} s (slowest {max(taken):.2f} s); "
        f"{head:,.0f} series in memory, {_rss_mib(server):.0f} MiB, scrape {scrape:.2f} s"
    )


def _values(text: str, metric: str) -> list[float]:
    found = re.findall(rf"^{metric}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
    return [float(value) for value in found]


def _number(text: str, metric: str) -> int:
    """Return the smallest value of a metric over all groups."""
    return int(min(_values(text, metric), default=0))


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("scaling: nothing was scraped")
        time.sleep(0.5)


if __name__ == "__main__":
    main()
