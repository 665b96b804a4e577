"""The real parts that demo, tests and benchmarks start, each for the length of a ``with``."""
