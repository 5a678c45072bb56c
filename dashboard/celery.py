"""Celery app. Celery only transports runs; the database row is authoritative."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

from celery import Celery
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.utils.module_loading import import_string
from kombu import Connection
from kombu.exceptions import OperationalError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

# Web requests publish messages, so a hanging broker must fail as fast as an unreachable one.
# Consumers block while they wait for messages; CELERY_BROKER_TRANSPORT_OPTIONS sets their limits.
PUBLISH_LIMITS = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}  # seconds


class Broker(Celery):
    """Celery app without a banner, with shorter timeouts for publishing and a Redis key prefix.

    The prefix contains the id of the instance, which is stored in the database. Otherwise two
    instances with the same REDIS_URL would consume each other's messages.
    """

    @cached_property
    def Worker(self) -> type:
        return self.subclass_with_self("dashboard.worker:PlainWorker")  # type: ignore[arg-type]

    def connection_for_read(self, *args: Any, **options: Any) -> Connection:
        """Return the connection for consuming messages."""
        return super().connection_for_read(*args, **_with(_keys_of_this_instance(), options))

    def connection_for_write(self, *args: Any, **options: Any) -> Connection:
        """Return the connection for publishing messages."""
        ours = {**PUBLISH_LIMITS, **_keys_of_this_instance()}
        return super().connection_for_write(*args, **_with(ours, options))


def _with(ours: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    given = options.get("transport_options") or {}
    return {**options, "transport_options": {**ours, **given}}


def _keys_of_this_instance() -> dict[str, Any]:
    key_prefix = import_string(settings.BROKER_KEY_PREFIX)
    try:
        return {"global_keyprefix": key_prefix()}
    except (DatabaseError, InterfaceError) as error:
        raise OperationalError("the instance's id cannot be read from the database") from error


app = Broker("css-log-backup")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(["backups"], related_name="worker")  # connects the signals
