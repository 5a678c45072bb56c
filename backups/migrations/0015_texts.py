"""Indexes for codes with a user, for the beginning of a request id, and for common words."""

from django.db import migrations, models

import backups.models.run

# PostgreSQL: ?q= with a word that many messages have, newest first (history/texts.py). SQLite has
# the messages in its index, which PostgreSQL's entries have no room for (history/trigrams.py).
NAME = "run_newest_that_says"
MAKE = (
    f"CREATE INDEX IF NOT EXISTS {NAME} ON backups_backuprun (requested_at DESC, id DESC) "
    "WHERE (message <> '') OR (failed_message <> '')"
)


def create(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(MAKE)


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"DROP INDEX IF EXISTS {NAME}")


class Migration(migrations.Migration):
    dependencies = [("backups", "0014_codes_given")]

    operations = [
        migrations.AddIndex(
            "backuprun",
            models.Index(
                fields=["error_code", "requested_by_name", "-requested_at", "-id"],
                condition=models.Q(backups.models.run.IsGiven("error_code")),
                name="run_by_code_and_user",
            ),
        ),
        migrations.RemoveIndex("backuprun", "run_by_request_id"),
        migrations.AddIndex(
            "backuprun",
            models.Index(
                fields=["request_id"],
                opclasses=["varchar_pattern_ops"],
                name="run_by_request_id",
            ),
        ),
        migrations.RunPython(create, drop),
    ]
