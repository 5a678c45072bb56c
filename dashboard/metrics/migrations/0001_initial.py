from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Sample",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("labels", models.CharField(max_length=500)),
                ("value", models.FloatField()),
            ],
            options={
                "db_table": "metrics_sample",
                "constraints": [
                    models.UniqueConstraint(fields=("name", "labels"), name="one_row_per_sample")
                ],
            },
        ),
    ]
