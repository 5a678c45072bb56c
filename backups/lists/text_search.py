"""Text search in run messages: which index is used depends on how common the text is.

A common text is in most pages: runs with any message are read newest first until the page is full.
For a rare text that would read all of them, so it is found by its trigrams. Databases estimate the
frequency of a text badly, so the newest messages are counted instead.

PostgreSQL has trigram indexes where the extension pg_trgm is available. SQLite has
no index for a substring; its full-text table with trigrams (FTS5, SQLite 3.34 or later) does this.
Triggers keep that table up to date, and it holds only runs with a message. Without it, messages are
read from a partial index.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.db import OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count, Q, QuerySet, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import StrIndex, Upper
from django.db.models.lookups import GreaterThan

from backups.models import BackupRun, IsGiven

Runs = QuerySet[BackupRun]

_SHORTEST = 3  # characters: a shorter text has no trigram
_SHORTEST_PREFIX = 8  # characters of a request id that are searched as a prefix
_LAST = chr(0x10FFFF)
_SAMPLE = 1000  # newest messages that are counted
_COMMON = 10  # matches in the sample that make a text common


def with_message(runs: Runs, text: str) -> Runs:
    """Runs whose message, or whose job's message, contains a text, ignoring case."""
    if len(text) < _SHORTEST or not has_trigrams() or _is_common(text):
        return _with_any_message(runs).filter(_contains(text))
    if connection.vendor == "sqlite":
        runs = _with_trigrams(runs, text)
    return runs.filter(Q(message__icontains=text) | Q(failed_message__icontains=text))


def with_request_id(runs: Runs, text: str) -> Runs:
    """Runs whose POST had this request id, or one with this prefix."""
    if len(text) < _SHORTEST_PREFIX:
        return runs.filter(request_id=text)
    if connection.vendor == "sqlite":  # its LIKE uses no index; a range of code points does
        ids = BackupRun.objects.filter(request_id__gte=text, request_id__lt=f"{text}{_LAST}")
        return runs.filter(pk__in=ids.values("pk"))
    return runs.filter(request_id__startswith=text)


def _with_any_message(runs: Runs) -> Runs:
    return runs.filter(Q(IsGiven("message")) | Q(IsGiven("failed_message")))


def _contains(text: str) -> Q:
    # Not LIKE: PostgreSQL assumes that a long text is rare, and would read and sort all matches.
    wanted = Upper(Value(text))
    message, failed = (
        GreaterThan(StrIndex(Upper(column), wanted), 0) for column in ("message", "failed_message")
    )
    return Q(message) | Q(failed)


def _is_common(text: str) -> bool:
    newest = _with_any_message(BackupRun.objects.order_by("-requested_at", "-id"))
    found = newest[:_SAMPLE].aggregate(number=Count("pk", filter=_contains(text)))
    return bool(found["number"] >= _COMMON)


# --- SQLite: the full-text table -----------------------------------------------------------------

_RUNS, _WORDS = "backups_backuprun", "backups_run_words"
_SQL = (Path(__file__).parent.parent / "sql" / "run_words.sqlite.sql").read_text()
_TRIGGER = re.compile(r"^(CREATE TRIGGER (\w+) .*?^END);$", re.MULTILINE | re.DOTALL)
_TRIGGERS = {name: statement for statement, name in _TRIGGER.findall(_SQL)}
_INDEX, _TABLE, _FILL = (
    part.strip() for part in _SQL.partition("CREATE TRIGGER")[0].split(";\n") if part.strip()
)


def has_trigrams() -> bool:
    """Whether the database finds a text by its trigrams."""
    return _has_trigrams(connection.alias, str(connection.settings_dict["NAME"]))


@lru_cache(maxsize=8)
def _has_trigrams(alias: str, name: str) -> bool:
    database = connections[alias]
    query = (
        "SELECT count(*) = 2 FROM pg_indexes WHERE schemaname = ANY(current_schemas(false)) "
        "AND indexname IN ('run_message_words', 'run_failed_message_words')"
        if database.vendor == "postgresql"
        else f"SELECT count(*) = 1 FROM sqlite_master WHERE name = '{_WORDS}'"  # noqa: S608 - ours
    )
    with database.cursor() as cursor:
        cursor.execute(query)
        return bool(cursor.fetchone()[0])


def _with_trigrams(runs: Runs, text: str) -> Runs:
    """Runs whose messages contain all trigrams of a text in order.

    This ignores the case of accented letters, too, which LIKE does not; callers that want LIKE's
    result filter by it as well.
    """
    quoted = '"{}"'.format(text.replace('"', '""'))
    query = f"SELECT rowid FROM {_WORDS} WHERE {_WORDS} MATCH %s"  # noqa: S608 - names of ours
    return runs.filter(pk__in=RawSQL(query, [quoted]))  # noqa: S611 - the text is a parameter


def create_search_table(using: str, **_: Any) -> None:
    """Create what is missing on SQLite; a `post_migrate` receiver.

    A migration that rebuilds the table of runs drops its triggers and index.
    """
    database = connections[using]
    if database.vendor != "sqlite" or _RUNS not in database.introspection.table_names():
        return
    with database.cursor() as cursor:
        cursor.execute(_INDEX)
    _create_words(database)
    _has_trigrams.cache_clear()


def _create_words(database: BaseDatabaseWrapper) -> None:
    with database.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        triggers = dict(cursor.fetchall())
        if all(triggers.get(name) == sql for name, sql in _TRIGGERS.items()):
            return
        # Without its triggers the table may have missed changes: rebuild it.
        for name in _TRIGGERS:
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
        try:
            cursor.execute(f"DROP TABLE IF EXISTS {_WORDS}")
            cursor.execute(_TABLE)
        except OperationalError:  # SQLite without FTS5, or older than the trigram tokenizer
            return
        for sql in (_FILL, *_TRIGGERS.values()):
            cursor.execute(sql)
