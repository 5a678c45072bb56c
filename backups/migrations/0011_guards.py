"""Ended runs do not change any more: the triggers of backups/guards.py, made after migrating."""

from django.db import migrations

from backups.guards import GUARDS


def remove(apps, schema_editor):
    GUARDS.remove(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0010_retention"),
        ("audit", "0001_initial"),
    ]

    operations = [
        migrations.RunPython(migrations.RunPython.noop, remove),
    ]
