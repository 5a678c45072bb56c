"""Benchmark of a fleet of clusters, from the click to the verified run, compared to bare calls."""
