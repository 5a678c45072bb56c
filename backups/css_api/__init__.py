"""Client of the Cloud Search Service API and of the identity service in front of it."""
