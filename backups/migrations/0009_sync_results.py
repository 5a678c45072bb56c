from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0008_log_settings_changing"),
    ]

    operations = [
        # what is present was listed by its connection's last sync: Connection.synced_at
        migrations.RemoveField(model_name="cluster", name="seen_at"),
        migrations.AddField(
            model_name="connection",
            name="sync_duration",
            field=models.DurationField(blank=True, help_text="of that one", null=True),
        ),
        migrations.AddField(
            model_name="connection",
            name="sync_ended_at",
            field=models.DateTimeField(blank=True, help_text="last one, well or not", null=True),
        ),
        migrations.AddField(
            model_name="connection",
            name="sync_fault",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "No fault"),
                    ("configuration", "The entry cannot be used"),
                    ("refused", "Sign-in refused"),
                    ("second_factor", "A second factor is wanted"),
                    ("address", "No identity service there"),
                    ("catalog", "Not in the catalog"),
                    ("dns", "Host name not found"),
                    ("tls", "No secure connection"),
                    ("proxy", "Stopped by a proxy"),
                    ("unreachable", "Not reachable"),
                    ("unanswered", "No answer"),
                    ("forbidden", "Not permitted"),
                    ("not_found", "Nothing at that address"),
                    ("throttled", "Too many requests"),
                    ("server_error", "Error of the cloud"),
                    ("malformed", "Unusable answer"),
                    ("internal", "Error of the dashboard"),
                ],
                help_text="the same in one word",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="connection",
            name="sync_step",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "Nothing"),
                    ("waiting", "Waiting for a worker"),
                    ("signing_in", "Signing in"),
                    ("listing", "Listing clusters"),
                    ("storing", "Storing"),
                ],
                help_text="what it is doing",
                max_length=20,
            ),
        ),
    ]
