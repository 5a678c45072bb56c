import django.core.validators
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0001_initial'),
    ]

    operations = [
        migrations.AlterField(
            model_name='apicall',
            name='answer_date',
            field=models.DateTimeField(blank=True, help_text="the answer's Date header", null=True),
        ),
        migrations.AlterField(
            model_name='apicall',
            name='purpose',
            field=models.CharField(help_text='collect, records or baseline', max_length=20),
        ),
        migrations.AlterField(
            model_name='apicall',
            name='retry_after',
            field=models.FloatField(blank=True, help_text="seconds, from the cloud's Retry-After", null=True),
        ),
        migrations.AlterField(
            model_name='backuprun',
            name='attempt',
            field=models.PositiveIntegerField(default=0, help_text='number of claims'),
        ),
        migrations.AlterField(
            model_name='backuprun',
            name='corrected_by',
            field=models.BigIntegerField(blank=True, help_text='sequence of the audit event of the correction', null=True),
        ),
        migrations.AlterField(
            model_name='backuprun',
            name='corrected_from',
            field=models.CharField(blank=True, help_text='state before the correction', max_length=12),
        ),
        migrations.AlterField(
            model_name='backuprun',
            name='dispatched_at',
            field=models.DateTimeField(blank=True, help_text='when it was published to the broker', null=True),
        ),
        migrations.AlterField(
            model_name='backuprun',
            name='masked_by',
            field=models.BigIntegerField(blank=True, help_text='sequence of the audit event of the masking', null=True),
        ),
        migrations.AlterField(
            model_name='backuprun',
            name='not_before',
            field=models.DateTimeField(default=django.utils.timezone.now, help_text='earliest time of the next attempt'),
        ),
        migrations.AlterField(
            model_name='backuprun',
            name='note',
            field=models.CharField(blank=True, help_text='what the run is waiting for', max_length=500),
        ),
        migrations.AlterField(
            model_name='backuprun',
            name='readable_uptime',
            field=models.FloatField(blank=True, help_text='Ticker.uptime at that time', null=True),
        ),
        migrations.AlterField(
            model_name='backuprun',
            name='records_readable_at',
            field=models.DateTimeField(blank=True, help_text='when the records were last read successfully', null=True),
        ),
        migrations.AlterField(
            model_name='backuprun',
            name='sent_at',
            field=models.DateTimeField(blank=True, help_text='just before the first byte', null=True),
        ),
        migrations.AlterField(
            model_name='backuprun',
            name='settled_by_hand',
            field=models.BooleanField(default=False, help_text="settled by a user, not by the cloud's records"),
        ),
        migrations.AlterField(
            model_name='batch',
            name='anyway',
            field=models.BooleanField(default=False, help_text='include clusters that the cloud would probably reject'),
        ),
        migrations.AlterField(
            model_name='batch',
            name='digest',
            field=models.CharField(blank=True, help_text='SHA-256 of the sorted cluster ids', max_length=64),
        ),
        migrations.AlterField(
            model_name='batch',
            name='finished_at',
            field=models.DateTimeField(blank=True, help_text='when the last run ended', null=True),
        ),
        migrations.AlterField(
            model_name='batch',
            name='query',
            field=models.CharField(blank=True, help_text='query string of the filter; empty: selected rows', max_length=2000),
        ),
        migrations.AlterField(
            model_name='batch',
            name='values',
            field=models.JSONField(blank=True, default=dict, help_text='parameters: labels, hours, bucket'),
        ),
        migrations.AlterField(
            model_name='batchitem',
            name='note',
            field=models.CharField(blank=True, help_text='result, or why it was skipped or failed', max_length=200),
        ),
        migrations.AlterField(
            model_name='canary',
            name='arrived_at',
            field=models.DateTimeField(help_text="by the worker's wall clock"),
        ),
        migrations.AlterField(
            model_name='cluster',
            name='actions',
            field=models.JSONField(blank=True, default=list, help_text='operations in progress in the cloud'),
        ),
        migrations.AlterField(
            model_name='cluster',
            name='archived_at',
            field=models.DateTimeField(blank=True, help_text='null: not archived', null=True),
        ),
        migrations.AlterField(
            model_name='cluster',
            name='check_error',
            field=models.CharField(blank=True, help_text='why the last check failed', max_length=500),
        ),
        migrations.AlterField(
            model_name='cluster',
            name='check_leased_until',
            field=models.DateTimeField(blank=True, help_text='set while a check runs', null=True),
        ),
        migrations.AlterField(
            model_name='cluster',
            name='checked_at',
            field=models.DateTimeField(blank=True, help_text='last conclusive check', null=True),
        ),
        migrations.AlterField(
            model_name='cluster',
            name='gone_at',
            field=models.DateTimeField(blank=True, help_text='first synchronisation without it', null=True),
        ),
        migrations.AlterField(
            model_name='cluster',
            name='objective_hours',
            field=models.PositiveSmallIntegerField(blank=True, help_text="null: the project's objective", null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(8784)]),
        ),
        migrations.AlterField(
            model_name='cluster',
            name='readiness_detail',
            field=models.CharField(blank=True, help_text='reason for the readiness', max_length=500),
        ),
        migrations.AlterField(
            model_name='cluster',
            name='status',
            field=models.CharField(blank=True, help_text='status code from the cloud, such as 200', max_length=20),
        ),
        migrations.AlterField(
            model_name='connection',
            name='disconnected_at',
            field=models.DateTimeField(blank=True, help_text='set: no longer synchronised', null=True),
        ),
        migrations.AlterField(
            model_name='connection',
            name='next_sync_at',
            field=models.DateTimeField(blank=True, help_text='when the next synchronisation is due', null=True),
        ),
        migrations.AlterField(
            model_name='connection',
            name='sync_duration',
            field=models.DurationField(blank=True, help_text='duration of the last synchronisation', null=True),
        ),
        migrations.AlterField(
            model_name='connection',
            name='sync_ended_at',
            field=models.DateTimeField(blank=True, help_text='end of the last synchronisation, successful or not', null=True),
        ),
        migrations.AlterField(
            model_name='connection',
            name='sync_error',
            field=models.TextField(blank=True, help_text='why the last synchronisation failed'),
        ),
        migrations.AlterField(
            model_name='connection',
            name='sync_fault',
            field=models.CharField(blank=True, choices=[('', 'No fault'), ('configuration', 'Invalid entry in clouds.yaml'), ('refused', 'Sign-in rejected'), ('second_factor', 'Second factor required'), ('address', 'No identity service at the address'), ('catalog', 'Missing from the catalog'), ('dns', 'Host name not found'), ('tls', 'TLS connection failed'), ('proxy', 'Blocked by a proxy'), ('unreachable', 'Unreachable'), ('unanswered', 'No answer'), ('forbidden', 'Not permitted'), ('not_found', 'Nothing at that address'), ('throttled', 'Too many requests'), ('server_error', 'Cloud error'), ('malformed', 'Unusable answer'), ('internal', 'Dashboard error')], help_text='kind of that failure', max_length=20),
        ),
        migrations.AlterField(
            model_name='connection',
            name='sync_started_at',
            field=models.DateTimeField(blank=True, help_text='set while a synchronisation runs', null=True),
        ),
        migrations.AlterField(
            model_name='connection',
            name='sync_step',
            field=models.CharField(blank=True, choices=[('', 'Nothing'), ('waiting', 'Waiting for a worker'), ('signing_in', 'Signing in'), ('listing', 'Listing clusters'), ('storing', 'Storing')], help_text='current step', max_length=20),
        ),
        migrations.AlterField(
            model_name='connection',
            name='synced_at',
            field=models.DateTimeField(blank=True, help_text='last successful synchronisation', null=True),
        ),
        migrations.AlterField(
            model_name='export',
            name='query',
            field=models.CharField(blank=True, help_text='query string of the exported filter', max_length=2000),
        ),
        migrations.AlterField(
            model_name='filecheck',
            name='checked_at',
            field=models.DateTimeField(blank=True, help_text='when the check ended', null=True),
        ),
        migrations.AlterField(
            model_name='filecheck',
            name='digest',
            field=models.CharField(blank=True, help_text='SHA-256 of this row and its files', max_length=64),
        ),
        migrations.AlterField(
            model_name='filecheck',
            name='due_at',
            field=models.DateTimeField(blank=True, help_text='when the check is due, or the end of its lease', null=True),
        ),
        migrations.AlterField(
            model_name='filecheck',
            name='size',
            field=models.PositiveBigIntegerField(blank=True, help_text='total bytes', null=True),
        ),
        migrations.AlterField(
            model_name='heartbeat',
            name='seen_uptime',
            field=models.FloatField(blank=True, help_text='Ticker.uptime at the last heartbeat', null=True),
        ),
        migrations.AlterField(
            model_name='instance',
            name='differs',
            field=models.CharField(blank=True, help_text='facts that differed when the copy was noticed', max_length=200),
        ),
        migrations.AlterField(
            model_name='instance',
            name='home',
            field=models.JSONField(default=dict, help_text='facts that identify the installation; empty: never served'),
        ),
        migrations.AlterField(
            model_name='instance',
            name='noticed_at',
            field=models.DateTimeField(blank=True, help_text='when it was recognised as a copy', null=True),
        ),
        migrations.AlterField(
            model_name='instance',
            name='origin',
            field=models.CharField(blank=True, help_text='uid before the copy was adopted', max_length=32),
        ),
        migrations.AlterField(
            model_name='logsettings',
            name='automatic',
            field=models.BooleanField(default=False, help_text="the cloud's daily backup is on"),
        ),
        migrations.AlterField(
            model_name='logsettings',
            name='changed_at',
            field=models.DateTimeField(blank=True, help_text='when these settings were first seen', null=True),
        ),
        migrations.AlterField(
            model_name='logsettings',
            name='changing_until',
            field=models.DateTimeField(blank=True, help_text='end of the lock while a change is in progress', null=True),
        ),
        migrations.AlterField(
            model_name='logsettings',
            name='read_at',
            field=models.DateTimeField(help_text='when the settings were read from the cloud'),
        ),
        migrations.AlterField(
            model_name='post',
            name='answered_at',
            field=models.DateTimeField(blank=True, help_text='time of the answer or of giving up, by our clock', null=True),
        ),
        migrations.AlterField(
            model_name='post',
            name='date_after',
            field=models.DateTimeField(blank=True, help_text='Date header of the answer, or of the next reading', null=True),
        ),
        migrations.AlterField(
            model_name='post',
            name='date_before',
            field=models.DateTimeField(blank=True, help_text='Date header of the baseline', null=True),
        ),
        migrations.AlterField(
            model_name='post',
            name='date_closed',
            field=models.DateTimeField(blank=True, help_text='Date header of the first reading after the grace time', null=True),
        ),
        migrations.AlterField(
            model_name='post',
            name='sent_at',
            field=models.DateTimeField(help_text='just before the first byte, by our clock'),
        ),
        migrations.AlterField(
            model_name='post',
            name='status',
            field=models.PositiveSmallIntegerField(blank=True, help_text='HTTP status of the answer', null=True),
        ),
        migrations.AlterField(
            model_name='post',
            name='step_uptime',
            field=models.FloatField(blank=True, help_text='Ticker.uptime at the last of sending and answer', null=True),
        ),
        migrations.AlterField(
            model_name='project',
            name='objective_hours',
            field=models.PositiveSmallIntegerField(default=24, help_text='maximum hours between verified backups', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(8784)]),
        ),
        migrations.AlterField(
            model_name='retentionrun',
            name='claimed_by',
            field=models.CharField(blank=True, help_text='process that runs it', max_length=120),
        ),
        migrations.AlterField(
            model_name='retentionrun',
            name='cutoff',
            field=models.DateTimeField(help_text='older rows are deleted; whole seconds'),
        ),
        migrations.AlterField(
            model_name='retentionrun',
            name='told',
            field=models.BigIntegerField(help_text='sequence of the audit event that announced the run', unique=True),
        ),
        migrations.AlterField(
            model_name='runevent',
            name='actor',
            field=models.CharField(blank=True, help_text='name of a user or process', max_length=255),
        ),
        migrations.AlterField(
            model_name='savedview',
            name='query',
            field=models.CharField(blank=True, help_text='query string of the history URL', max_length=2000),
        ),
        migrations.AlterField(
            model_name='savedview',
            name='shared',
            field=models.BooleanField(default=False, help_text='visible to all users'),
        ),
        migrations.AlterField(
            model_name='sealbatch',
            name='event',
            field=models.BigIntegerField(blank=True, db_index=True, help_text='sequence of the audit event; set once', null=True),
        ),
        migrations.AlterField(
            model_name='seenfile',
            name='modified_at',
            field=models.DateTimeField(help_text="by the storage's clock"),
        ),
        migrations.AlterField(
            model_name='ticker',
            name='ticked_at',
            field=models.DateTimeField(blank=True, help_text='wall clock of the holder; informative only', null=True),
        ),
    ]
