"""``python -m tests.faults``: every fault at every moment, and what was violated."""

from __future__ import annotations

import sys

from tests.faults.command import main

sys.exit(main(sys.argv[1:]))
