"""The HTTP API for programs, under /api/v1/; docs/api.md tells how to use it."""
