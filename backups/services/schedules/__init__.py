"""Schedules: when they fire, and what they start. Claimed by the database, once for each slot."""
