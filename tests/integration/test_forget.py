"""A group that nobody wants any more, on a real Pushgateway."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledgermind_obs.cli import root
from services.prometheus import Pushgateway
from tests.replay import multiplied


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gateway: Pushgateway) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OBS_DBT", str(multiplied(tmp_path, 2)))
    monkeypatch.setenv("PUSHGATEWAY_URL", gateway.url)
    profiles = "lab: {target: dev, outputs: {dev: {}, prod: {}}}"
    (tmp_path / "profiles.yml").write_text(profiles)
    return tmp_path


def obs(*argv: str) -> Result:
    return CliRunner().invoke(root, ["freshness", *argv])


def test_one_target_is_forgotten_and_the_other_stays(project: Path, gateway: Pushgateway) -> None:
    for target in ("dev", "prod"):
        assert obs("push", "--target", target).exit_code == 0
    (project / "profiles.yml").unlink()

    result = obs("forget", "--target", "prod", "--yes")

    assert result.exit_code == 0, result.output
    assert "2 sources: lab.table_00000, lab.table_00001" in result.stdout
    assert 'target="prod"' not in gateway.metrics()
    assert 'target="dev"' in gateway.metrics()
    assert not list((project / "target/obs/prod/delivered").iterdir())
    assert len(list((project / "target/obs/dev/delivered").iterdir())) == 1


def test_a_project_that_is_measured_again_comes_back_without_a_word(
    project: Path, gateway: Pushgateway
) -> None:
    obs("push")
    obs("forget", "--yes")
    assert 'project="lab"' not in gateway.metrics()

    result = obs("push")

    assert (result.exit_code, result.output) == (0, "")
    assert 'project="lab"' in gateway.metrics()


@pytest.mark.parametrize("argv", [("--target", "prd"), ("--profile", "lba")])
def test_a_typo_leaves_no_group(project: Path, gateway: Pushgateway, argv: tuple[str, ...]) -> None:
    assert obs("push", *argv).exit_code == 2
    assert 'project="lab"' not in gateway.metrics()
