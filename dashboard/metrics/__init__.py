"""`/metrics` for Prometheus: counters of all processes, and gauges read from the database.

docs/metrics.md lists the metrics.
"""
