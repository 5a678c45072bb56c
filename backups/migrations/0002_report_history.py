import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0002_schedules'),
    ]

    operations = [
        migrations.CreateModel(
            name='ObjectiveChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(help_text='holds from then on')),
                ('assumed_at', models.DateTimeField(blank=True, help_text='set: added then, from what was known at that time', null=True)),
                ('objective_hours', models.PositiveSmallIntegerField()),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='objectives', to='backups.project')),
            ],
            options={
                'db_table': 'backups_objective_change',
            },
        ),
        migrations.CreateModel(
            name='ScopeChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(help_text='holds from then on')),
                ('assumed_at', models.DateTimeField(blank=True, help_text='set: added then, from what was known at that time', null=True)),
                ('watched', models.BooleanField(help_text='listed by the cloud and not archived')),
                ('objective_hours', models.PositiveSmallIntegerField(help_text="empty: the project's", null=True)),
                ('cluster', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='scope_changes', to='backups.cluster')),
            ],
            options={
                'db_table': 'backups_scope_change',
                'indexes': [models.Index(fields=['cluster', 'id'], name='scope_change_of_cluster')],
            },
        ),
    ]
