import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.postgres import Postgres
from services.prometheus import Pushgateway
from tests.integration.building import dbt, write_models
from tests.integration.shop import Shop, new_project, open_shop


@pytest.fixture(autouse=True)
def _a_hang_up_counts() -> Iterator[None]:
    """Let the tests do the same under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def shop_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("shop") / "template"
    new_project(directory)
    return directory


@pytest.fixture
def shop(
    shop_template: Path, tmp_path: Path, postgres: Postgres, gateway: Pushgateway
) -> Iterator[Shop]:
    """The database has one name for all tests: dbt parses anew where the profile has changed."""
    postgres.start()
    shop = open_shop(shop_template, tmp_path / "shop", postgres.create_database("shop"), gateway)
    yield shop
    postgres.start()
    postgres.drop_database("shop")


@pytest.fixture
def pushed(shop: Shop, shop_template: Path) -> Shop:
    """A shop whose first push went well; the next shops start with what dbt parsed."""
    result = shop.push()
    assert (result.returncode, result.stderr) == (0, "")
    shop.keep_parsed(shop_template)
    return shop


@pytest.fixture
def built(shop: Shop) -> Shop:
    """A shop that was measured, then built."""
    write_models(shop)
    assert shop.push().returncode == 0
    assert dbt(shop, "build") == 0
    return shop
