"""All checks, in the order of the chain, and which of them belong together."""

from __future__ import annotations

from collections.abc import Iterable

from ledgermind_obs.doctor import (
    of_alertmanager,
    of_dbt,
    of_exposure,
    of_gateway,
    of_grafana,
    of_prometheus,
    of_rules,
    of_schedule,
    of_warehouse,
)
from ledgermind_obs.doctor.check import Check
from ledgermind_obs.errors import ConfigurationError, nearest

CHECKS: tuple[Check, ...] = (
    *of_dbt.CHECKS,
    *of_warehouse.CHECKS,
    *of_gateway.CHECKS,
    *of_prometheus.CHECKS,
    *of_rules.CHECKS,
    *of_alertmanager.CHECKS,
    *of_grafana.CHECKS,
    *of_schedule.CHECKS,
    *of_exposure.CHECKS,
)

_BY_NAME = {check.name: check for check in CHECKS}


def named(names: Iterable[str]) -> list[Check]:
    """Return the checks of these names, or of areas of these names, with what they need.

    Without names all of them are returned. Raises ConfigurationError for a name that is none.
    """
    wanted = [found for name in names for found in _meant(name)]
    if not wanted:
        return list(CHECKS)
    needed = set[str]()
    while wanted:
        name = wanted.pop()
        if name not in needed:
            needed.add(name)
            wanted += [*_BY_NAME[name].needs, *_BY_NAME[name].after]
    return [check for check in CHECKS if check.name in needed]


def _meant(name: str) -> list[str]:
    of_area = [check.name for check in CHECKS if check.area.lower() == name.lower()]
    if name in _BY_NAME or of_area:
        return of_area or [name]
    known = [*_BY_NAME, *dict.fromkeys(check.area.lower() for check in CHECKS)]
    raise ConfigurationError(f"there is no check {name}", f"{nearest(name, known)} See --list")
