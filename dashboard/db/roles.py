"""The role that this process has in PostgreSQL, and SQL for one that owns nothing.

The owner of a table can drop its triggers. So the tables should belong to a role that migrates
them, and web and workers should connect as another.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

_NAME = re.compile(r"[a-z_][a-z0-9_$]{0,62}")


@dataclass(frozen=True, slots=True)
class DatabaseRole:
    """A role of PostgreSQL.

    Attributes:
        name: its name.
        superuser: it may do everything.
        owner: it owns guarded tables, or may act as their owner.
        creator: it may create objects in their schema.
    """

    name: str
    superuser: bool
    owner: bool
    creator: bool

    @property
    def is_bound(self) -> bool:
        """Whether the guards bind this role: it can neither drop nor bypass them."""
        return not (self.superuser or self.owner or self.creator)

    @property
    def in_words(self) -> str:
        """What it may do, as a sentence."""
        if self.superuser:
            return f"database role {self.name} is a superuser: no trigger binds it"
        if self.owner:
            return f"database role {self.name} owns the tables and can drop their triggers"
        if self.creator:
            return f"database role {self.name} may create objects in the schema of the tables"
        return f"database role {self.name} owns nothing: the triggers bind it"


def current_role(connection: BaseDatabaseWrapper, tables: Collection[str]) -> DatabaseRole | None:
    """Return the role of a connection; None on SQLite, which has no roles.

    Args:
        connection: the connection.
        tables: names of the guarded tables.
    """
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, bool_or(rolsuper), bool_or(pg_has_role(relowner, 'MEMBER')), "
            "bool_or(has_schema_privilege(relnamespace, 'CREATE')) "
            "FROM pg_class, pg_roles WHERE pg_class.oid = ANY(%s::regclass[]) "
            "AND rolname = current_user",
            [sorted(tables)],
        )
        name, superuser, owner, creator = cursor.fetchone()
    return DatabaseRole(str(name), bool(superuser), bool(owner), bool(creator))


def two_roles(database: str, owner: str, runtime: str, schema: str = "public") -> str:
    """Return SQL that makes two roles and hands the tables to one of them. It can be run again.

    Args:
        database: name of the database.
        owner: name of the role that owns everything and runs `migrate`.
        runtime: name of the role of web and workers.
        schema: schema of the tables.

    Raises:
        ValueError: a name is not a plain identifier, or both roles are the same.
    """
    for name in (owner, runtime, schema):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of lower-case letters, digits and _")
        if name == "postgres" or name.startswith("pg_"):
            raise ValueError(f"{name!r} belongs to PostgreSQL itself: choose another name")
    if owner == runtime:
        raise ValueError("the two roles need different names")
    quoted = '"' + database.replace('"', '""') + '"'
    return _TWO_ROLES.format(database=quoted, owner=owner, runtime=runtime, schema=schema)


_TWO_ROLES = """\
-- Two roles for the dashboard. Run this as a superuser, in the database of the dashboard:
-- once, and again after `migrate` was run by another role than {owner}.
--
-- {owner}: owns tables, triggers and functions; for manage.py migrate, load_dump, restore_guards.
-- {runtime}: owns nothing and creates nothing; for web and workers.
-- Give both a password or another way to authenticate: ALTER ROLE … PASSWORD, pg_hba.conf.

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['{owner}', '{runtime}'] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', role);
        END IF;
    END LOOP;
END $$;
ALTER ROLE {owner} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE {runtime} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
REVOKE {owner} FROM {runtime};

-- the search in messages needs it; only a superuser may create it everywhere
CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA {schema};

REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC, {runtime};
GRANT CONNECT ON DATABASE {database} TO {owner}, {runtime};
GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner};
GRANT USAGE ON SCHEMA {schema} TO {runtime};

-- everything that is there, except what belongs to an extension
DO $$
DECLARE
    each record;
BEGIN
    FOR each IN
        SELECT format(
            'ALTER %s %s OWNER TO {owner}',
            CASE c.relkind
                WHEN 'S' THEN 'SEQUENCE'
                WHEN 'v' THEN 'VIEW'
                WHEN 'm' THEN 'MATERIALIZED VIEW'
                ELSE 'TABLE'
            END,
            c.oid::regclass
        ) AS command
        FROM pg_class AS c
        WHERE c.relnamespace = '{schema}'::regnamespace
        AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
        -- sequences of columns follow their tables
        AND NOT EXISTS (
            SELECT 1 FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype IN ('a', 'e', 'i')
        )
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO {owner}', p.oid::regprocedure)
        FROM pg_proc AS p
        WHERE p.pronamespace = '{schema}'::regnamespace
        AND NOT EXISTS (SELECT 1 FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE each.command;
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {runtime};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {runtime};
REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {runtime};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {runtime};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}
    GRANT USAGE, SELECT ON SEQUENCES TO {runtime};
"""
