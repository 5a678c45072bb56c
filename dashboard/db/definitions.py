"""Whether PostgreSQL's triggers and their functions are those of our files, and the only ones."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

_FUNCTION = re.compile(
    r"^CREATE FUNCTION (?P<name>\w+)\(\) RETURNS trigger LANGUAGE plpgsql"
    r"(?:\s+SET search_path = (?P<path>[^\n]*?))? AS \$\$(?P<body>.*?)\$\$;",
    re.MULTILINE | re.DOTALL,
)
_TRIGGER = re.compile(
    r"^CREATE TRIGGER (?P<name>\w+)\s+(?P<event>(?:BEFORE|AFTER) \w+(?: OF [\w, ]+)?) "
    r"ON (?P<table>\w+)\s+"
    r"FOR EACH (?P<level>\w+)\s+EXECUTE FUNCTION (?P<function>\w+)\(\);",
    re.MULTILINE,
)
_PRESENT = """
SELECT t.tgname, pg_get_triggerdef(t.oid), pg_get_functiondef(t.tgfoid), n.nspname, f.proname
FROM pg_trigger AS t
JOIN pg_proc AS f ON f.oid = t.tgfoid
JOIN pg_namespace AS n ON n.oid = f.pronamespace
WHERE t.tgrelid = ANY(%s::regclass[]) AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
"""
_FOREIGN = """
SELECT 'session_replication_role is ' || current_setting('session_replication_role')
WHERE current_setting('session_replication_role') <> 'origin'
UNION ALL
SELECT 'trigger ' || tgname FROM pg_trigger
WHERE tgrelid = ANY(%(tables)s::regclass[]) AND NOT tgisinternal AND NOT tgname = ANY(%(names)s)
UNION ALL
SELECT 'rule ' || rulename FROM pg_rewrite WHERE ev_class = ANY(%(tables)s::regclass[])
UNION ALL
SELECT 'row security of ' || relname FROM pg_class
WHERE oid = ANY(%(tables)s::regclass[]) AND (relrowsecurity OR relforcerowsecurity)
UNION ALL
SELECT 'table ' || inhrelid::regclass::text || ' below ' || inhparent::regclass::text
FROM pg_inherits WHERE inhparent = ANY(%(tables)s::regclass[])
"""


def different(connection: BaseDatabaseWrapper, sql: str) -> set[str]:
    """Return the triggers that are absent, disabled, or defined in another way than in a file.

    Args:
        connection: to a PostgreSQL database.
        sql: the file, with its schema filled in. It has to declare functions and triggers as the
            patterns of this module read them.
    """
    functions = {found["name"]: found for found in _FUNCTION.finditer(sql)}
    triggers = list(_TRIGGER.finditer(sql))
    present = _present(connection, {found["table"] for found in triggers})
    bad = set()
    for found in triggers:
        name = found["name"]
        # One without a WHEN condition, whose text would depend on the server's version.
        trigger = (
            f"CREATE TRIGGER {name} {found['event']} ON {found['table']} "
            f"FOR EACH {found['level']} EXECUTE FUNCTION {found['function']}()"
        )
        if present.get(name) != (trigger, _as_postgresql(functions[found["function"]])):
            bad.add(name)
    return bad


def _as_postgresql(function: re.Match[str]) -> str:
    """A function of a file as `pg_get_functiondef` writes it, without its schema."""
    path = ""
    if function["path"]:
        names = (name.strip().strip('"') for name in function["path"].split(","))
        path = f" SET search_path TO {', '.join(repr(name) for name in names)}\n"
    return (
        f"CREATE OR REPLACE FUNCTION {function['name']}()\n RETURNS trigger\n LANGUAGE plpgsql\n"
        f"{path}AS $function${function['body']}$function$\n"
    )


def _present(connection: BaseDatabaseWrapper, tables: Collection[str]) -> dict[str, Any]:
    """The definitions of the enabled triggers, by name, without the schema of their tables."""
    with connection.cursor() as cursor:
        cursor.execute(_PRESENT, [sorted(tables)])
        rows = cursor.fetchall()
        cursor.execute(
            "SELECT relnamespace::regnamespace::text, n.nspname FROM pg_class AS c "
            "JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s::regclass",
            [min(tables)],
        )
        quoted, schema = cursor.fetchone()
    return {
        name: (
            trigger.replace(f" ON {quoted}.", " ON ").replace(f" FUNCTION {quoted}.", " FUNCTION "),
            # a function of another schema keeps its name, and so differs
            function.replace(f" FUNCTION {quoted}.", " FUNCTION ", 1)
            if where == schema
            else f"{where}.{proname}",
        )
        for name, trigger, function, where, proname in rows
    }


def foreign(
    connection: BaseDatabaseWrapper, tables: Collection[str], names: Collection[str]
) -> set[str]:
    """Return what disarms guards, or changes rows beside them, on a PostgreSQL database.

    Args:
        connection: to a PostgreSQL database.
        tables: the guarded tables.
        names: the triggers that belong there.

    Returns:
        Names of other triggers, rules, tables with row security and inheriting tables, each with
        its kind; and a session in which triggers do not fire.
    """
    with connection.cursor() as cursor:
        cursor.execute(_FOREIGN, {"tables": sorted(tables), "names": sorted(names)})
        return {row[0] for row in cursor.fetchall()}
