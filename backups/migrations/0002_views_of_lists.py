"""Saved views of the clusters page beside those of the history."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="savedview",
            name="listing",
            field=models.CharField(
                choices=[("history", "History"), ("clusters", "Clusters")],
                default="history",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="savedview",
            name="query",
            field=models.CharField(
                blank=True, help_text="query string of the list's URL", max_length=2000
            ),
        ),
        migrations.RemoveConstraint(model_name="savedview", name="saved_view_once_per_name"),
        migrations.AddConstraint(
            model_name="savedview",
            constraint=models.UniqueConstraint(
                fields=("owner", "listing", "name"), name="saved_view_once_per_name"
            ),
        ),
    ]
