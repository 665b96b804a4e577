"""The one form of a refusal: whatever keeps a gate from opening ends in it.

A gate's command decides and returns an answer; only then is anything printed. It ends with 0 only
after an open answer: wrong options, a failure, a signal and a fault of ``obs`` itself are refusals.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from ledgermind_obs.cli.options import SelectCommand
from ledgermind_obs.dbt.manifest import Exposure
from ledgermind_obs.errors import ObsError

BLOCKED = 1
_INTERNAL_ERROR = 70
_EXPOSURE = f"{__name__}.exposure"
_FIRST_OF_SIGNALS = 128


class Answer(msgspec.Struct, frozen=True):
    """What a gate has decided, in words."""

    opens: bool
    text: str


class Asked(msgspec.Struct, frozen=True):
    """What a refusal must know: whether JSON is wanted, and in front of which exposure it is."""

    json: bool
    exposure: str


class GateCommand(SelectCommand):
    """A command that returns an Answer; however it ends otherwise, it refuses."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> click.Context:
        """Parse the options; what cannot be parsed is refused, in the form that was asked for."""
        asked = self._asked(list(args))
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.exceptions.Exit:  # --help
            raise
        except BaseException as error:
            if not extra.get("resilient_parsing"):
                _refuse(error, asked, None)
            raise

    def invoke(self, ctx: click.Context) -> None:
        """Decide, print the answer, and end with 0 only if it opens."""
        try:
            answer = super().invoke(ctx)
            if not isinstance(answer, Answer):
                raise TypeError("the gate has not answered")  # noqa: TRY301 - refused below
        except BaseException as error:
            exposure = ctx.params.get("exposure") or ""
            asked = Asked(ctx.params.get("output") == "json", exposure)
            _refuse(error, asked, ctx.meta.get(_EXPOSURE))
            if _ends_with_0(error):
                sys.exit(_INTERNAL_ERROR)
            raise
        click.echo(answer.text)
        if not answer.opens:
            sys.exit(BLOCKED)

    def _asked(self, args: Sequence[str]) -> Asked:
        """Return what was asked for, as far as it can be known before the options are parsed."""
        given = {
            param.name: _given(param, args) for param in self.params if param.name in _LOOKED_FOR
        }
        wanted = given.get("output", "").strip().lower()
        return Asked(wanted == "json", given.get("exposure", ""))


_LOOKED_FOR = ("output", "exposure")


def remember(exposure: Exposure) -> None:
    """Let a refusal that comes later speak of this exposure's kind."""
    click.get_current_context().meta[_EXPOSURE] = exposure


def _given(param: click.Parameter, args: Sequence[str]) -> str:
    """Return the last value of an option in ``args``, else that of its environment variable."""
    variable = param.envvar if isinstance(param.envvar, str) else ""
    found = os.environ.get(variable, "")
    for position, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if name in param.opts:
            following = args[position + 1 : position + 2]
            found = value if equals else next(iter(following), "")
    return found


def _refuse(error: BaseException, asked: Asked, exposure: Exposure | None) -> None:
    """Print the refusal on stdout; the error itself goes its way, and gives the exit code."""
    from ledgermind_obs.render.documents import to_json
    from ledgermind_obs.render.subject import subject_of

    subject = subject_of(exposure, asked.exposure)
    reason, next_step = _reason(error)
    words = f"{subject.refusal}: {reason}"
    if not asked.json:
        click.secho(words, bold=True, fg="red")
        return
    document = {"verdict": "block", "sentence": words, "error": reason, "next_step": next_step}
    click.echo(to_json(document))


def _reason(error: BaseException) -> tuple[str, str]:
    """Return why there is no verdict, on one line, and what to do about it."""
    if isinstance(error, ObsError):
        return _one_line(str(error)), error.next_step
    if isinstance(error, click.ClickException):
        return _one_line(error.format_message()), "see obs freshness check --help"
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return "the check was interrupted", ""
    code = error.code if isinstance(error, SystemExit) else None
    if isinstance(code, int) and code > _FIRST_OF_SIGNALS:
        return f"the check was ended by {_signal(code - _FIRST_OF_SIGNALS)}", ""
    return f"obs failed ({type(error).__name__})", "run it again with --debug, and report it"


def _signal(number: int) -> str:
    known = {each.value: each.name for each in signal.Signals}
    return known.get(number, f"signal {number}")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _ends_with_0(error: BaseException) -> bool:
    code = getattr(error, "exit_code", getattr(error, "code", 1))
    return isinstance(error, SystemExit | click.exceptions.Exit) and not code
