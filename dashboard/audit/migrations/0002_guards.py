from django.db import migrations

from dashboard.audit.guards import GUARDS


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0001_initial"),
    ]

    operations = [
        GUARDS.operation(),
    ]
