"""The only package that sees HTTP: Cloud Search Service and the identity service in front of it."""
