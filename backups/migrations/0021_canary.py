from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0020_ticker'),
    ]

    operations = [
        migrations.CreateModel(
            name='Canary',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveBigIntegerField(default=0)),
                ('arrived_at', models.DateTimeField(help_text="the worker's wall clock")),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('pk', 1)), name='one_canary')],
            },
        ),
    ]
