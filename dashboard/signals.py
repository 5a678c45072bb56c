"""Signals that the project sends, for apps that it does not know."""

from __future__ import annotations

from django.dispatch import Signal

# A web process is about to serve pages. The sender is the WSGI application's class.
serving = Signal()
