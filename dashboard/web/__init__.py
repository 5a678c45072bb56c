"""Pages: middleware, health, the client's address, display preferences, the layout."""
