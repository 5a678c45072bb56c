"""Benchmark of the history with a million runs or more: `python -m benchmarks.history --help`."""
