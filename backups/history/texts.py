"""Texts in messages: PostgreSQL finds them by trigrams (migration 0007), SQLite by an index.

SQLite has no index for a text in the middle of another, but most runs have no message at all: an
index of those that have one, with the messages in it, is read in milliseconds.
"""

from __future__ import annotations

from typing import Any

from django.db import connection, connections
from django.db.models import Q

from backups.models import IsGiven

from .paging import Runs

# Not in the model: an entry of PostgreSQL's indexes is at most a third of a page, and with this
# one its planner would read all of them to spare itself a few rows of a frequent word.
_INDEX = (
    "CREATE INDEX IF NOT EXISTS run_newest_with_text ON backups_backuprun "
    "(requested_at DESC, id DESC, message, failed_message) "
    "WHERE message <> '' OR failed_message <> ''"
)


def said(runs: Runs, text: str) -> Runs:
    """Runs in whose message, or in that of their job, a text is found, whatever its case."""
    if connection.vendor == "sqlite":
        runs = runs.filter(Q(IsGiven("message")) | Q(IsGiven("failed_message")))
    return runs.filter(Q(message__icontains=text) | Q(failed_message__icontains=text))


def keep_index(using: str, **_: Any) -> None:
    """Make SQLite's index where it is missing: a migration that makes the table anew drops it."""
    there = connections[using]
    if there.vendor == "sqlite" and "backups_backuprun" in there.introspection.table_names():
        with there.cursor() as cursor:
            cursor.execute(_INDEX)
