import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("backups", "0003_fill_inventory")]

    operations = [
        migrations.AlterField(
            model_name="backuprun",
            name="project",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="runs",
                to="backups.project",
            ),
        ),
        migrations.RemoveField(model_name="project", name="synced_at"),
        migrations.RemoveField(model_name="project", name="sync_error"),
    ]
