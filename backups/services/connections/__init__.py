"""Connections to clouds: connect, test, synchronise."""
