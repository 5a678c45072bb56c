from __future__ import annotations

from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# percent; in the rest is room for a row's next version, which then needs no new index entries
FILLFACTOR = 85


def leave_room(apps: Any, editor: BaseDatabaseSchemaEditor) -> None:
    """Of PostgreSQL; for pages that are filled from now on."""
    if editor.connection.vendor == "postgresql":
        editor.execute(f"ALTER TABLE backups_backuprun SET (fillfactor = {FILLFACTOR})")


def fill(apps: Any, editor: BaseDatabaseSchemaEditor) -> None:
    if editor.connection.vendor == "postgresql":
        editor.execute("ALTER TABLE backups_backuprun RESET (fillfactor)")


class Migration(migrations.Migration):

    dependencies = [
        ("backups", "0022_instance"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="backuprun", name="run_queued_due"),
        migrations.RemoveIndex(model_name="backuprun", name="run_check_due"),
        migrations.RemoveIndex(model_name="backuprun", name="run_sending_claims"),
        migrations.RunPython(leave_room, fill),
    ]
