"""Delete notices and messages after NOTIFY_KEEP_DAYS: they are no evidence; runs and events are."""

from __future__ import annotations

import time
from datetime import timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from backups.models import Delivery, Notice

CHUNK = 500  # rows per transaction: short, because on SQLite other writers wait for it


def delete_old() -> int:
    """Delete what is older than NOTIFY_KEEP_DAYS, in chunks; returns the number of rows."""
    cutoff = timezone.now() - timedelta(days=settings.NOTIFY_KEEP_DAYS)
    messages = Delivery.objects.filter(created_at__lt=cutoff).order_by("created_at")
    notices = Notice.objects.filter(at__lt=cutoff).order_by("at")
    return _in_chunks(messages) + _in_chunks(notices)


def _in_chunks(old: QuerySet[Delivery] | QuerySet[Notice]) -> int:
    done = 0
    while pks := list(old.values_list("pk", flat=True)[:CHUNK]):
        began = time.monotonic()
        old.model.objects.filter(pk__in=pks).delete()
        done += len(pks)
        time.sleep(min(time.monotonic() - began, 1.0))  # others can write meanwhile
    return done
