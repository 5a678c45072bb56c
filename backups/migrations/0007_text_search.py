"""PostgreSQL: indexes for the history's search in messages.

Without them a word that is rare is looked for in the messages of all runs. SQLite has no such
index; it reads them.
"""

import logging

from django.db import NotSupportedError, ProgrammingError, migrations, transaction

logger = logging.getLogger(__name__)

# As Django writes `icontains` for PostgreSQL: UPPER(column::text) LIKE UPPER(…).
INDEXES = {
    "run_message_words": "UPPER(message::text)",
    "run_failed_message_words": "UPPER(failed_message::text)",
}


def create(apps, schema_editor):
    connection = schema_editor.connection
    if connection.vendor != "postgresql":
        return
    try:
        with transaction.atomic(connection.alias), connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    except (ProgrammingError, NotSupportedError) as error:
        # The search works without, it is slow: no reason to refuse the whole product.
        logger.warning(
            "the extension pg_trgm cannot be made (%s): the search in messages stays slow until "
            "an administrator of the database makes it and the two indexes of this migration",
            error,
        )
        return
    for name, expression in INDEXES.items():
        schema_editor.execute(
            f"CREATE INDEX IF NOT EXISTS {name} ON backups_backuprun "
            f"USING gin ({expression} gin_trgm_ops)"
        )


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for name in INDEXES:
            schema_editor.execute(f"DROP INDEX IF EXISTS {name}")


class Migration(migrations.Migration):
    dependencies = [("backups", "0006_readiness")]

    operations = [migrations.RunPython(create, drop)]
