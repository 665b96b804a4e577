"""A reduced set of the runs: each fault once, at moments that take turns (all: ``make faults``)."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import catalogue, reduced
from tests.faults.command import WORKERS, played
from tests.faults.play import Result

NAMES = [trial.name for trial in reduced(catalogue())]


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest) -> dict[str, Result]:
    """All runs that this session asks for, a few at once."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    asked = {call.params["name"] for call in calls if call and "name" in call.params}
    trials = [trial for trial in reduced(catalogue()) if trial.name in asked]
    return {result.name: result for result in played(trials, WORKERS)}


@pytest.mark.parametrize("name", NAMES)
def test_every_invariant_holds_whatever_goes_wrong(name: str, results: dict[str, Result]) -> None:
    result = results[name]
    assert result.violations == [], result.outcome
