"""Run the command line as ``python -m ledgermind_obs``."""

from ledgermind_obs.cli import main

main()
