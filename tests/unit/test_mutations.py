"""The mutations that prove the faults' harness can be applied to the product as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

import ledgermind_obs
from tests.faults.catalogue import catalogue, named
from tests.faults.mutations import MUTATIONS, Mutation

PACKAGE = Path(ledgermind_obs.__file__).parent


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_changes_one_place_and_has_a_run_that_is_to_notice(mutation: Mutation) -> None:
    text = (PACKAGE / mutation.file).read_text()

    assert text.count(mutation.before) == 1
    assert mutation.after != mutation.before
    assert all(named(catalogue(), [pattern]) for pattern in mutation.noticed_by)
