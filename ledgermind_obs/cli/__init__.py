"""The command line: the only place that reads options, prints and exits."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from typing import NoReturn

import click

from ledgermind_obs import __version__
from ledgermind_obs.errors import ObsError

INTERNAL_ERROR = 70

# A run is short and leaves no cycles worth a search after every 700 objects, Python's default: that
# was a sixteenth of the time of a push of a thousand sources.
YOUNG_OBJECTS = 200_000

# Loaded when they are called: `obs --help` must not pay for what it does not use.
_COMMANDS = {
    "freshness": (
        "ledgermind_obs.cli.freshness",
        "Measure how fresh the sources are; push it, gate on it.",
    ),
    "lineage": ("ledgermind_obs.cli.lineage", "Say which data an exposure depends on."),
    "dashboard": ("ledgermind_obs.cli.dashboard", "Check Grafana dashboards and import them."),
    "rules": ("ledgermind_obs.cli.rules", "Check the alert rules."),
}


class _Obs(click.Group):
    """The root group: loads sub-commands late, and turns every failure into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            _reader_left()
        except Exception as error:
            _fail(error, debug=ctx.params["debug"])


@click.group(cls=_Obs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="obs")
@click.option("--debug", is_flag=True, envvar="OBS_DEBUG", help="Show the traceback of an error.")
def root(debug: bool) -> None:  # noqa: ARG001 - read from the context when an error comes
    """Dbt source freshness in Prometheus, and a gate in front of ML training."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)


def main() -> None:
    """Run the command line."""
    gc.set_threshold(YOUNG_OBJECTS)
    root(prog_name="obs")


def warn(message: str) -> None:
    """Write one line to stderr, in the form of every message of ``obs``."""
    click.echo(f"obs: {message}", err=True)


def explain(error: ObsError) -> None:
    """Write what failed and, below it, what to do next."""
    warn(str(error))
    for line in error.next_step.splitlines():
        click.echo(f"     {line}", err=True)


def _fail(error: Exception, *, debug: bool) -> NoReturn:
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, ObsError):
        explain(error)
        sys.exit(error.exit_code)
    warn(f"internal error: {type(error).__name__}: {error} (--debug shows where)")
    sys.exit(INTERNAL_ERROR)


def _terminate(number: int, _: object) -> NoReturn:
    """Leave by the ordinary way, so that dbt is ended and the lock let go."""
    sys.exit(128 + number)


def _reader_left() -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)
