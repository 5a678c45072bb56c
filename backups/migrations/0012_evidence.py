"""Calls with the whole request, without its secrets; runs that were settled by hand."""

from django.db import migrations, models

from backups.guards import GUARDS


def lift(apps, schema_editor):
    # SQLite makes the tables anew, which it refuses while triggers of other tables speak of them
    GUARDS.remove(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0011_guards"),
    ]

    operations = [
        migrations.RunPython(lift, migrations.RunPython.noop),
        migrations.AddField(
            model_name="apicall",
            name="url",
            field=models.CharField(blank=True, default="", max_length=2000),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="apicall",
            name="request_headers",
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name="apicall",
            name="request_body",
            field=models.TextField(blank=True, default=""),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="backuprun",
            name="settled_by_hand",
            field=models.BooleanField(
                default=False, help_text="somebody's word ended it, nothing that the cloud said"
            ),
        ),
    ]
