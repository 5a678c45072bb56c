"""The HTTP API, under /api/v1/; docs/api.md documents it."""
