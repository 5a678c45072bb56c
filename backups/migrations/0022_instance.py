import backups.models.processes
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0021_canary'),
    ]

    operations = [
        migrations.CreateModel(
            name='Instance',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uid', models.CharField(default=backups.models.processes.new_uid, max_length=32)),
                ('home', models.JSONField(default=dict, help_text='facts of the place; empty: never served')),
                ('generation', models.PositiveIntegerField(default=0, help_text='counts changes of this row')),
                ('adopted', models.BooleanField(default=True)),
                ('origin', models.CharField(blank=True, help_text='uid that the copy came with', max_length=32)),
                ('differs', models.CharField(blank=True, help_text='in which facts, when noticed', max_length=200)),
                ('noticed_at', models.DateTimeField(blank=True, help_text='that it is a copy', null=True)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('pk', 1)), name='one_instance')],
            },
        ),
    ]
