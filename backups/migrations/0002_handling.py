import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Handling',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('cause', models.CharField(help_text='AttentionCause when it was made', max_length=24)),
                ('verified_at', models.DateTimeField(blank=True, help_text='of the cluster, then', null=True)),
                ('reason', models.CharField(max_length=500)),
                ('until', models.DateTimeField(blank=True, help_text='empty: until the cause changes', null=True)),
                ('made_at', models.DateTimeField()),
                ('made_by_name', models.CharField(blank=True, max_length=255)),
                ('ended_at', models.DateTimeField(blank=True, help_text='by hand, or replaced', null=True)),
                ('ended_by_name', models.CharField(blank=True, max_length=255)),
                ('ended_why', models.CharField(blank=True, max_length=500)),
                ('scope', models.CharField(max_length=80)),
                ('cluster', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='handlings', to='backups.cluster')),
                ('project', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='backups.project')),
            ],
            options={
                'ordering': ['-made_at', '-id'],
                'constraints': [models.UniqueConstraint(condition=models.Q(('ended_at', None)), fields=('scope',), name='one_open_handling_per_scope')],
            },
        ),
    ]
