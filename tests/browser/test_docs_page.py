"""dbt's documentation as a browser shows it; needs Debian's chromium."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from services.postgres import Postgres
from services.serving import serving
from tests.dbt_docs import EXPOSURE, PARENTS, generate


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        pytest.fail("there is no chromium: install it with apt-get install chromium", pytrace=False)
    return found


@pytest.fixture
def site(database: Postgres, tmp_path: Path) -> Iterator[str]:
    generate(database, tmp_path)
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


def _rendered(chromium: str, url: str, profile: Path) -> str:
    """Return the page after its scripts ran, as HTML."""
    argv = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    argv += [f"--user-data-dir={profile}", "--virtual-time-budget=30000", "--dump-dom", url]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_of_the_exposure_names_owner_and_parents(
    chromium: str, site: str, tmp_path: Path
) -> None:
    page = _rendered(chromium, f"{site}/#!/exposure/{EXPOSURE}", tmp_path / "profile")

    for words in ("ml_training_pipeline", "LedgerMind ML", *PARENTS):
        assert words in page
