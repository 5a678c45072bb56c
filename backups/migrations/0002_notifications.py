import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Channel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, unique=True)),
                ('kind', models.CharField(choices=[('apprise', 'Apprise: mail, Slack, Teams and others'), ('webhook', 'Signed webhook')], max_length=10)),
                ('sealed', models.TextField(help_text='encrypted')),
                ('shown', models.CharField(help_text='the address without its secrets', max_length=255)),
                ('enabled', models.BooleanField(default=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('created_by_name', models.CharField(max_length=255)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('message_id', models.CharField(help_text='the same at each attempt', max_length=40, unique=True)),
                ('channel_name', models.CharField(blank=True, max_length=100)),
                ('kind', models.CharField(choices=[('run_failed', 'Log backup failed'), ('run_rejected', 'Log backup rejected'), ('run_unknown', 'Outcome unknown'), ('protection_overdue', 'Protection overdue'), ('protection_recovered', 'Protection recovered'), ('schedule_skipped', 'Schedule skipped'), ('schedule_stopped', 'Schedule stopped'), ('batch_ended', 'Batch ended'), ('work_stalled', 'Work does not flow'), ('work_recovered', 'Work flows again'), ('audit_broken', 'Audit trail or its guards broken'), ('report', 'Report'), ('test', 'Test'), ('ping', 'Ping')], max_length=20)),
                ('key', models.CharField(blank=True, max_length=200)),
                ('group', models.CharField(blank=True, help_text='hash of what notices share', max_length=64)),
                ('count', models.PositiveIntegerField(default=1, help_text='notices in it')),
                ('title', models.CharField(blank=True, max_length=300)),
                ('body', models.TextField(blank=True)),
                ('sealed', models.TextField(blank=True, help_text='of a ping: its URL, encrypted')),
                ('attachment', models.BinaryField(blank=True, null=True)),
                ('attachment_name', models.CharField(blank=True, max_length=200)),
                ('attachment_type', models.CharField(blank=True, max_length=100)),
                ('state', models.CharField(choices=[('waiting', 'Waiting'), ('sending', 'Sending'), ('sent', 'Sent'), ('failed', 'Given up'), ('cancelled', 'Cancelled')], default='waiting', max_length=10)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('next_at', models.DateTimeField(default=django.utils.timezone.now, help_text='earliest next attempt')),
                ('leased_by', models.CharField(blank=True, max_length=120)),
                ('leased_at', models.DateTimeField(blank=True, null=True)),
                ('error', models.CharField(blank=True, help_text='of the last attempt', max_length=500)),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
                ('channel', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='deliveries', to='backups.channel')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
            },
        ),
        migrations.CreateModel(
            name='Notice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('run_failed', 'Log backup failed'), ('run_rejected', 'Log backup rejected'), ('run_unknown', 'Outcome unknown'), ('protection_overdue', 'Protection overdue'), ('protection_recovered', 'Protection recovered'), ('schedule_skipped', 'Schedule skipped'), ('schedule_stopped', 'Schedule stopped'), ('batch_ended', 'Batch ended'), ('work_stalled', 'Work does not flow'), ('work_recovered', 'Work flows again'), ('audit_broken', 'Audit trail or its guards broken'), ('report', 'Report'), ('test', 'Test'), ('ping', 'Ping')], max_length=20)),
                ('key', models.CharField(help_text='what happened; the same twice is one notice', max_length=200)),
                ('cause', models.CharField(blank=True, help_text='equal causes share a message', max_length=200)),
                ('facts', models.JSONField(default=dict)),
                ('at', models.DateTimeField(default=django.utils.timezone.now)),
                ('routed_at', models.DateTimeField(blank=True, help_text='its deliveries are stored', null=True)),
                ('cluster', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='backups.cluster')),
                ('project', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='backups.project')),
            ],
        ),
        migrations.CreateModel(
            name='NoticeDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('channel', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='backups.channel')),
                ('delivery', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='links', to='backups.delivery')),
                ('notice', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='backups.notice')),
            ],
        ),
        migrations.CreateModel(
            name='Rule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kinds', models.JSONField(help_text='values of NoticeKind')),
                ('label', models.CharField(blank=True, max_length=200)),
                ('channel', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rules', to='backups.channel')),
                ('project', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='backups.project')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='Alert',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('run_failed', 'Log backup failed'), ('run_rejected', 'Log backup rejected'), ('run_unknown', 'Outcome unknown'), ('protection_overdue', 'Protection overdue'), ('protection_recovered', 'Protection recovered'), ('schedule_skipped', 'Schedule skipped'), ('schedule_stopped', 'Schedule stopped'), ('batch_ended', 'Batch ended'), ('work_stalled', 'Work does not flow'), ('work_recovered', 'Work flows again'), ('audit_broken', 'Audit trail or its guards broken'), ('report', 'Report'), ('test', 'Test'), ('ping', 'Ping')], max_length=20)),
                ('subject', models.CharField(blank=True, help_text='of several of a kind', max_length=60)),
                ('began_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('cluster', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='alerts', to='backups.cluster')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('kind', 'subject'), name='alert_once_per_subject')],
            },
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state__in', ['waiting', 'sending'])), fields=['next_at'], name='delivery_unsent'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['-created_at', '-id'], name='delivery_newest'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['channel', '-created_at', '-id'], name='delivery_by_channel'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.UniqueConstraint(condition=models.Q(('key', ''), _negated=True), fields=('channel', 'kind', 'key'), name='delivery_once_per_channel_and_key'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.UniqueConstraint(condition=models.Q(('kind', 'ping')), fields=('key',), name='ping_once_per_key'),
        ),
        migrations.AddIndex(
            model_name='notice',
            index=models.Index(condition=models.Q(('routed_at', None)), fields=['id'], name='notice_unrouted'),
        ),
        migrations.AddIndex(
            model_name='notice',
            index=models.Index(fields=['at'], name='notice_by_time'),
        ),
        migrations.AddConstraint(
            model_name='notice',
            constraint=models.UniqueConstraint(fields=('kind', 'key'), name='notice_once_per_kind_and_key'),
        ),
        migrations.AddConstraint(
            model_name='noticedelivery',
            constraint=models.UniqueConstraint(fields=('notice', 'channel'), name='notice_once_per_channel'),
        ),
    ]
