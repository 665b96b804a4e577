import os
from pathlib import Path

import pytest

from ledgermind_obs.dbt.lock import locked
from ledgermind_obs.errors import ConfigurationError, LockedError


def test_a_second_run_is_refused_and_told_who_holds_the_lock(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "obs"),
        pytest.raises(LockedError, match=f"process {os.getpid()}"),
        locked(tmp_path / "obs"),
    ):
        pass


def test_the_lock_is_free_again_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="boom"), locked(tmp_path):
        raise RuntimeError("boom")

    with locked(tmp_path):
        assert (tmp_path / "obs.lock").read_text() == str(os.getpid())


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("a file")

    with pytest.raises(ConfigurationError, match="cannot write below"), locked(tmp_path / "target"):
        pass
