"""The audit trail: append-only events in a hash chain; docs/audit.md says what it proves."""
