"""The rules in the hands of Prometheus' own tool; their cases are in tests/rules/."""

import subprocess
from pathlib import Path

import pytest

from services.binaries import find

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
