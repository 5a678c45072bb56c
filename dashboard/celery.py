"""The Celery app. Celery only moves runs; the database row is the truth."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

from celery import Celery
from kombu import Connection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

# Whoever publishes may be a click: a broker that hangs costs it no more than one that is away.
# Who reads waits in the broker for messages, and has CELERY_BROKER_TRANSPORT_OPTIONS' limits.
PUBLISH_LIMITS = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}  # seconds


class Broker(Celery):
    """Celery, with shorter limits for publishing than for reading, and without a banner."""

    @cached_property
    def Worker(self) -> type:
        return self.subclass_with_self("dashboard.worker:PlainWorker")  # type: ignore[arg-type]

    def connection_for_write(self, *args: Any, **options: Any) -> Connection:
        """The connection that messages are published on."""
        given = options.pop("transport_options", None) or {}
        return super().connection_for_write(
            *args, transport_options={**PUBLISH_LIMITS, **given}, **options
        )


app = Broker("css-log-backup")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(["dashboard"], related_name="worker")  # connects the signals
