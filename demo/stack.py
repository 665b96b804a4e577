"""The whole chain, natively: a database, a real push, Pushgateway, Prometheus and Alertmanager.

Whatever Alertmanager would send to Slack or to the pager is printed here instead.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from services.binaries import SetupError
from services.monitoring import ROOT, alertmanager_config, prometheus_config
from services.postgres import Postgres, postgres
from services.prometheus import Prometheus, alertmanager, prometheus, pushgateway
from services.server import HOST, ServiceError
from services.serving import serving

BIN = Path(sys.executable).parent
PUSH_EVERY_SECONDS = 900.0
PATIENCE_SECONDS = 60.0


def main() -> None:
    """Run the chain until Ctrl-C, or until its first alert."""
    parser = argparse.ArgumentParser(prog="python -m demo.stack", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end when the first alert is there")
    parser.add_argument("--quick", action="store_true", help="alerts fire at once, not after 30 m")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # told to end, it tidies up as well
    try:
        with tempfile.TemporaryDirectory(prefix="obs-stack-") as scratch:
            run_stack(Path(scratch), once=options.once, quick=options.quick)
    except (ServiceError, SetupError) as error:
        sys.exit(f"stack: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"stack: {error.cmd[0]} ended with exit code {error.returncode}")
    except KeyboardInterrupt:
        print("\nstopped; nothing is left behind")


def run_stack(directory: Path, *, once: bool, quick: bool) -> None:
    """Start the parts one after the other, load data, push, and show what comes of it."""
    with (
        people() as address,
        postgres(directory) as database,
        pushgateway(directory) as gateway,
        alertmanager(directory, alertmanager_config(directory, address)) as alerts,
        prometheus(
            directory,
            prometheus_config(directory, {"pushgateway": gateway.url}, alerts.url, quick=quick),
        ) as server,
    ):
        for name, url in [
            ("Pushgateway", gateway.url),
            ("Prometheus", f"{server.url}/alerts"),
            ("Alertmanager", alerts.url),
        ]:
            print(f"{name:13} {url}", flush=True)
        env = _environment(database, gateway.url, directory)
        subprocess.run([sys.executable, "-m", "demo.data"], cwd=ROOT, env=env, check=True)
        push(env)
        show_alerts(server)
        while not once:
            time.sleep(PUSH_EVERY_SECONDS)
            with suppress(subprocess.CalledProcessError):  # it told why, and the next one comes
                push(env)


def push(env: dict[str, str]) -> None:
    """Measure and push, as cron would."""
    command = [str(BIN / "obs"), "freshness", "push", "--format", "table"]
    subprocess.run(command, cwd=ROOT / "warehouse", env=env, check=True)


def show_alerts(server: Prometheus) -> None:
    """Print the alerts on sources once there are any; raise ServiceError where none comes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := server.query('ALERTS{table!=""}')):
        if time.monotonic() > deadline:
            raise ServiceError(f"no alert within {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.2)
    for series in found:
        labels = series["metric"]
        print(f"{labels['alertstate']:8} {labels['alertname']}  {labels.get('table', '')}")
    sys.stdout.flush()


@contextmanager
def people() -> Iterator[str]:
    """Serve what stands for Slack and the pager; yield its URL."""
    server = ThreadingHTTPServer((HOST, 0), _People)
    with serving(server, poll_seconds=0.1):
        yield f"http://{HOST}:{server.server_port}"


class _People(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Print the message."""
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/slack":
            attachment = message["attachments"][0]
            print(f"\n{attachment['title']}\n\n{attachment['text']}", flush=True)
        elif self.path != "/watchdog":
            print(f"\nto the pager: {message['payload']['summary']}", flush=True)
        self.send_response(202)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


def _environment(database: Postgres, gateway: str, directory: Path) -> dict[str, str]:
    return {
        **os.environ,
        **database.env(),
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "PUSHGATEWAY_URL": gateway,
        "DBT_TARGET": "prod",
        "DBT_TARGET_PATH": str(directory / "target"),
        "DBT_LOG_PATH": str(directory / "logs"),
    }


if __name__ == "__main__":
    main()
