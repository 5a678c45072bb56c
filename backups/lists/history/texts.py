"""Texts in messages: which index finds them depends on how common they are.

A common word stands on most pages: the runs that say anything are read, newest first, until the
page is full. For a rare one that would read all of them; it is found by its trigrams (PostgreSQL:
migration 0007, SQLite: history/trigrams.py). Databases guess how often a text occurs, and guess
wrong; so the newest messages are asked.
"""

from __future__ import annotations

from django.db import connection
from django.db.models import Count, Q, Value
from django.db.models.functions import StrIndex, Upper
from django.db.models.lookups import GreaterThan

from backups.models import BackupRun, IsGiven

from .paging import Runs
from .trigrams import has_trigrams, holding

_SHORTEST = 3  # characters: a shorter text has no trigram
_SHORTEST_OF_ID = 8  # characters that are taken for the beginning of one
_LAST = chr(0x10FFFF)
_ASKED = 1000  # of the newest messages
_COMMON = 10  # of them


def said(runs: Runs, text: str) -> Runs:
    """Runs in whose message, or in that of their job, a text is found, whatever its case."""
    if len(text) < _SHORTEST or not has_trigrams() or _is_common(text):
        return _saying_anything(runs).filter(_walked(text))
    if connection.vendor == "sqlite":
        runs = holding(runs, text)
    return runs.filter(Q(message__icontains=text) | Q(failed_message__icontains=text))


def with_request_id(runs: Runs, text: str) -> Runs:
    """Runs whose POST had a request id, or one that begins with the text."""
    if len(text) < _SHORTEST_OF_ID:
        return runs.filter(request_id=text)
    if connection.vendor == "sqlite":  # its LIKE uses no index; a range of code points does
        ids = BackupRun.objects.filter(request_id__gte=text, request_id__lt=f"{text}{_LAST}")
        return runs.filter(pk__in=ids.values("pk"))
    return runs.filter(request_id__startswith=text)


def _saying_anything(runs: Runs) -> Runs:
    return runs.filter(Q(IsGiven("message")) | Q(IsGiven("failed_message")))


def _walked(text: str) -> Q:
    # Not LIKE: PostgreSQL would take a long text for a rare one and read all to sort what it finds.
    wanted = Upper(Value(text))
    message, failed = (
        GreaterThan(StrIndex(Upper(column), wanted), 0) for column in ("message", "failed_message")
    )
    return Q(message) | Q(failed)


def _is_common(text: str) -> bool:
    newest = _saying_anything(BackupRun.objects.order_by("-requested_at", "-id"))
    found = newest[:_ASKED].aggregate(number=Count("pk", filter=_walked(text)))
    return bool(found["number"] >= _COMMON)
