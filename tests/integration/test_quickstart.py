"""docs/quickstart.md, typed as it stands, on real PostgreSQL, dbt and Pushgateway."""

import re
import subprocess
from pathlib import Path

from tests.integration.quickstart import PAGE, blocks, type_in, typed
from tests.integration.shop import BIN, DBT, Shop

ROOT = Path(__file__).parents[2]


def pattern(line: str) -> str:
    """Return what matches a line in which numbers, spaces and what is left out may differ."""
    words = re.sub(r"\d+(?:\.\d+)*", "0", line).split()
    parts = (re.escape(word).replace("0", r"[\d.]+").replace("…", ".*") for word in words)
    return r"\s+".join(parts).replace("min", r"\w+")


def test_every_command_of_the_quickstart_does_what_the_page_says(shop: Shop) -> None:
    (exposures,) = ["\n".join(block) for block in blocks() if block[0] == "exposures:"]
    written = shop.directory / "models" / "exposures.yml"
    env = shop.env | {"PATH": f"{BIN}:{shop.env['PATH']}", "OBS_PUSH_FORMAT": "table"}
    for command, printed in typed():
        if "training" in command and not written.exists():
            written.write_text(exposures)
        if "target/sources.json" in command:
            somebody_else = [DBT, "source", "freshness"]
            subprocess.run(somebody_else, cwd=shop.directory, env=env, check=True, timeout=60)
        shown = type_in(command, shop.directory, shop.gateway.url, env)
        for line in printed:
            assert re.search(rf"^\s*{pattern(line)}", shown, re.MULTILINE), f"{line}\n{shown}"


def test_the_page_installs_the_package_that_is_built_here() -> None:
    names = set(re.findall(r"install '?([a-z-]+)(?:\[postgres\])?", PAGE))
    project = (ROOT / "pyproject.toml").read_text()

    assert names - {"ledgermind-obs"} == set()
    assert 'name = "ledgermind-obs"' in project
    assert len(list(typed())) >= 8
