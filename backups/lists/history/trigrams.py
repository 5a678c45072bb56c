"""Indexes over the words of messages that a model cannot describe, and whether they are there.

PostgreSQL: migration 0007 makes indexes of trigrams, where the extension pg_trgm can be made.

SQLite has no index for a text in the middle of another. Its full-text table with trigrams (FTS5,
SQLite 3.34 or newer) does it: kept by triggers, it holds the runs that say anything, which few do.
Where it cannot be made the messages are read, from an index of those that there are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.db import OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import RawSQL

from .paging import Runs

_RUNS, _WORDS = "backups_backuprun", "backups_run_words"
# Not in the model: an entry of PostgreSQL's indexes is at most a third of a page.
_INDEX = (
    f"CREATE INDEX IF NOT EXISTS run_newest_with_text ON {_RUNS} "
    "(requested_at DESC, id DESC, message, failed_message) "
    "WHERE message <> '' OR failed_message <> ''"
)
# It holds no text itself: what it finds is looked up in the runs.
_TABLE = (
    f"CREATE VIRTUAL TABLE {_WORDS} USING fts5(message, failed_message, "
    f"content='{_RUNS}', content_rowid='id', tokenize='trigram', detail='full')"
)
_COLUMNS = "rowid, message, failed_message"


def _says(row: str) -> str:
    return f"({row}message <> '' OR {row}failed_message <> '')"


def _add(row: str) -> str:
    values = f"SELECT {row}.id, {row}.message, {row}.failed_message WHERE {_says(f'{row}.')}"
    return f"INSERT INTO {_WORDS} ({_COLUMNS}) {values};"


_REMOVE = (
    f"INSERT INTO {_WORDS} ({_WORDS}, {_COLUMNS}) "
    f"SELECT 'delete', OLD.id, OLD.message, OLD.failed_message WHERE {_says('OLD.')};"
)
_TRIGGERS = {
    "backups_words_added": f"AFTER INSERT ON {_RUNS} WHEN {_says('NEW.')} BEGIN {_add('NEW')} END",
    "backups_words_changed": (
        f"AFTER UPDATE OF message, failed_message ON {_RUNS} "
        "WHEN NEW.message IS NOT OLD.message OR NEW.failed_message IS NOT OLD.failed_message "
        f"BEGIN {_REMOVE} {_add('NEW')} END"
    ),
    "backups_words_removed": f"AFTER DELETE ON {_RUNS} WHEN {_says('OLD.')} BEGIN {_REMOVE} END",
}


def has_trigrams() -> bool:
    """Whether the database finds a text by its trigrams."""
    return _has_trigrams(connection.alias, str(connection.settings_dict["NAME"]))


@lru_cache(maxsize=8)
def _has_trigrams(alias: str, name: str) -> bool:
    there = connections[alias]
    query = (
        "SELECT count(*) = 2 FROM pg_indexes WHERE schemaname = ANY(current_schemas(false)) "
        "AND indexname IN ('run_message_words', 'run_failed_message_words')"
        if there.vendor == "postgresql"
        else f"SELECT count(*) = 1 FROM sqlite_master WHERE name = '{_WORDS}'"  # noqa: S608 - ours
    )
    with there.cursor() as cursor:
        cursor.execute(query)
        return bool(cursor.fetchone()[0])


def holding(runs: Runs, text: str) -> Runs:
    """SQLite: those of the runs whose messages hold all trigrams of a text in their order.

    Letters with accents count as equal whatever their case, which LIKE does not do: who wants
    what LIKE finds asks for that as well.
    """
    quoted = '"{}"'.format(text.replace('"', '""'))
    query = f"SELECT rowid FROM {_WORDS} WHERE {_WORDS} MATCH %s"  # noqa: S608 - names of ours
    return runs.filter(pk__in=RawSQL(query, [quoted]))  # noqa: S611 - the text is a parameter


def keep(using: str, **_: Any) -> None:
    """SQLite: make what is missing. A migration that makes the table of runs anew drops it."""
    there = connections[using]
    if there.vendor != "sqlite" or _RUNS not in there.introspection.table_names():
        return
    with there.cursor() as cursor:
        cursor.execute(_INDEX)
    _keep_words(there)
    _has_trigrams.cache_clear()


def _keep_words(there: BaseDatabaseWrapper) -> None:
    with there.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        triggers = dict(cursor.fetchall())
        wanted = {name: f"CREATE TRIGGER {name} {rest}" for name, rest in _TRIGGERS.items()}
        if all(triggers.get(name) == sql for name, sql in wanted.items()):
            return
        # Without its triggers the table may have missed something: it is made anew.
        for name in wanted:
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
        try:
            cursor.execute(f"DROP TABLE IF EXISTS {_WORDS}")
            cursor.execute(_TABLE)
        except OperationalError:  # an SQLite without FTS5, or one that is older than trigrams
            return
        cursor.execute(
            f"INSERT INTO {_WORDS} ({_COLUMNS}) "  # noqa: S608 - names of ours
            f"SELECT id, message, failed_message FROM {_RUNS} WHERE {_says('')}"
        )
        for sql in wanted.values():
            cursor.execute(sql)
