import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0002_notifications'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Firing',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slot', models.DateTimeField(help_text='for a firing by hand, when it was asked for')),
                ('fired_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('result', models.CharField(choices=[('fired', 'Fired'), ('caught_up', 'Caught up'), ('skipped', 'Skipped'), ('failed', 'Failed')], max_length=9)),
                ('note', models.CharField(blank=True, help_text='why, in English', max_length=500)),
                ('matched', models.PositiveIntegerField(default=0, help_text='clusters that the selection had')),
                ('requested', models.PositiveIntegerField(default=0, help_text='clusters of the batch')),
                ('by_hand', models.BooleanField(default=False)),
                ('by_name', models.CharField(blank=True, help_text='who fired it by hand', max_length=255)),
                ('awaits_ping', models.BooleanField(default=False, help_text='its ping has not been queued yet')),
            ],
        ),
        migrations.AddField(
            model_name='batch',
            name='waits_until',
            field=models.FloatField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='batch',
            name='trigger',
            field=models.CharField(choices=[('button', 'Button'), ('bulk', 'Bulk'), ('schedule', 'Schedule'), ('api', 'API'), ('cli', 'Command line'), ('cloud', "The cloud's own")], help_text='bulk, schedule, api or cli', max_length=10),
        ),
        migrations.AddField(
            model_name='batch',
            name='firing',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='batch', to='backups.firing'),
        ),
        migrations.CreateModel(
            name='Schedule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('work', models.CharField(choices=[('backup', 'Back up')], default='backup', max_length=10)),
                ('owner_name', models.CharField(max_length=255)),
                ('is_on', models.BooleanField(default=True)),
                ('stopped_reason', models.CharField(blank=True, help_text='why it stopped itself', max_length=500)),
                ('cron', models.CharField(blank=True, max_length=100)),
                ('interval', models.PositiveIntegerField(default=0, help_text='seconds; 0: the cron text')),
                ('anchor', models.DateTimeField(default=django.utils.timezone.now, help_text='intervals count from it')),
                ('zone', models.CharField(default='UTC', max_length=64)),
                ('jitter', models.PositiveIntegerField(default=0, help_text='most seconds after the slot')),
                ('query', models.CharField(blank=True, help_text='filter, as in the URL', max_length=2000)),
                ('picked', models.JSONField(blank=True, default=list, help_text='keys of clusters; empty: the filter')),
                ('when_not_ready', models.CharField(choices=[('skip', 'Skip them, and say so'), ('wait', 'Wait until they are free'), ('anyway', 'Request them anyway')], default='skip', max_length=6)),
                ('wait_minutes', models.PositiveSmallIntegerField(default=0)),
                ('catch_up', models.CharField(choices=[('one', 'Fire once for all of them'), ('none', 'Nothing: wait for the next slot')], default='one', max_length=4)),
                ('overlap', models.BooleanField(default=False, help_text='also while its last batch is open')),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('ping_sealed', models.TextField(blank=True, help_text="dead man's ping URL, encrypted")),
                ('next_slot', models.DateTimeField(blank=True, null=True)),
                ('next_at', models.DateTimeField(blank=True, help_text='the next slot and its jitter', null=True)),
                ('planned_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('changed_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('deleted_at', models.DateTimeField(blank=True, null=True)),
                ('owner', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='schedules', to=settings.AUTH_USER_MODEL)),
                ('projects', models.ManyToManyField(related_name='+', to='backups.project')),
            ],
        ),
        migrations.AddField(
            model_name='firing',
            name='schedule',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='firings', to='backups.schedule'),
        ),
        migrations.AddIndex(
            model_name='schedule',
            index=models.Index(condition=models.Q(('next_at__isnull', False)), fields=['next_at'], name='schedule_due'),
        ),
        migrations.AddConstraint(
            model_name='schedule',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('cron', ''), ('interval__gt', 0)), models.Q(models.Q(('cron', ''), _negated=True), ('interval', 0)), _connector='OR'), name='schedule_cron_or_interval'),
        ),
        migrations.AddConstraint(
            model_name='schedule',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('deleted_at', None), ('is_on', True)), ('next_at', None), _connector='OR'), name='schedule_off_is_not_due'),
        ),
        migrations.AddIndex(
            model_name='firing',
            index=models.Index(fields=['schedule', '-id'], name='firing_newest'),
        ),
        migrations.AddIndex(
            model_name='firing',
            index=models.Index(condition=models.Q(('awaits_ping', True)), fields=['id'], name='firing_awaits_ping'),
        ),
        migrations.AddConstraint(
            model_name='firing',
            constraint=models.UniqueConstraint(fields=('schedule', 'slot'), name='slot_once_per_schedule'),
        ),
    ]
