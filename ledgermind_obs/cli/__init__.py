"""The command line: the only place that reads options, prints and exits."""

from __future__ import annotations

import errno
import gc
import os
import sys
import threading
from typing import Any, NoReturn

import click

from ledgermind_obs import secrets
from ledgermind_obs.cli.groups import LateGroup
from ledgermind_obs.cli.streams import guarded
from ledgermind_obs.errors import ObsError

# What was to be printed is lost: stdout is closed, or full.
OUTPUT_LOST = 5
INTERNAL_ERROR = 70
# As a shell has it: 128 and the signal's number.
INTERRUPTED = 130
READER_LEFT = 141

# A run is short and leaves no cycles worth a search after every 700 objects, Python's default: that
# was a sixteenth of the time of a push of a thousand sources.
YOUNG_OBJECTS = 200_000

_COMMANDS = {
    "freshness": (
        "ledgermind_obs.cli.freshness",
        "Measure how fresh the sources are; push it, gate on it.",
    ),
    "builds": ("ledgermind_obs.cli.builds", "Push what dbt last built, and how old its data is."),
    "lineage": ("ledgermind_obs.cli.lineage", "Show which data an exposure depends on."),
    "dashboard": (
        "ledgermind_obs.cli.dashboard",
        "Write Grafana dashboards, check and import them.",
    ),
    "rules": ("ledgermind_obs.cli.rules", "Write alert rules and check them."),
    "doctor": ("ledgermind_obs.cli.doctor", "Find where the chain is broken, and what to do."),
    "completion": ("ledgermind_obs.cli.completion", "Complete commands and names in a shell."),
}


class _Obs(LateGroup):
    """The root group: turns every failure into one line."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run one command line and exit with its code, whatever becomes of its output."""
        secrets.forget()
        secrets.register_environment(os.environ.items())
        with guarded() as (output, _):
            code, decided = self._outcome(*args, **extra)
            sys.stdout.close()
            if output.lost not in {None, errno.EPIPE}:
                warn(f"cannot write to stdout: {_reason(output.lost)}")
            if output.lost and not decided:
                code = code or (READER_LEFT if output.lost == errno.EPIPE else OUTPUT_LOST)
        sys.exit(code)

    def _outcome(self, *args: Any, **extra: Any) -> tuple[int, bool]:
        """Return the exit code, and whether the command decided it instead of just ending.

        A command that ends is there for its output; one that exits is there for its code.
        """
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except SystemExit as ended:
            if ended.code == INTERRUPTED:
                warn("interrupted")
            return int(ended.code or 0), True
        except click.ClickException as error:
            error.show()
            return error.exit_code, False
        except click.Abort as aborted:
            warn("interrupted" if aborted.__cause__ else "stopped: nothing was done")
            return INTERRUPTED if aborted.__cause__ else 1, False
        except BaseException as error:
            return _told(error, debug=False), False
        return code if isinstance(code, int) else 0, False

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except (KeyboardInterrupt, EOFError, SystemExit):
            raise
        except BaseException as error:
            sys.exit(_told(error, debug=ctx.params["debug"]))


def _tell_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from ledgermind_obs.cli.version import version_lines

        click.echo("\n".join(version_lines()))
        ctx.exit()


@click.group(cls=_Obs, late=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_version,
    help="Show the versions of obs, Python and dbt, and exit.",
)
@click.option("--debug", is_flag=True, envvar="OBS_DEBUG", help="Show the traceback of an error.")
@click.pass_context
def root(ctx: click.Context, debug: bool) -> None:
    """Dbt source freshness in Prometheus, and a gate in front of ML training."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    elif os.environ.get("FORCE_COLOR"):
        ctx.color = True


def main() -> None:
    """Run the command line in a process of its own."""
    gc.set_threshold(YOUNG_OBJECTS)
    threading.excepthook = lambda raised: tell_unexpected(raised.exc_value)
    root(prog_name="obs")


def warn(message: str) -> None:
    """Write one line to stderr, in the form of every message of ``obs``."""
    click.echo(f"obs: {_one_line(message)}", err=True)


def explain(error: ObsError) -> None:
    """Write what failed and, below it, what to do next."""
    warn(str(error))
    for line in error.next_step.splitlines():
        click.echo(f"     {_one_line(line)}", err=True)


def _told(error: BaseException, *, debug: bool) -> int:
    """Say what failed, and return the exit code for it."""
    if debug:
        from ledgermind_obs.cli.faults import trace

        click.echo(trace(error), err=True)
    if isinstance(error, ObsError):
        explain(error)
        return error.exit_code
    tell_unexpected(error)
    return INTERNAL_ERROR


def tell_unexpected(error: BaseException | None) -> None:
    """Say what went wrong in ``obs`` itself."""
    from ledgermind_obs.cli.faults import sentence

    if error is not None:
        warn(sentence(error))


def _one_line(text: str) -> str:
    """Return the text without line ends, and without what a terminal would obey."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _reason(number: int | None) -> str:
    return "it is closed" if number == errno.EBADF else os.strerror(number or 0)
