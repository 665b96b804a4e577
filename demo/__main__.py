"""The main job, live: load data, build the warehouse, push, and look at what the gateway serves."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from services.binaries import SetupError
from services.postgres import postgres
from services.prometheus import pushgateway
from services.server import ServiceError

ROOT = Path(__file__).parents[1]
WAREHOUSE = ROOT / "warehouse"
BIN = Path(sys.executable).parent

SHOWN = ("dbt_source_loaded_at_seconds{", "dbt_source_freshness_status{", "dbt_freshness_")


def main() -> None:
    """Run the demo on services of its own, and leave nothing behind."""
    with tempfile.TemporaryDirectory(prefix="obs-demo-") as scratch:
        directory = Path(scratch)
        try:
            run_demo(directory)
        except (ServiceError, SetupError) as error:
            sys.exit(f"demo: {error}")
        except subprocess.CalledProcessError as error:
            sys.exit(f"demo: {shlex.join(error.cmd)} ended with exit code {error.returncode}")


def run_demo(directory: Path) -> None:
    """Show the chain from the tables to the gateway, one command after the other."""
    with postgres(directory) as database, pushgateway(directory) as gateway:
        env = {
            **os.environ,
            **database.env(),
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
            "PUSHGATEWAY_URL": gateway.url,
            "DBT_TARGET_PATH": str(directory / "target"),
            "DBT_LOG_PATH": str(directory / "logs"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        run(["python", "-m", "demo.data"], ROOT, env)
        run(["dbt", "build", "--quiet"], WAREHOUSE, env)
        run(["obs", "freshness", "push", "--format", "table"], WAREHOUSE, env)
        show_metrics(gateway.url, gateway.metrics())
        run(["obs", "freshness", "check"], WAREHOUSE, env)


def run(argv: list[str], cwd: Path, env: Mapping[str, str]) -> None:
    """Show a command and run it; raises CalledProcessError where it fails."""
    print(f"\n$ {shlex.join(argv)}", flush=True)
    executable = sys.executable if argv[0] == "python" else str(BIN / argv[0])
    subprocess.run([executable, *argv[1:]], cwd=cwd, env=env, check=True)


def show_metrics(url: str, text: str) -> None:
    """Print the metrics that alerts and dashboard look at, of those that are not 0."""
    print(f"\n$ curl -s {url}/metrics")
    for line in text.splitlines():
        if line.startswith(SHOWN) and not line.endswith("} 0"):
            print(line)


if __name__ == "__main__":
    main()
