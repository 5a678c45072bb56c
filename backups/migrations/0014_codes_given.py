"""The index over codes holds the runs that have one."""

from django.db import migrations, models

import backups.models.run


class Migration(migrations.Migration):
    dependencies = [("backups", "0013_user_and_state")]

    operations = [
        migrations.RemoveIndex("backuprun", "run_newest_by_code"),
        migrations.AddIndex(
            "backuprun",
            models.Index(
                fields=["error_code", "-requested_at", "-id"],
                condition=models.Q(backups.models.run.IsGiven("error_code")),
                name="run_newest_by_code",
            ),
        ),
    ]
