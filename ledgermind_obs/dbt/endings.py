"""What it means that dbt ended without a result: its own words, and the command to type next."""

from __future__ import annotations

import re
import shlex
import signal

from ledgermind_obs.dbt.executable import find_executable, versions
from ledgermind_obs.dbt.log import RunLog, is_connection_failure
from ledgermind_obs.dbt.project import Dbt
from ledgermind_obs.errors import ConfigurationError, DbtError, ObsError

# dbt 1.7 and older take this option in front of the command only.
_TOO_OLD = re.compile(r"No such option:? '?--log-format")
_NO_PACKAGES = re.compile(r'Run "?dbt deps"? to install|package\(s\) installed in')
# The selection names a selector or a method that dbt does not have.
_SELECTOR = re.compile(r"is not a valid method name|Could not find selector named")


def no_result(dbt: Dbt, code: int, log: RunLog) -> ObsError:
    """Return what dbt's end means, in its own words and with the next step."""
    if code < 0:
        ended = f"dbt was ended by {_signal_name(-code)}: {_last_words(log)}"
        return DbtError(ended, "out of memory? See the system's log")
    if is_connection_failure(log.fatal):
        words = log.fatal.removeprefix("Database Error ")
        return DbtError(f"dbt could not reach the database: {words}", _debug_command(dbt))
    words = log.fatal or _last_words(log)
    if known := _known(dbt, words):
        return known
    ended = f"dbt ended with exit code {code} and gave no result"
    return DbtError(f"{ended}: {words}", _debug_command(dbt))


def _known(dbt: Dbt, words: str) -> ObsError | None:
    """Return the error for an end that has one certain remedy."""
    if _TOO_OLD.search(words):
        executable = find_executable(dbt.executable)
        version = versions(executable).get("dbt-core", "1.7 or older")
        return DbtError(
            f"dbt {version} is too old: obs needs dbt 1.8 or newer ({executable})",
            "pip install --upgrade 'dbt-core>=1.8,<1.12', with the adapter",
        )
    if _NO_PACKAGES.search(words):
        directory = shlex.quote(str(dbt.project.directory))
        return DbtError(
            "the project's packages are not installed", f"run: dbt deps --project-dir {directory}"
        )
    if _SELECTOR.search(words):
        return ConfigurationError(
            f"dbt does not know the selection: {words.removeprefix('Runtime Error ')}",
            "see what there is: dbt ls --resource-type source",
        )
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # of the real-time signals, only the first and the last have a name
        return f"signal {number}"


def _last_words(log: RunLog) -> str:
    return log.tail[-1] if log.tail else "it said nothing"


def _debug_command(dbt: Dbt) -> str:
    project = dbt.project
    command = ["dbt", "debug", "--project-dir", str(project.directory)]
    command += ["--profiles-dir", str(project.profiles_dir), "--target", project.target]
    return f"try: {shlex.join(command)}"
