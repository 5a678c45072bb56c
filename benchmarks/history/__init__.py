"""The history at a million runs and more: `python -m benchmarks.history --help`."""
