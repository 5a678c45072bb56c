"""Benchmarks: ratios to peers and to lower bounds measured in the same run. These are not tests."""
