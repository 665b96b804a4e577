"""Option C, to run: an application that tells when it loaded its tables.

python docs/option_c.py 8000        then: curl -s localhost:8000/metrics
"""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime, timedelta

from prometheus_client import start_http_server

from ledgermind_obs.instrument import dbt_source_loaded_at, loaded


def build_features(newest_transaction: datetime | None) -> None:
    """Do the application's work, then say how new the data was."""
    loaded("transactions", newest_transaction)
    dbt_source_loaded_at.labels(table="ml_features").set_to_current_time()


def main() -> None:
    """Serve the metrics until Ctrl-C."""
    build_features(datetime.now(UTC) - timedelta(hours=float(sys.argv[2]) if sys.argv[2:] else 58))
    start_http_server(int(sys.argv[1]) if sys.argv[1:] else 8000, addr="127.0.0.1")
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
