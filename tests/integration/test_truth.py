"""Random histories on the real warehouse; ``make truth-warehouse`` lives through two hundred."""

from pathlib import Path

import pytest

from services.postgres import Postgres
from tests.truth.__main__ import too_late
from tests.truth.warehouse import lived


@pytest.mark.parametrize("seed", [4, 7])
def test_nothing_is_claimed_of_a_real_table_that_is_later_than_what_it_holds(
    seed: int, postgres: Postgres, tmp_path: Path
) -> None:
    postgres.start()
    claims, wrong = lived(seed, tmp_path, postgres)

    assert not [claim for claim in claims if too_late(claim)]
    assert not wrong
    assert any(claim.claimed is not None for claim in claims)
