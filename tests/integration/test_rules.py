"""The rules in the hands of Prometheus' own tool; their cases are in tests/rules/."""

import subprocess
from pathlib import Path

import pytest

from services.binaries import find
from tests.integration.shop import OBS

ROOT = Path(__file__).parents[2]
CASES = sorted((ROOT / "tests/rules").glob("*.yml"))


def promtool(*args: object) -> subprocess.CompletedProcess[str]:
    argv = [str(word) for word in (find("promtool"), *args)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_every_alert_fires_when_it_should_and_only_then(cases: Path) -> None:
    result = promtool("test", "rules", cases)
    assert result.returncode == 0, result.stdout + result.stderr


def test_prometheus_takes_its_configuration_and_every_rule() -> None:
    result = promtool("check", "config", ROOT / "prometheus/prometheus.yml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 rule files found" in result.stdout


def test_our_own_rules_are_what_the_generator_writes_for_our_project(tmp_path: Path) -> None:
    makefile = (ROOT / "ops/targets.mk").read_text().replace("\\\n", " ")
    (line,) = [each for each in makefile.splitlines() if each.startswith("RULES := $(OBS) ")]
    argv = [OBS, *line.split()[3:], "--check", "--target-path", str(tmp_path)]
    assert argv[1:3] == ["rules", "generate"]
    result = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
