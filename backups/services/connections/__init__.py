"""Connections to clouds: connected, diagnosed, synchronised."""
