"""What the messages tell people to type, can be typed."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from docs.make import commands

PACKAGE = Path(__file__).parents[2] / "ledgermind_obs"
OPTIONS = {
    name
    for context in commands()
    for param in context.command.params
    for name in (*param.opts, *param.secondary_opts)
}
COMMANDS = {tuple(context.command_path.split()[1:]) for context in commands()}
GROUPS = {words[0] for words in COMMANDS if len(words) > 1}

# Of obs itself, and a beginning that the name of a state completes.
OF_ALL = {"--help", "--version", "--debug", "--allow-"}
# Of dbt, pip, the Pushgateway and Prometheus.
OF_OTHERS = {
    *("--log-format", "--log-level", "--log-path", "--write-json", "--no-quiet"),
    *("--no-use-colors", "--no-fail-fast", "--no-partial-parse", "--resource-type"),
    *("--empty", "--sample", "--defer", "--upgrade"),
    *("--persistence.file", "--push.disable-consistency-check", "--storage.tsdb.retention.time"),
}

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z.-]*[a-z-]")
_COMMAND = re.compile(rf"\bobs ({'|'.join(sorted(GROUPS))}) ([a-z]+)\b")


def texts() -> Iterator[tuple[str, str]]:
    """Yield each text of the program with its place; docstrings are no messages."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        silent = set() if _is_command(path) else _docstrings(tree)
        constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        for node in constants:
            if isinstance(node.value, str) and node not in silent:
                yield f"{path.name}:{node.lineno}", node.value


def _docstrings(tree: ast.Module) -> set[ast.expr]:
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def _is_command(path: Path) -> bool:
    """Whether a docstring of the module can be a command's help."""
    return path.parent.name == "cli"


def test_every_option_that_a_message_names_is_one() -> None:
    known = OPTIONS | OF_ALL | OF_OTHERS
    found = [(place, name) for place, text in texts() for name in _OPTION.findall(text)]

    assert len(found) > 100
    assert [at for at in found if at[1] not in known] == []


def test_every_command_that_a_message_names_is_one() -> None:
    found = [(place, words) for place, text in texts() for words in _COMMAND.findall(text)]

    assert len(found) > 20
    assert [at for at in found if at[1] not in COMMANDS] == []
