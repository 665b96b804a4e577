"""dbt projects made by chance, the same for the same seed."""

from __future__ import annotations

import random
from pathlib import Path

PROFILES = """\
generated:
  target: dev
  outputs:
    dev: {type: postgres, host: localhost, user: u, password: p, port: 5432, dbname: d, schema: s}
"""
_FRESHNESS = "{loaded_at_field: t, freshness: {warn_after: {count: 1, period: day}}}"


def write_project(
    directory: Path, seed: int, models: int, sources: int, exposures: int = 2
) -> None:
    """Write a project whose models read sources, a seed and earlier models; some are disabled."""
    chance = random.Random(seed)  # noqa: S311 - the same project every time
    (directory / "models").mkdir(parents=True)
    (directory / "seeds").mkdir()
    (directory / "dbt_project.yml").write_text("name: generated\nprofile: generated\n")
    (directory / "profiles.yml").write_text(PROFILES)
    (directory / "seeds/codes.csv").write_text("id\n1\n")
    for number in range(models):
        path = directory / f"models/m{number}.sql"
        path.write_text(_sql(number, sources, chance))
    lines = ["sources:", "  - name: app", "    tables:"]
    lines += [f"      - {{name: t{number}, config: {_FRESHNESS}}}" for number in range(sources)]
    lines += ["models:", *(_tested(number) for number in range(0, models, 3)), "exposures:"]
    lines += [line for number in range(exposures) for line in _exposure(number, models, chance)]
    (directory / "models/all.yml").write_text("\n".join(lines) + "\n")


def _sql(number: int, sources: int, chance: random.Random) -> str:
    """Return a model upon up to three others; one in ten is off, which nothing may refer to."""
    earlier = [other for other in range(max(0, number - 40), number) if not is_disabled(other)]
    parents = [f"ref('m{other}')" for other in chance.sample(earlier, min(len(earlier), 2))]
    if not parents or chance.random() < 0.4:
        parents.append(f"source('app', 't{chance.randrange(sources)}')")
    if chance.random() < 0.05:
        parents.append("ref('codes')")
    off = "{{ config(enabled=false) }}\n" if is_disabled(number) else ""
    selects = "\nunion all\n".join(f"select * from {{{{ {p} }}}}" for p in parents)  # noqa: S608
    return f"{off}{selects}\n"


def is_disabled(number: int) -> bool:
    """Return whether the model of this number is disabled."""
    return number % 10 == 7


def _tested(number: int) -> str:
    if is_disabled(number):
        return ""
    return f"  - {{name: m{number}, columns: [{{name: id, data_tests: [not_null]}}]}}"


def _exposure(number: int, models: int, chance: random.Random) -> list[str]:
    enabled = [other for other in range(models) if not is_disabled(other)]
    parents = chance.sample(enabled, min(3, len(enabled)))
    return [
        f"  - name: use{number}",
        "    type: application",
        "    owner: {name: someone}",
        "    depends_on:",
        *(f"      - ref('m{parent}')" for parent in parents),
    ]
