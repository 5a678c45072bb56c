"""Each POST with its window and baseline; how well a job is known; corrections by late evidence."""

import backups.models.run
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from backups.guards import GUARDS


def lift(apps, schema_editor):
    # SQLite makes the tables anew, which it refuses while triggers of other tables speak of them
    GUARDS.remove(schema_editor.connection)


def posts_of_open_runs(apps, schema_editor):
    """Requests that are under way: their jobs can still be found, by our own clock."""
    Run, Post = (apps.get_model("backups", name) for name in ("BackupRun", "Post"))
    open_runs = Run.objects.filter(
        state__in=["sending", "accepted", "unknown"], sent_at__isnull=False, job_id=None
    )
    for run in open_runs:
        Post.objects.create(
            run=run,
            attempt=run.attempt,
            project_id_in_cloud=run.project_id_in_cloud,
            cluster_cloud_id=run.cluster_cloud_id,
            sent_at=run.sent_at,
            answered_at=run.answered_at,
            result="accepted" if run.outcome == "accepted" else "open",
            status=run.http_status,
            # two entries of clouds.yaml may each have one
            active=not Post.objects.filter(
                project_id_in_cloud=run.project_id_in_cloud,
                cluster_cloud_id=run.cluster_cloud_id,
                active=True,
            ).exists(),
        )


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0015_texts'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunPython(lift, migrations.RunPython.noop),
        migrations.CreateModel(
            name='Post',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('attempt', models.PositiveIntegerField()),
                ('project_id_in_cloud', models.CharField(max_length=64)),
                ('cluster_cloud_id', models.CharField(max_length=64)),
                ('sent_at', models.DateTimeField(help_text='before the first byte, our clock')),
                ('answered_at', models.DateTimeField(blank=True, help_text='the answer, or the end of waiting for it, our clock', null=True)),
                ('result', models.CharField(choices=[('open', 'Open'), ('accepted', 'Accepted'), ('refused', 'Refused')], default='open', max_length=8)),
                ('status', models.PositiveSmallIntegerField(blank=True, help_text='HTTP', null=True)),
                ('baseline', models.JSONField(blank=True, null=True)),
                ('date_before', models.DateTimeField(blank=True, help_text='of the baseline', null=True)),
                ('date_after', models.DateTimeField(blank=True, help_text='of the answer, or of the first reading after it', null=True)),
                ('date_closed', models.DateTimeField(blank=True, help_text='of the first reading the grace time after it', null=True)),
                ('job_id', models.CharField(blank=True, max_length=64)),
                ('active', models.BooleanField(default=True)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='backuprun',
            name='one_run_per_cloud_job',
        ),
        migrations.RemoveField(
            model_name='backuprun',
            name='baseline_created_at',
        ),
        migrations.RemoveField(
            model_name='backuprun',
            name='baseline_job_id',
        ),
        migrations.RemoveField(
            model_name='backuprun',
            name='baseline_known',
        ),
        migrations.AddField(
            model_name='apicall',
            name='answer_date',
            field=models.DateTimeField(blank=True, help_text="the cloud's clock", null=True),
        ),
        migrations.AddField(
            model_name='backuprun',
            name='corrected_by',
            field=models.BigIntegerField(blank=True, help_text='sequence of the audit event that says so', null=True),
        ),
        migrations.AddField(
            model_name='backuprun',
            name='corrected_from',
            field=models.CharField(blank=True, help_text='the state before', max_length=12),
        ),
        migrations.AddField(
            model_name='backuprun',
            name='evidence',
            field=models.CharField(blank=True, choices=[('', 'None'), ('proven', 'Proven'), ('inferred', 'Inferred')], default='', max_length=8),
        ),
        migrations.AddConstraint(
            model_name='backuprun',
            constraint=models.UniqueConstraint(condition=models.Q(('job_id__isnull', False)), fields=('project_id_in_cloud', 'cluster_cloud_id', 'job_id'), name='one_run_per_cloud_job'),
        ),
        migrations.AddConstraint(
            model_name='backuprun',
            constraint=models.UniqueConstraint(condition=models.Q(backups.models.run.IsGiven('record_id')), fields=('project_id_in_cloud', 'cluster_cloud_id', 'record_id'), name='one_run_per_cloud_record'),
        ),
        migrations.AddField(
            model_name='post',
            name='run',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='posts', to='backups.backuprun'),
        ),
        migrations.AddIndex(
            model_name='post',
            index=models.Index(fields=['project_id_in_cloud', 'cluster_cloud_id', '-id'], name='post_of_cluster'),
        ),
        migrations.AddIndex(
            model_name='post',
            index=models.Index(condition=models.Q(('job_id', ''), models.Q(('result', 'refused'), _negated=True)), fields=['project_id_in_cloud', 'cluster_cloud_id', '-id'], name='post_without_job'),
        ),
        migrations.AddConstraint(
            model_name='post',
            constraint=models.UniqueConstraint(fields=('run', 'attempt'), name='one_post_per_attempt'),
        ),
        migrations.AddConstraint(
            model_name='post',
            constraint=models.UniqueConstraint(condition=models.Q(('active', True)), fields=('project_id_in_cloud', 'cluster_cloud_id'), name='one_active_post_per_cluster'),
        ),
        migrations.RunPython(posts_of_open_runs, migrations.RunPython.noop),
    ]
