"""Notifications against real receivers: SMTP and HTTP servers on loopback."""
