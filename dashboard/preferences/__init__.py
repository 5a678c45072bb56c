"""Language and time zone of a user."""
