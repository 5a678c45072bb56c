"""Web layer: middleware, health checks, client address, display preferences, pagination."""
