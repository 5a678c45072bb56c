"""HTTP client that records whether a request was sent, bounds time and size, hides secrets."""
