"""The project as a Django app: its system checks and management commands."""

from __future__ import annotations

from typing import Any

from celery import signals
from django.apps import AppConfig
from django.dispatch import Signal

# Sent before a web process starts serving pages. The sender is the class of the WSGI application.
serving = Signal()


class DashboardConfig(AppConfig):
    name = "dashboard"

    def ready(self) -> None:
        from . import checks, correlation  # noqa: F401 - importing the first registers them

        correlation.connect()
        signals.celeryd_init.connect(_refuse_unsafe_start, weak=False)


def _refuse_unsafe_start(**kwargs: Any) -> None:
    from .checks import refuse_unsafe_start

    refuse_unsafe_start()
