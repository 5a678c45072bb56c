"""What somebody prefers to read: the language, and the time zone."""
