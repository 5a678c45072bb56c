"""Database layer: SQLite backend, triggers, retries, locks, leases, keyset pagination."""
