"""The files of operations, where the services themselves cannot say whether they fit together."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ledgermind_obs.freshness import STATES
from ledgermind_obs.render.palette import PALETTE

ROOT = Path(__file__).parents[2]
OPS = ROOT / "ops"


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


COMPOSE = read(OPS / "docker-compose.monitoring.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_compose_starts_the_whole_chain() -> None:
    assert set(SERVICES) == {"prometheus", "alertmanager", "pushgateway", "grafana"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_healthy_and_on_loopback(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[\w/-]+:v?\d+\.\d+\.\d+", service["image"])
    (port,) = service["ports"]
    host, published, inside = port.split(":")
    assert (host, published) == ("127.0.0.1", inside)
    assert f"127.0.0.1:{inside}/" in service["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_mounts_is_there(name: str) -> None:
    for volume in SERVICES[name]["volumes"]:
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (OPS / source).exists(), volume
            assert volume.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


def test_no_secret_is_in_a_file_of_the_project() -> None:
    assert "ops/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert all(s["file"].startswith("./secrets/") for s in COMPOSE["secrets"].values())
    config = (OPS / "alertmanager/alertmanager.yml").read_text()
    wanted = set(re.findall(r"_file: (\S+)", config))
    assert wanted == {f"/run/secrets/{name}" for name in SERVICES["alertmanager"]["secrets"]}
    assert set(SERVICES["alertmanager"]["secrets"]) <= set(COMPOSE["secrets"])


def test_the_parts_find_each_other_by_their_names() -> None:
    config = read(ROOT / "prometheus/prometheus.yml")
    places = [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]
    hosts = {t.split(":")[0] for p in places for s in p["static_configs"] for t in s["targets"]}
    assert hosts <= set(SERVICES) | {"localhost"}
    (source,) = read(OPS / "grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_the_gateway_is_scraped_with_the_labels_that_were_pushed() -> None:
    jobs = {
        job["job_name"]: job for job in read(ROOT / "prometheus/prometheus.yml")["scrape_configs"]
    }
    assert jobs["pushgateway"]["honor_labels"] is True


def test_the_gateway_keeps_its_metrics_over_a_restart() -> None:
    assert any(c.startswith("--persistence.file=") for c in SERVICES["pushgateway"]["command"])


def test_grafana_finds_the_dashboard_where_it_is_mounted() -> None:
    (provider,) = read(OPS / "grafana/provisioning/dashboards/freshness.yml")["providers"]
    mounts = dict(v.split(":")[1::-1] for v in SERVICES["grafana"]["volumes"])
    directory = OPS / mounts[provider["options"]["path"]]
    assert [json.loads(f.read_text())["uid"] for f in directory.glob("*.json")] == ["ml-freshness"]


def test_the_dashboard_shows_each_state_in_its_words_and_colour() -> None:
    board = (OPS / "grafana/dashboards/ml-source-freshness.json").read_text()
    mappings = re.findall(r'"options": (\{\s*"pass": \{.*?\}\s*\})', board, re.DOTALL)
    assert mappings
    for mapping in map(json.loads, mappings):
        shown = {name: (look["text"], look["color"]) for name, look in mapping.items()}
        assert shown == {
            str(state): (state.label, PALETTE[meaning.colour].grafana)
            for state, meaning in STATES.items()
        }


def test_the_messages_link_to_the_dashboard() -> None:
    assert "/d/ml-freshness{{" in (OPS / "alertmanager/freshness.tmpl").read_text()
