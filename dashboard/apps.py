"""The project as a Django app: its system checks and management commands."""

from __future__ import annotations

from typing import Any

from celery import signals
from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "dashboard"

    def ready(self) -> None:
        from . import checks  # noqa: F401 - importing registers them

        # before it makes a connection to the broker, whose keys are named after the instance
        signals.celeryd_init.connect(_refuse_unsafe_start, weak=False)
        signals.celeryd_init.connect(_belong_to_an_instance, weak=False)


def _refuse_unsafe_start(**kwargs: Any) -> None:
    from .checks import refuse_unsafe_start

    refuse_unsafe_start()


def _belong_to_an_instance(**kwargs: Any) -> None:
    from backups import instance

    from .worker import wait_for_migrations

    wait_for_migrations()  # the instance's id is in a table
    instance.serve()
    instance.wait_for_uid()
