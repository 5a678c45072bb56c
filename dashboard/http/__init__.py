"""HTTP that knows whether a request left, bounds time and size, and keeps secrets out."""
