"""Databases: the SQLite backend, triggers, and transactions that retry or take turns."""
