"""Notifications: what happened is stored in an outbox, grouped, and sent from the database."""
