from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("backups", "0005_history")]

    operations = [
        migrations.AddField(
            model_name="cluster",
            name="check_leased_by",
            field=models.CharField(blank=True, help_text="Heartbeat.name", max_length=120),
        ),
        migrations.AddField(
            model_name="cluster",
            name="check_leased_until",
            field=models.DateTimeField(blank=True, help_text="set: under way", null=True),
        ),
        migrations.AddField(
            model_name="logsettings",
            name="changed_at",
            field=models.DateTimeField(blank=True, help_text="first seen like this", null=True),
        ),
        migrations.AddIndex(
            model_name="cluster",
            index=models.Index(
                condition=models.Q(("check_leased_until__isnull", False)),
                fields=["check_leased_until"],
                name="cluster_check_leased",
            ),
        ),
    ]
