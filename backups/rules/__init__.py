"""Decisions without I/O: outcomes, which job a POST made, readiness, log settings."""
