from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("backups", "0007_text_search")]

    operations = [
        migrations.AddField(
            model_name="logsettings",
            name="changing_until",
            field=models.DateTimeField(
                blank=True,
                help_text="somebody's change is under way, at most until then",
                null=True,
            ),
        ),
    ]
