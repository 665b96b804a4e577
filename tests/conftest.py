"""Real services for the tests. Where a part is absent, the tests that need it fail."""

from __future__ import annotations

import itertools
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from services.postgres import Postgres
from services.postgres import postgres as started_postgres
from services.prometheus import Pushgateway, pushgateway

_numbers = itertools.count(1)

# A busy machine is slow, and that is no fault of what is tested.
settings.register_profile("thorough", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("thorough"), max_examples=20)
settings.load_profile("thorough")  # unless --hypothesis-profile names the other one


def pytest_configure() -> None:
    # A run that is told to end takes its services and their data with it, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Also where the shell lets a background job ignore SIGINT, which what the tests start inherits.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with _directory() as directory, started_postgres(Path(directory)) as server:
        yield server


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Postgres]:
    postgres.start()
    name = f"test_{next(_numbers)}"
    yield postgres.create_database(name)
    postgres.start()
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def gateway_server() -> Iterator[Pushgateway]:
    with _directory() as directory, pushgateway(Path(directory)) as server:
        yield server


@pytest.fixture
def gateway(gateway_server: Pushgateway) -> Pushgateway:
    gateway_server.start()
    gateway_server.wipe()
    return gateway_server


def _directory() -> tempfile.TemporaryDirectory[str]:
    # Not pytest's own: it would keep the last three runs' data.
    return tempfile.TemporaryDirectory(prefix="obs-test-")
