"""What ``--help`` shows."""

import re

import pytest

from docs import make
from ledgermind_obs.cli.help import HelpfulCommand
from ledgermind_obs.doctor.checks import CHECKS
from ledgermind_obs.errors import DOCS

CONTEXTS = {
    context.command_path: context
    for context in make.commands()
    if isinstance(context.command, HelpfulCommand)
}


@pytest.mark.parametrize("path", CONTEXTS)
def test_a_command_ends_its_help_with_examples_of_itself(path: str) -> None:
    _, _, examples = CONTEXTS[path].get_help().partition("\nExamples:\n")
    assert path in examples


@pytest.mark.parametrize("path", CONTEXTS)
def test_a_help_fits_80_columns_but_for_the_lines_to_copy(path: str) -> None:
    told, _, _ = CONTEXTS[path].get_help().partition("\nExamples:\n")
    assert not [line for line in told.splitlines() if len(line) > 80]


@pytest.mark.parametrize("path", CONTEXTS)
def test_a_help_names_no_page_that_an_installed_obs_does_not_have(path: str) -> None:
    told = CONTEXTS[path].get_help()
    assert not re.findall(r"(?<!main/)docs/\w+\.md", told)


def test_a_check_of_the_doctor_links_to_a_page_on_the_web() -> None:
    assert all(check.help.startswith(f"{DOCS}/doctor.md#") for check in CHECKS)


@pytest.mark.parametrize("path", CONTEXTS)
def test_every_option_is_in_the_help_once(path: str) -> None:
    command = CONTEXTS[path].command
    told = CONTEXTS[path].get_help().split()
    for param in command.params:
        for name in (n for n in param.opts if n.startswith("--")):
            assert told.count(name) >= 1, name


def test_the_options_of_a_push_are_in_groups() -> None:
    lines = CONTEXTS["obs freshness push"].get_help().splitlines()
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == [
        *("Selection:", "Measuring:", "Project:", "Destination:", "Output:", "Examples:")
    ]


@pytest.mark.parametrize("path", [p for p in CONTEXTS if DOCS in (CONTEXTS[p].command.help or "")])
def test_the_address_of_a_page_is_not_broken_where_lines_are_wrapped(path: str) -> None:
    (page,) = re.findall(r"docs/(\w+\.md)", CONTEXTS[path].command.help or "")
    assert f"{DOCS}/{page}\n" in CONTEXTS[path].get_help()
