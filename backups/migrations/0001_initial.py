"""The tables of the domain, with what Django's models cannot express.

On PostgreSQL: room for updates on each page of the runs, and indexes for the search in messages.
On SQLite, `backups.lists.text_search` creates the full-text table after each `migrate`.
The guards are in `backups/sql`.
"""

import logging

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import NotSupportedError, ProgrammingError, migrations, models, transaction

import backups.models.processes
import backups.models.run
from backups.guards import GUARDS

logger = logging.getLogger(__name__)

# Percent of a page that inserts fill. An update that changes no indexed column then finds room on
# its row's page and needs no new index entries.
FILLFACTOR = 85
# As Django writes `icontains` on PostgreSQL: UPPER(column::text) LIKE UPPER(…).
TRIGRAM_INDEXES = {
    "run_message_words": "UPPER(message::text)",
    "run_failed_message_words": "UPPER(failed_message::text)",
}
# A word that many messages contain is searched newest first. SQLite has the messages in its index;
# PostgreSQL's entries are too small for them.
MESSAGE_INDEX = (
    "CREATE INDEX run_newest_that_says ON backups_backuprun (requested_at DESC, id DESC) "
    "WHERE (message <> '') OR (failed_message <> '')"
)


def prepare_postgresql(apps, schema_editor):
    connection = schema_editor.connection
    if connection.vendor != "postgresql":
        return
    schema_editor.execute(f"ALTER TABLE backups_backuprun SET (fillfactor = {FILLFACTOR})")
    schema_editor.execute(MESSAGE_INDEX)
    try:
        with transaction.atomic(connection.alias), connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    except (ProgrammingError, NotSupportedError) as error:
        # The search works without the extension, only slowly.
        logger.warning(
            "the extension pg_trgm cannot be created (%s): the search in messages stays slow until "
            "an administrator of the database creates it and the two indexes of this migration",
            error,
        )
        return
    for name, expression in TRIGRAM_INDEXES.items():
        schema_editor.execute(
            f"CREATE INDEX {name} ON backups_backuprun USING gin ({expression} gin_trgm_ops)"
        )


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("audit", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Cluster",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("cluster_id", models.CharField(help_text="the cloud's id", max_length=64)),
                ("name", models.CharField(max_length=255)),
                ("engine", models.CharField(blank=True, max_length=50)),
                ("version", models.CharField(blank=True, max_length=50)),
                (
                    "status",
                    models.CharField(
                        blank=True,
                        help_text="status code from the cloud, such as 200",
                        max_length=20,
                    ),
                ),
                (
                    "actions",
                    models.JSONField(
                        blank=True, default=list, help_text="operations in progress in the cloud"
                    ),
                ),
                (
                    "nodes",
                    models.JSONField(blank=True, default=list, help_text="[{name, type, status}]"),
                ),
                ("endpoint", models.CharField(blank=True, max_length=500)),
                ("created_in_cloud_at", models.DateTimeField(blank=True, null=True)),
                ("failed_reason", models.TextField(blank=True)),
                ("registered_at", models.DateTimeField(auto_now_add=True)),
                (
                    "gone_at",
                    models.DateTimeField(
                        blank=True, help_text="first synchronisation without it", null=True
                    ),
                ),
                ("by_hand", models.BooleanField(default=False)),
                (
                    "archived_at",
                    models.DateTimeField(blank=True, help_text="null: not archived", null=True),
                ),
                (
                    "readiness",
                    models.CharField(
                        choices=[
                            ("ready", "Ready"),
                            ("backup_off", "Log backup is off"),
                            ("storage_missing", "Bucket or agency missing"),
                            ("busy", "Busy"),
                            ("unavailable", "Not available"),
                            ("unknown", "Not known"),
                        ],
                        default="unknown",
                        max_length=16,
                    ),
                ),
                (
                    "readiness_detail",
                    models.CharField(
                        blank=True, help_text="reason for the readiness", max_length=500
                    ),
                ),
                (
                    "checked_at",
                    models.DateTimeField(blank=True, help_text="last conclusive check", null=True),
                ),
                ("check_due_at", models.DateTimeField(blank=True, null=True)),
                (
                    "check_leased_until",
                    models.DateTimeField(blank=True, help_text="set while a check runs", null=True),
                ),
                (
                    "check_leased_by",
                    models.CharField(blank=True, help_text="Heartbeat.name", max_length=120),
                ),
                (
                    "check_error",
                    models.CharField(
                        blank=True, help_text="why the last check failed", max_length=500
                    ),
                ),
                (
                    "objective_hours",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="null: the project's objective",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(8784),
                        ],
                    ),
                ),
                (
                    "verified_at",
                    models.DateTimeField(blank=True, help_text="last verified backup", null=True),
                ),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                ("overdue_at", models.DateTimeField(blank=True, null=True)),
                ("imported_until", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ["name", "id"],
            },
        ),
        migrations.CreateModel(
            name="Firing",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "slot",
                    models.DateTimeField(help_text="for a firing by hand, when it was asked for"),
                ),
                ("fired_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "result",
                    models.CharField(
                        choices=[
                            ("fired", "Fired"),
                            ("caught_up", "Caught up"),
                            ("skipped", "Skipped"),
                            ("failed", "Failed"),
                        ],
                        max_length=9,
                    ),
                ),
                ("note", models.CharField(blank=True, help_text="why, in English", max_length=500)),
                (
                    "matched",
                    models.PositiveIntegerField(
                        default=0, help_text="clusters that the selection had"
                    ),
                ),
                (
                    "requested",
                    models.PositiveIntegerField(default=0, help_text="clusters of the batch"),
                ),
                ("by_hand", models.BooleanField(default=False)),
                (
                    "by_name",
                    models.CharField(blank=True, help_text="who fired it by hand", max_length=255),
                ),
                (
                    "awaits_ping",
                    models.BooleanField(
                        default=False, help_text="its ping has not been queued yet"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SealBatch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("root", models.CharField(max_length=64)),
                ("runs", models.PositiveIntegerField(help_text="number of leaves")),
                (
                    "event",
                    models.BigIntegerField(
                        blank=True,
                        db_index=True,
                        help_text="sequence of the audit event; set once",
                        null=True,
                    ),
                ),
            ],
            options={
                "db_table": "backups_seal_batch",
            },
        ),
        migrations.CreateModel(
            name="BackupRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("cluster_cloud_id", models.CharField(max_length=64)),
                ("cluster_name", models.CharField(max_length=255)),
                ("cloud", models.CharField(max_length=100)),
                ("region", models.CharField(blank=True, max_length=100)),
                ("project_id_in_cloud", models.CharField(max_length=64)),
                ("project_name", models.CharField(blank=True, max_length=255)),
                ("requested_by_name", models.CharField(max_length=255)),
                (
                    "trigger",
                    models.CharField(
                        choices=[
                            ("button", "Button"),
                            ("bulk", "Bulk"),
                            ("schedule", "Schedule"),
                            ("api", "API"),
                            ("cli", "Command line"),
                            ("cloud", "The cloud's own"),
                        ],
                        max_length=10,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("source_ip", models.GenericIPAddressField(blank=True, null=True)),
                ("idempotency_key", models.CharField(blank=True, max_length=64, null=True)),
                ("requested_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("sending", "Sending"),
                            ("accepted", "Accepted by the cloud"),
                            ("unknown", "Outcome unknown"),
                            ("succeeded", "Verified"),
                            ("failed", "Backup failed"),
                            ("unverified", "Accepted, not verified"),
                            ("rejected", "Rejected"),
                            ("not_started", "Not started"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="queued",
                        max_length=12,
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "No answer yet"),
                            ("accepted", "Accepted by the cloud"),
                            ("invalid_request", "Invalid request"),
                            ("unauthenticated", "Sign-in to the cloud failed"),
                            ("forbidden", "Not permitted"),
                            ("not_found", "Cluster not found"),
                            ("conflict", "Conflict"),
                            ("precondition_failed", "Precondition failed"),
                            ("throttled", "Too many requests"),
                            ("server_error", "Cloud error"),
                            ("unreachable", "Cloud unreachable"),
                            ("unanswered", "No answer"),
                            ("malformed", "Unusable answer"),
                        ],
                        default="",
                        max_length=20,
                    ),
                ),
                (
                    "version",
                    models.PositiveIntegerField(default=0, help_text="counts visible changes"),
                ),
                (
                    "note",
                    models.CharField(
                        blank=True, help_text="what the run is waiting for", max_length=500
                    ),
                ),
                ("attempt", models.PositiveIntegerField(default=0, help_text="number of claims")),
                (
                    "claimed_by",
                    models.CharField(blank=True, help_text="Heartbeat.name", max_length=120),
                ),
                ("claimed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "dispatched_at",
                    models.DateTimeField(
                        blank=True, help_text="when it was published to the broker", null=True
                    ),
                ),
                (
                    "not_before",
                    models.DateTimeField(
                        default=django.utils.timezone.now,
                        help_text="earliest time of the next attempt",
                    ),
                ),
                ("retry_conflict_until", models.DateTimeField(blank=True, null=True)),
                (
                    "sent_at",
                    models.DateTimeField(
                        blank=True, help_text="just before the first byte", null=True
                    ),
                ),
                ("answered_at", models.DateTimeField(blank=True, null=True)),
                ("http_status", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("error_code", models.CharField(blank=True, max_length=64)),
                ("message", models.TextField(blank=True)),
                ("request_id", models.CharField(blank=True, max_length=128)),
                ("conflict_holder", models.CharField(blank=True, max_length=500)),
                (
                    "step_uptime",
                    models.FloatField(
                        blank=True,
                        help_text="Ticker.uptime when it was claimed, sent or answered",
                        null=True,
                    ),
                ),
                ("next_check_at", models.DateTimeField(blank=True, null=True)),
                ("checks", models.PositiveIntegerField(default=0)),
                (
                    "records_readable_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="when the records were last read successfully",
                        null=True,
                    ),
                ),
                (
                    "readable_uptime",
                    models.FloatField(
                        blank=True, help_text="Ticker.uptime at that time", null=True
                    ),
                ),
                ("job_id", models.CharField(blank=True, max_length=64, null=True)),
                ("record_id", models.CharField(blank=True, max_length=64)),
                ("job_type", models.CharField(blank=True, max_length=20)),
                ("job_created_at", models.DateTimeField(blank=True, null=True)),
                ("job_finished_at", models.DateTimeField(blank=True, null=True)),
                ("log_path", models.CharField(blank=True, max_length=1024)),
                ("failed_message", models.TextField(blank=True)),
                (
                    "evidence",
                    models.CharField(
                        blank=True,
                        choices=[("", "None"), ("proven", "Proven"), ("inferred", "Inferred")],
                        default="",
                        max_length=8,
                    ),
                ),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "settled_by_hand",
                    models.BooleanField(
                        default=False, help_text="settled by a user, not by the cloud's records"
                    ),
                ),
                (
                    "corrected_from",
                    models.CharField(
                        blank=True, help_text="state before the correction", max_length=12
                    ),
                ),
                (
                    "corrected_by",
                    models.BigIntegerField(
                        blank=True,
                        help_text="sequence of the audit event of the correction",
                        null=True,
                    ),
                ),
                (
                    "masked_by",
                    models.BigIntegerField(
                        blank=True,
                        help_text="sequence of the audit event of the masking",
                        null=True,
                    ),
                ),
                (
                    "conflict_run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="backups.backuprun",
                    ),
                ),
                (
                    "requested_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "cluster",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="backups.cluster",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Batch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "work",
                    models.CharField(
                        choices=[
                            ("backup", "Back up"),
                            ("check", "Check now"),
                            ("settings", "Change log backup"),
                            ("label", "Label"),
                            ("objective", "Set the objective"),
                            ("archive", "Archive"),
                        ],
                        default="backup",
                        max_length=10,
                    ),
                ),
                (
                    "values",
                    models.JSONField(
                        blank=True, default=dict, help_text="parameters: labels, hours, bucket"
                    ),
                ),
                ("requested_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("requested_by_name", models.CharField(max_length=255)),
                (
                    "trigger",
                    models.CharField(
                        choices=[
                            ("button", "Button"),
                            ("bulk", "Bulk"),
                            ("schedule", "Schedule"),
                            ("api", "API"),
                            ("cli", "Command line"),
                            ("cloud", "The cloud's own"),
                        ],
                        help_text="bulk, schedule, api or cli",
                        max_length=10,
                    ),
                ),
                (
                    "token",
                    models.CharField(
                        blank=True, help_text="label of the API token", max_length=255
                    ),
                ),
                ("source_ip", models.GenericIPAddressField(blank=True, null=True)),
                ("reason", models.CharField(blank=True, max_length=500)),
                (
                    "anyway",
                    models.BooleanField(
                        default=False,
                        help_text="include clusters that the cloud would probably reject",
                    ),
                ),
                (
                    "query",
                    models.CharField(
                        blank=True,
                        help_text="query string of the filter; empty: selected rows",
                        max_length=2000,
                    ),
                ),
                (
                    "digest",
                    models.CharField(
                        blank=True, help_text="SHA-256 of the sorted cluster ids", max_length=64
                    ),
                ),
                ("waits_until", models.FloatField(blank=True, null=True)),
                ("idempotency_key", models.CharField(blank=True, max_length=64, null=True)),
                ("body", models.CharField(blank=True, max_length=64)),
                ("cancelled_at", models.DateTimeField(blank=True, null=True)),
                ("cancelled_by_name", models.CharField(blank=True, max_length=255)),
                (
                    "finished_at",
                    models.DateTimeField(
                        blank=True, help_text="when the last run ended", null=True
                    ),
                ),
                (
                    "requested_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "retry_of",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="retries",
                        to="backups.batch",
                    ),
                ),
                (
                    "firing",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="batch",
                        to="backups.firing",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "batches",
            },
        ),
        migrations.CreateModel(
            name="Canary",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveBigIntegerField(default=0)),
                ("arrived_at", models.DateTimeField(help_text="by the worker's wall clock")),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("pk", 1)), name="one_canary")
                ],
            },
        ),
        migrations.CreateModel(
            name="Channel",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("apprise", "Apprise: mail, Slack, Teams and others"),
                            ("webhook", "Signed webhook"),
                        ],
                        max_length=10,
                    ),
                ),
                ("sealed", models.TextField(help_text="encrypted")),
                (
                    "shown",
                    models.CharField(help_text="the address without its secrets", max_length=255),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("created_by_name", models.CharField(max_length=255)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "message_id",
                    models.CharField(
                        help_text="the same at each attempt", max_length=40, unique=True
                    ),
                ),
                ("channel_name", models.CharField(blank=True, max_length=100)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("run_failed", "Log backup failed"),
                            ("run_rejected", "Log backup rejected"),
                            ("run_unknown", "Outcome unknown"),
                            ("protection_overdue", "Protection overdue"),
                            ("protection_recovered", "Protection recovered"),
                            ("schedule_skipped", "Schedule skipped"),
                            ("schedule_stopped", "Schedule stopped"),
                            ("batch_ended", "Batch ended"),
                            ("work_stalled", "Work does not flow"),
                            ("work_recovered", "Work flows again"),
                            ("audit_broken", "Audit trail or its guards broken"),
                            ("report", "Report"),
                            ("test", "Test"),
                            ("ping", "Ping"),
                        ],
                        max_length=20,
                    ),
                ),
                ("key", models.CharField(blank=True, max_length=200)),
                (
                    "group",
                    models.CharField(
                        blank=True, help_text="hash of what notices share", max_length=64
                    ),
                ),
                ("count", models.PositiveIntegerField(default=1, help_text="notices in it")),
                ("title", models.CharField(blank=True, max_length=300)),
                ("body", models.TextField(blank=True)),
                ("sealed", models.TextField(blank=True, help_text="of a ping: its URL, encrypted")),
                ("attachment", models.BinaryField(blank=True, null=True)),
                ("attachment_name", models.CharField(blank=True, max_length=200)),
                ("attachment_type", models.CharField(blank=True, max_length=100)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("sending", "Sending"),
                            ("sent", "Sent"),
                            ("failed", "Given up"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                (
                    "next_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, help_text="earliest next attempt"
                    ),
                ),
                ("leased_by", models.CharField(blank=True, max_length=120)),
                ("leased_at", models.DateTimeField(blank=True, null=True)),
                (
                    "error",
                    models.CharField(blank=True, help_text="of the last attempt", max_length=500),
                ),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                (
                    "channel",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="deliveries",
                        to="backups.channel",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "deliveries",
            },
        ),
        migrations.CreateModel(
            name="Export",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("owner_name", models.CharField(max_length=255)),
                (
                    "token",
                    models.CharField(
                        blank=True, help_text="label of the API token", max_length=255
                    ),
                ),
                (
                    "format",
                    models.CharField(
                        choices=[("csv", "CSV"), ("jsonl", "JSON Lines")], max_length=5
                    ),
                ),
                (
                    "query",
                    models.CharField(
                        blank=True, help_text="query string of the exported filter", max_length=2000
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("complete", "Complete"),
                            ("broken_off", "Broken off"),
                        ],
                        default="running",
                        max_length=10,
                    ),
                ),
                ("rows", models.PositiveBigIntegerField(default=0, help_text="written so far")),
                ("requested_before", models.DateTimeField()),
                ("started_at", models.DateTimeField(auto_now_add=True)),
                ("changed_at", models.DateTimeField(auto_now=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="exports",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="FileCheck",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "due_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="when the check is due, or the end of its lease",
                        null=True,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                (
                    "checked_at",
                    models.DateTimeField(blank=True, help_text="when the check ended", null=True),
                ),
                (
                    "result",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("seen", "Files seen"),
                            ("nothing", "Nothing new was written"),
                            ("unattributed", "Not attributable"),
                            ("not_checked", "Files not checked"),
                        ],
                        max_length=12,
                    ),
                ),
                ("why", models.CharField(blank=True, max_length=500)),
                ("problem", models.CharField(blank=True, max_length=20)),
                ("bucket", models.CharField(blank=True, max_length=255)),
                ("prefix", models.CharField(blank=True, max_length=1024)),
                ("since", models.DateTimeField(blank=True, null=True)),
                ("until", models.DateTimeField(blank=True, null=True)),
                ("files", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "size",
                    models.PositiveBigIntegerField(blank=True, help_text="total bytes", null=True),
                ),
                ("newest_at", models.DateTimeField(blank=True, null=True)),
                (
                    "digest",
                    models.CharField(
                        blank=True, help_text="SHA-256 of this row and its files", max_length=64
                    ),
                ),
                (
                    "event",
                    models.BigIntegerField(
                        blank=True,
                        help_text="sequence of the audit event with the digest",
                        null=True,
                    ),
                ),
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="file_check",
                        to="backups.backuprun",
                    ),
                ),
            ],
            options={
                "db_table": "backups_file_check",
            },
        ),
        migrations.CreateModel(
            name="Heartbeat",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(choices=[("worker", "worker")], max_length=10)),
                ("name", models.CharField(max_length=120, unique=True)),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
                (
                    "seen_uptime",
                    models.FloatField(
                        blank=True, help_text="Ticker.uptime at the last heartbeat", null=True
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["kind", "-seen_at"], name="heartbeat_newest")],
            },
        ),
        migrations.CreateModel(
            name="Instance",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("uid", models.CharField(default=backups.models.processes.new_uid, max_length=32)),
                (
                    "home",
                    models.JSONField(
                        default=dict,
                        help_text="facts that identify the installation; empty: never served",
                    ),
                ),
                (
                    "generation",
                    models.PositiveIntegerField(default=0, help_text="counts changes of this row"),
                ),
                ("adopted", models.BooleanField(default=True)),
                (
                    "origin",
                    models.CharField(
                        blank=True, help_text="uid before the copy was adopted", max_length=32
                    ),
                ),
                (
                    "differs",
                    models.CharField(
                        blank=True,
                        help_text="facts that differed when the copy was noticed",
                        max_length=200,
                    ),
                ),
                (
                    "noticed_at",
                    models.DateTimeField(
                        blank=True, help_text="when it was recognised as a copy", null=True
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("pk", 1)), name="one_instance")
                ],
            },
        ),
        migrations.CreateModel(
            name="LogSettings",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("enabled", models.BooleanField()),
                ("bucket", models.CharField(blank=True, max_length=255)),
                ("base_path", models.CharField(blank=True, max_length=1024)),
                ("agency", models.CharField(blank=True, max_length=255)),
                (
                    "automatic",
                    models.BooleanField(default=False, help_text="the cloud's daily backup is on"),
                ),
                (
                    "period",
                    models.CharField(
                        blank=True, help_text="such as 00:00 GMT+08:00", max_length=40
                    ),
                ),
                (
                    "read_at",
                    models.DateTimeField(help_text="when the settings were read from the cloud"),
                ),
                (
                    "changed_at",
                    models.DateTimeField(
                        blank=True, help_text="when these settings were first seen", null=True
                    ),
                ),
                (
                    "changing_until",
                    models.DateTimeField(
                        blank=True,
                        help_text="end of the lock while a change is in progress",
                        null=True,
                    ),
                ),
                (
                    "cluster",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="log_settings",
                        to="backups.cluster",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Notice",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("run_failed", "Log backup failed"),
                            ("run_rejected", "Log backup rejected"),
                            ("run_unknown", "Outcome unknown"),
                            ("protection_overdue", "Protection overdue"),
                            ("protection_recovered", "Protection recovered"),
                            ("schedule_skipped", "Schedule skipped"),
                            ("schedule_stopped", "Schedule stopped"),
                            ("batch_ended", "Batch ended"),
                            ("work_stalled", "Work does not flow"),
                            ("work_recovered", "Work flows again"),
                            ("audit_broken", "Audit trail or its guards broken"),
                            ("report", "Report"),
                            ("test", "Test"),
                            ("ping", "Ping"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        help_text="what happened; the same twice is one notice", max_length=200
                    ),
                ),
                (
                    "cause",
                    models.CharField(
                        blank=True, help_text="equal causes share a message", max_length=200
                    ),
                ),
                ("facts", models.JSONField(default=dict)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "routed_at",
                    models.DateTimeField(
                        blank=True, help_text="its deliveries are stored", null=True
                    ),
                ),
                (
                    "cluster",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="backups.cluster",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="NoticeDelivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "channel",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="backups.channel",
                    ),
                ),
                (
                    "delivery",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="links",
                        to="backups.delivery",
                    ),
                ),
                (
                    "notice",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="backups.notice",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Post",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("attempt", models.PositiveIntegerField()),
                ("project_id_in_cloud", models.CharField(max_length=64)),
                ("cluster_cloud_id", models.CharField(max_length=64)),
                (
                    "sent_at",
                    models.DateTimeField(help_text="just before the first byte, by our clock"),
                ),
                (
                    "answered_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="time of the answer or of giving up, by our clock",
                        null=True,
                    ),
                ),
                (
                    "step_uptime",
                    models.FloatField(
                        blank=True,
                        help_text="Ticker.uptime at the last of sending and answer",
                        null=True,
                    ),
                ),
                (
                    "result",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("accepted", "Accepted"),
                            ("refused", "Refused"),
                        ],
                        default="open",
                        max_length=8,
                    ),
                ),
                (
                    "status",
                    models.PositiveSmallIntegerField(
                        blank=True, help_text="HTTP status of the answer", null=True
                    ),
                ),
                ("baseline", models.JSONField(blank=True, null=True)),
                (
                    "date_before",
                    models.DateTimeField(
                        blank=True, help_text="Date header of the baseline", null=True
                    ),
                ),
                (
                    "date_after",
                    models.DateTimeField(
                        blank=True,
                        help_text="Date header of the answer, or of the next reading",
                        null=True,
                    ),
                ),
                (
                    "date_closed",
                    models.DateTimeField(
                        blank=True,
                        help_text="Date header of the first reading after the grace time",
                        null=True,
                    ),
                ),
                ("job_id", models.CharField(blank=True, max_length=64)),
                ("active", models.BooleanField(default=True)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="posts",
                        to="backups.backuprun",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Project",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("cloud", models.CharField(help_text="entry in clouds.yaml", max_length=100)),
                ("region", models.CharField(blank=True, max_length=100)),
                ("project_id", models.CharField(max_length=64)),
                ("name", models.CharField(blank=True, max_length=255)),
                (
                    "objective_hours",
                    models.PositiveSmallIntegerField(
                        default=24,
                        help_text="maximum hours between verified backups",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(8784),
                        ],
                    ),
                ),
            ],
            options={
                "ordering": ["cloud", "region", "name"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("cloud", "region", "project_id"),
                        name="project_once_per_cloud_and_region",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ObjectiveChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(help_text="holds from then on")),
                (
                    "assumed_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="set: added then, from what was known at that time",
                        null=True,
                    ),
                ),
                ("objective_hours", models.PositiveSmallIntegerField()),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="objectives",
                        to="backups.project",
                    ),
                ),
            ],
            options={
                "db_table": "backups_objective_change",
            },
        ),
        migrations.AddField(
            model_name="notice",
            name="project",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="backups.project",
            ),
        ),
        migrations.CreateModel(
            name="Handling",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "cause",
                    models.CharField(help_text="AttentionCause when it was made", max_length=24),
                ),
                (
                    "verified_at",
                    models.DateTimeField(blank=True, help_text="of the cluster, then", null=True),
                ),
                ("reason", models.CharField(max_length=500)),
                (
                    "until",
                    models.DateTimeField(
                        blank=True, help_text="empty: until the cause changes", null=True
                    ),
                ),
                ("made_at", models.DateTimeField()),
                ("made_by_name", models.CharField(blank=True, max_length=255)),
                (
                    "ended_at",
                    models.DateTimeField(blank=True, help_text="by hand, or replaced", null=True),
                ),
                ("ended_by_name", models.CharField(blank=True, max_length=255)),
                ("ended_why", models.CharField(blank=True, max_length=500)),
                ("scope", models.CharField(max_length=80)),
                (
                    "cluster",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="handlings",
                        to="backups.cluster",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="backups.project",
                    ),
                ),
            ],
            options={
                "ordering": ["-made_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="Connection",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("cloud", models.CharField(help_text="entry in clouds.yaml", max_length=100)),
                ("region", models.CharField(blank=True, max_length=100)),
                ("connected_at", models.DateTimeField(auto_now_add=True)),
                (
                    "disconnected_at",
                    models.DateTimeField(
                        blank=True, help_text="set: no longer synchronised", null=True
                    ),
                ),
                (
                    "file_checks",
                    models.BooleanField(
                        default=True, help_text="look for the files of verified runs in the bucket"
                    ),
                ),
                (
                    "next_sync_at",
                    models.DateTimeField(
                        blank=True, help_text="when the next synchronisation is due", null=True
                    ),
                ),
                (
                    "sync_started_at",
                    models.DateTimeField(
                        blank=True, help_text="set while a synchronisation runs", null=True
                    ),
                ),
                (
                    "sync_step",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "Nothing"),
                            ("waiting", "Waiting for a worker"),
                            ("signing_in", "Signing in"),
                            ("listing", "Listing clusters"),
                            ("storing", "Storing"),
                        ],
                        help_text="current step",
                        max_length=20,
                    ),
                ),
                (
                    "version",
                    models.PositiveIntegerField(default=0, help_text="counts visible changes"),
                ),
                (
                    "synced_at",
                    models.DateTimeField(
                        blank=True, help_text="last successful synchronisation", null=True
                    ),
                ),
                (
                    "sync_ended_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="end of the last synchronisation, successful or not",
                        null=True,
                    ),
                ),
                (
                    "sync_duration",
                    models.DurationField(
                        blank=True, help_text="duration of the last synchronisation", null=True
                    ),
                ),
                (
                    "sync_error",
                    models.TextField(blank=True, help_text="why the last synchronisation failed"),
                ),
                (
                    "sync_fault",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "No fault"),
                            ("configuration", "Invalid entry in clouds.yaml"),
                            ("refused", "Sign-in rejected"),
                            ("second_factor", "Second factor required"),
                            ("address", "No identity service at the address"),
                            ("catalog", "Missing from the catalog"),
                            ("dns", "Host name not found"),
                            ("tls", "TLS connection failed"),
                            ("proxy", "Blocked by a proxy"),
                            ("unreachable", "Unreachable"),
                            ("unanswered", "No answer"),
                            ("forbidden", "Not permitted"),
                            ("not_found", "Nothing at that address"),
                            ("throttled", "Too many requests"),
                            ("server_error", "Cloud error"),
                            ("malformed", "Unusable answer"),
                            ("internal", "Dashboard error"),
                        ],
                        help_text="kind of that failure",
                        max_length=20,
                    ),
                ),
                ("listed", models.PositiveIntegerField(default=0)),
                ("added", models.PositiveIntegerField(default=0)),
                ("gone", models.PositiveIntegerField(default=0)),
                (
                    "project",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="connections",
                        to="backups.project",
                    ),
                ),
            ],
            options={
                "ordering": ["cloud", "region"],
            },
        ),
        migrations.AddField(
            model_name="cluster",
            name="project",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="clusters",
                to="backups.project",
            ),
        ),
        migrations.CreateModel(
            name="BatchItem",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("started", "Started"),
                            ("working", "In progress"),
                            ("done", "Done"),
                            ("failed", "Failed"),
                            ("skipped", "Skipped"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="waiting",
                        max_length=9,
                    ),
                ),
                (
                    "cause",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "Ready"),
                            ("backup_off", "Log backup is off"),
                            ("storage_missing", "Bucket or agency missing"),
                            ("busy", "Busy"),
                            ("unavailable", "Not available"),
                            ("running", "Already being backed up"),
                            ("gone", "Gone from the cloud"),
                            ("archived", "Archived"),
                            ("disconnected", "Cloud disconnected"),
                            ("not_permitted", "Not permitted"),
                            ("joined", "Backed up by another request"),
                            ("impossible", "Not possible"),
                            ("stopped", "Stopped after failures"),
                        ],
                        default="",
                        max_length=15,
                    ),
                ),
                (
                    "note",
                    models.CharField(
                        blank=True,
                        help_text="result, or why it was skipped or failed",
                        max_length=200,
                    ),
                ),
                ("code", models.CharField(blank=True, max_length=40)),
                ("begun_at", models.DateTimeField(blank=True, null=True)),
                (
                    "batch",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="items",
                        to="backups.batch",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="batch_items",
                        to="backups.backuprun",
                    ),
                ),
                (
                    "cluster",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="backups.cluster",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="backups.project",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="backuprun",
            name="project",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="runs",
                to="backups.project",
            ),
        ),
        migrations.CreateModel(
            name="RequestKey",
            fields=[
                ("key", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("body", models.CharField(max_length=64)),
                ("used_at", models.DateTimeField(auto_now_add=True)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="request_keys",
                        to="backups.backuprun",
                    ),
                ),
            ],
            options={
                "db_table": "backups_request_key",
            },
        ),
        migrations.CreateModel(
            name="RetentionPolicy",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "successes_days",
                    models.PositiveIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(36500),
                        ],
                    ),
                ),
                (
                    "failures_days",
                    models.PositiveIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(36500),
                        ],
                    ),
                ),
                (
                    "audit_days",
                    models.PositiveIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(36500),
                        ],
                    ),
                ),
                (
                    "personal_days",
                    models.PositiveIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(36500),
                        ],
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("pk", 1)), name="one_retention_policy"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="RetentionRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("successes", "Verified runs"),
                            ("failures", "All other runs"),
                            ("audit", "Audit trail"),
                            ("personal", "Names and addresses"),
                        ],
                        max_length=10,
                    ),
                ),
                ("cutoff", models.DateTimeField(help_text="older rows are deleted; whole seconds")),
                (
                    "told",
                    models.BigIntegerField(
                        help_text="sequence of the audit event that announced the run", unique=True
                    ),
                ),
                ("automatic", models.BooleanField(default=False)),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "claimed_by",
                    models.CharField(blank=True, help_text="process that runs it", max_length=120),
                ),
                ("changed_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "done",
                    models.PositiveBigIntegerField(default=0, help_text="deleted or masked so far"),
                ),
            ],
            options={
                "ordering": ["-pk"],
                "indexes": [
                    models.Index(fields=["kind", "-cutoff"], name="retention_newest_cutoff")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("finished_at__isnull", True)),
                        fields=("kind",),
                        name="one_open_retention_run_per_kind",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Rule",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kinds", models.JSONField(help_text="values of NoticeKind")),
                ("label", models.CharField(blank=True, max_length=200)),
                (
                    "channel",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rules",
                        to="backups.channel",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="backups.project",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="RunEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("from_state", models.CharField(blank=True, max_length=12)),
                ("to_state", models.CharField(max_length=12)),
                ("outcome", models.CharField(blank=True, max_length=20)),
                ("note", models.CharField(blank=True, max_length=500)),
                (
                    "actor",
                    models.CharField(
                        blank=True, help_text="name of a user or process", max_length=255
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="backups.backuprun",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="SavedView",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=80)),
                (
                    "listing",
                    models.CharField(
                        choices=[("history", "History"), ("clusters", "Clusters")],
                        default="history",
                        max_length=10,
                    ),
                ),
                (
                    "query",
                    models.CharField(
                        blank=True, help_text="query string of the list's URL", max_length=2000
                    ),
                ),
                ("shared", models.BooleanField(default=False, help_text="visible to all users")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="saved_views",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["name", "id"],
            },
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "work",
                    models.CharField(
                        choices=[("backup", "Back up"), ("report", "Send the report")],
                        default="backup",
                        max_length=10,
                    ),
                ),
                ("owner_name", models.CharField(max_length=255)),
                ("is_on", models.BooleanField(default=True)),
                (
                    "stopped_reason",
                    models.CharField(blank=True, help_text="why it stopped itself", max_length=500),
                ),
                ("cron", models.CharField(blank=True, max_length=100)),
                (
                    "interval",
                    models.PositiveIntegerField(default=0, help_text="seconds; 0: the cron text"),
                ),
                (
                    "anchor",
                    models.DateTimeField(
                        default=django.utils.timezone.now, help_text="intervals count from it"
                    ),
                ),
                ("zone", models.CharField(default="UTC", max_length=64)),
                (
                    "jitter",
                    models.PositiveIntegerField(default=0, help_text="most seconds after the slot"),
                ),
                (
                    "query",
                    models.CharField(
                        blank=True, help_text="filter, as in the URL", max_length=2000
                    ),
                ),
                (
                    "picked",
                    models.JSONField(
                        blank=True, default=list, help_text="keys of clusters; empty: the filter"
                    ),
                ),
                (
                    "when_not_ready",
                    models.CharField(
                        choices=[
                            ("skip", "Skip them, and say so"),
                            ("wait", "Wait until they are free"),
                            ("anyway", "Request them anyway"),
                        ],
                        default="skip",
                        max_length=6,
                    ),
                ),
                ("wait_minutes", models.PositiveSmallIntegerField(default=0)),
                (
                    "catch_up",
                    models.CharField(
                        choices=[
                            ("one", "Fire once for all of them"),
                            ("none", "Nothing: wait for the next slot"),
                        ],
                        default="one",
                        max_length=4,
                    ),
                ),
                (
                    "overlap",
                    models.BooleanField(
                        default=False, help_text="also while its last batch is open"
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("report_span", models.CharField(blank=True, max_length=10)),
                (
                    "ping_sealed",
                    models.TextField(blank=True, help_text="dead man's ping URL, encrypted"),
                ),
                ("next_slot", models.DateTimeField(blank=True, null=True)),
                (
                    "next_at",
                    models.DateTimeField(
                        blank=True, help_text="the next slot and its jitter", null=True
                    ),
                ),
                ("planned_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("changed_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="schedules",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("projects", models.ManyToManyField(related_name="+", to="backups.project")),
                (
                    "report_channel",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="backups.channel",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="firing",
            name="schedule",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="firings",
                to="backups.schedule",
            ),
        ),
        migrations.CreateModel(
            name="ScopeChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(help_text="holds from then on")),
                (
                    "assumed_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="set: added then, from what was known at that time",
                        null=True,
                    ),
                ),
                ("watched", models.BooleanField(help_text="listed by the cloud and not archived")),
                (
                    "objective_hours",
                    models.PositiveSmallIntegerField(help_text="empty: the project's", null=True),
                ),
                (
                    "cluster",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="scope_changes",
                        to="backups.cluster",
                    ),
                ),
            ],
            options={
                "db_table": "backups_scope_change",
            },
        ),
        migrations.CreateModel(
            name="RunSeal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("run_id", models.BigIntegerField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("end", "End"),
                            ("correction", "Correction"),
                            ("existing", "Existing"),
                        ],
                        default="end",
                        max_length=10,
                    ),
                ),
                ("made_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("facts", models.TextField()),
                (
                    "place",
                    models.PositiveIntegerField(
                        default=0, help_text="index of the leaf in its batch"
                    ),
                ),
                (
                    "digest",
                    models.CharField(
                        blank=True, help_text="of row, events and calls", max_length=64
                    ),
                ),
                ("covers", models.TextField(blank=True)),
                (
                    "altered",
                    models.CharField(
                        blank=True,
                        help_text="facts that changed between the end and the seal",
                        max_length=300,
                    ),
                ),
                (
                    "batch",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="seals",
                        to="backups.sealbatch",
                    ),
                ),
            ],
            options={
                "db_table": "backups_run_seal",
            },
        ),
        migrations.CreateModel(
            name="SeenFile",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=1024)),
                ("size", models.PositiveBigIntegerField(help_text="bytes")),
                ("etag", models.CharField(blank=True, max_length=100)),
                ("modified_at", models.DateTimeField(help_text="by the storage's clock")),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="seen_files",
                        to="backups.backuprun",
                    ),
                ),
            ],
            options={
                "db_table": "backups_seen_file",
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Ticker",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "holder",
                    models.CharField(
                        blank=True, help_text="Heartbeat.name; empty: free", max_length=120
                    ),
                ),
                (
                    "ticks",
                    models.PositiveBigIntegerField(
                        default=0, help_text="counts renewals and take-overs"
                    ),
                ),
                ("uptime", models.FloatField(default=0.0, help_text="seconds")),
                (
                    "ticked_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="wall clock of the holder; informative only",
                        null=True,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("pk", 1)), name="one_ticker")
                ],
            },
        ),
        migrations.CreateModel(
            name="ApiCall",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("attempt", models.PositiveIntegerField()),
                (
                    "purpose",
                    models.CharField(help_text="collect, records or baseline", max_length=20),
                ),
                ("method", models.CharField(max_length=8)),
                ("path", models.CharField(max_length=500)),
                ("url", models.CharField(blank=True, max_length=2000)),
                ("request_headers", models.JSONField(blank=True, default=dict)),
                ("request_body", models.TextField(blank=True)),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("duration_ms", models.PositiveIntegerField(blank=True, null=True)),
                ("status", models.PositiveSmallIntegerField(blank=True, null=True)),
                (
                    "answer_date",
                    models.DateTimeField(
                        blank=True, help_text="the answer's Date header", null=True
                    ),
                ),
                ("request_id", models.CharField(blank=True, max_length=128)),
                ("error_code", models.CharField(blank=True, max_length=64)),
                ("message", models.TextField(blank=True)),
                ("transport_error", models.CharField(blank=True, max_length=30)),
                ("sent", models.BooleanField(default=True)),
                (
                    "retry_after",
                    models.FloatField(
                        blank=True, help_text="seconds, from the cloud's Retry-After", null=True
                    ),
                ),
                ("body_kind", models.CharField(blank=True, max_length=20)),
                ("body_size", models.PositiveBigIntegerField(default=0)),
                ("excerpt", models.TextField(blank=True)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="api_calls",
                        to="backups.backuprun",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "indexes": [models.Index(fields=["started_at"], name="call_by_time")],
            },
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("run_failed", "Log backup failed"),
                            ("run_rejected", "Log backup rejected"),
                            ("run_unknown", "Outcome unknown"),
                            ("protection_overdue", "Protection overdue"),
                            ("protection_recovered", "Protection recovered"),
                            ("schedule_skipped", "Schedule skipped"),
                            ("schedule_stopped", "Schedule stopped"),
                            ("batch_ended", "Batch ended"),
                            ("work_stalled", "Work does not flow"),
                            ("work_recovered", "Work flows again"),
                            ("audit_broken", "Audit trail or its guards broken"),
                            ("report", "Report"),
                            ("test", "Test"),
                            ("ping", "Ping"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "subject",
                    models.CharField(blank=True, help_text="of several of a kind", max_length=60),
                ),
                ("began_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "cluster",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="alerts",
                        to="backups.cluster",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "subject"), name="alert_once_per_subject"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ClusterTag",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "origin",
                    models.CharField(
                        choices=[("cloud", "Tag in the cloud"), ("own", "Label")], max_length=5
                    ),
                ),
                ("key", models.CharField(max_length=128)),
                ("value", models.CharField(blank=True, max_length=255)),
                (
                    "cluster",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tags",
                        to="backups.cluster",
                    ),
                ),
            ],
            options={
                "ordering": ["origin", "key"],
                "indexes": [models.Index(fields=["key", "value"], name="tag_by_key_and_value")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("cluster", "origin", "key"), name="tag_once_per_cluster_and_origin"
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state__in", ["waiting", "sending"])),
                fields=["next_at"],
                name="delivery_unsent",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(fields=["-created_at", "-id"], name="delivery_newest"),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                fields=["channel", "-created_at", "-id"], name="delivery_by_channel"
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.UniqueConstraint(
                condition=models.Q(("key", ""), _negated=True),
                fields=("channel", "kind", "key"),
                name="delivery_once_per_channel_and_key",
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "ping")), fields=("key",), name="ping_once_per_key"
            ),
        ),
        migrations.AddIndex(
            model_name="export",
            index=models.Index(fields=["owner", "-started_at"], name="export_newest_of_owner"),
        ),
        migrations.AddIndex(
            model_name="filecheck",
            index=models.Index(
                condition=models.Q(("due_at__isnull", False)),
                fields=["due_at"],
                name="file_check_due",
            ),
        ),
        migrations.AddIndex(
            model_name="batch",
            index=models.Index(
                condition=models.Q(("finished_at", None)), fields=["id"], name="batch_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="batch",
            constraint=models.UniqueConstraint(
                condition=models.Q(("idempotency_key__isnull", False)),
                fields=("idempotency_key",),
                name="one_batch_per_idempotency_key",
            ),
        ),
        migrations.AddConstraint(
            model_name="noticedelivery",
            constraint=models.UniqueConstraint(
                fields=("notice", "channel"), name="notice_once_per_channel"
            ),
        ),
        migrations.AddIndex(
            model_name="post",
            index=models.Index(
                fields=["project_id_in_cloud", "cluster_cloud_id", "-id"], name="post_of_cluster"
            ),
        ),
        migrations.AddIndex(
            model_name="post",
            index=models.Index(
                condition=models.Q(("job_id", ""), models.Q(("result", "refused"), _negated=True)),
                fields=["project_id_in_cloud", "cluster_cloud_id", "-id"],
                name="post_without_job",
            ),
        ),
        migrations.AddConstraint(
            model_name="post",
            constraint=models.UniqueConstraint(
                fields=("run", "attempt"), name="one_post_per_attempt"
            ),
        ),
        migrations.AddConstraint(
            model_name="post",
            constraint=models.UniqueConstraint(
                condition=models.Q(("active", True)),
                fields=("project_id_in_cloud", "cluster_cloud_id"),
                name="one_active_post_per_cluster",
            ),
        ),
        migrations.AddIndex(
            model_name="notice",
            index=models.Index(
                condition=models.Q(("routed_at", None)), fields=["id"], name="notice_unrouted"
            ),
        ),
        migrations.AddIndex(
            model_name="notice",
            index=models.Index(fields=["at"], name="notice_by_time"),
        ),
        migrations.AddConstraint(
            model_name="notice",
            constraint=models.UniqueConstraint(
                fields=("kind", "key"), name="notice_once_per_kind_and_key"
            ),
        ),
        migrations.AddConstraint(
            model_name="handling",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at", None)),
                fields=("scope",),
                name="one_open_handling_per_scope",
            ),
        ),
        migrations.AddIndex(
            model_name="connection",
            index=models.Index(
                condition=models.Q(("disconnected_at__isnull", True)),
                fields=["next_sync_at"],
                name="connection_sync_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="connection",
            constraint=models.UniqueConstraint(
                fields=("cloud", "region"), name="connection_once_per_region"
            ),
        ),
        migrations.AddIndex(
            model_name="cluster",
            index=models.Index(fields=["name", "id"], name="cluster_by_name"),
        ),
        migrations.AddIndex(
            model_name="cluster",
            index=models.Index(fields=["cluster_id"], name="cluster_by_cloud_id"),
        ),
        migrations.AddIndex(
            model_name="cluster",
            index=models.Index(
                condition=models.Q(("archived_at__isnull", True), ("gone_at__isnull", True)),
                fields=["check_due_at"],
                name="cluster_check_due",
            ),
        ),
        migrations.AddIndex(
            model_name="cluster",
            index=models.Index(
                condition=models.Q(("check_leased_until__isnull", False)),
                fields=["check_leased_until"],
                name="cluster_check_leased",
            ),
        ),
        migrations.AddIndex(
            model_name="cluster",
            index=models.Index(fields=["overdue_at", "id"], name="cluster_by_overdue"),
        ),
        migrations.AddConstraint(
            model_name="cluster",
            constraint=models.UniqueConstraint(
                fields=("project", "cluster_id"), name="cluster_once_per_project"
            ),
        ),
        migrations.AddIndex(
            model_name="batchitem",
            index=models.Index(
                condition=models.Q(("state", "waiting")),
                fields=["project", "batch", "id"],
                name="batch_item_waiting",
            ),
        ),
        migrations.AddConstraint(
            model_name="batchitem",
            constraint=models.UniqueConstraint(
                fields=("batch", "cluster"), name="cluster_once_per_batch"
            ),
        ),
        migrations.AddIndex(
            model_name="backuprun",
            index=models.Index(fields=["-requested_at", "-id"], name="run_newest"),
        ),
        migrations.AddIndex(
            model_name="backuprun",
            index=models.Index(
                fields=["cluster", "-requested_at", "-id"], name="run_newest_of_cluster"
            ),
        ),
        migrations.AddIndex(
            model_name="backuprun",
            index=models.Index(
                fields=["project", "-requested_at", "-id"], name="run_newest_of_project"
            ),
        ),
        migrations.AddIndex(
            model_name="backuprun",
            index=models.Index(
                fields=["state", "-requested_at", "-id"], name="run_newest_by_state"
            ),
        ),
        migrations.AddIndex(
            model_name="backuprun",
            index=models.Index(
                fields=["outcome", "-requested_at", "-id"], name="run_newest_by_outcome"
            ),
        ),
        migrations.AddIndex(
            model_name="backuprun",
            index=models.Index(
                fields=["http_status", "-requested_at", "-id"], name="run_newest_by_http_status"
            ),
        ),
        migrations.AddIndex(
            model_name="backuprun",
            index=models.Index(
                condition=models.Q(backups.models.run.IsGiven("error_code")),
                fields=["error_code", "-requested_at", "-id"],
                name="run_newest_by_code",
            ),
        ),
        migrations.AddIndex(
            model_name="backuprun",
            index=models.Index(
                condition=models.Q(backups.models.run.IsGiven("error_code")),
                fields=["error_code", "requested_by_name", "-requested_at", "-id"],
                name="run_by_code_and_user",
            ),
        ),
        migrations.AddIndex(
            model_name="backuprun",
            index=models.Index(
                fields=["trigger", "-requested_at", "-id"], name="run_newest_by_trigger"
            ),
        ),
        migrations.AddIndex(
            model_name="backuprun",
            index=models.Index(
                fields=["requested_by_name", "-requested_at", "-id"], name="run_newest_by_user"
            ),
        ),
        migrations.AddIndex(
            model_name="backuprun",
            index=models.Index(
                fields=["requested_by_name", "state", "-requested_at", "-id"],
                name="run_by_user_and_state",
            ),
        ),
        migrations.AddIndex(
            model_name="backuprun",
            index=models.Index(
                fields=["cluster", "state", "-requested_at", "-id"], name="run_by_cluster_and_state"
            ),
        ),
        migrations.AddIndex(
            model_name="backuprun",
            index=models.Index(
                fields=["project", "state", "-requested_at", "-id"], name="run_by_project_and_state"
            ),
        ),
        migrations.AddIndex(
            model_name="backuprun",
            index=models.Index(
                fields=["request_id"], name="run_by_request_id", opclasses=["varchar_pattern_ops"]
            ),
        ),
        migrations.AddConstraint(
            model_name="backuprun",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["accepted", "queued", "sending", "unknown"])),
                fields=("cluster",),
                name="one_active_run_per_cluster",
            ),
        ),
        migrations.AddConstraint(
            model_name="backuprun",
            constraint=models.UniqueConstraint(
                condition=models.Q(("job_id__isnull", False)),
                fields=("project_id_in_cloud", "cluster_cloud_id", "job_id"),
                name="one_run_per_cloud_job",
            ),
        ),
        migrations.AddConstraint(
            model_name="backuprun",
            constraint=models.UniqueConstraint(
                condition=models.Q(backups.models.run.IsGiven("record_id")),
                fields=("project_id_in_cloud", "cluster_cloud_id", "record_id"),
                name="one_run_per_cloud_record",
            ),
        ),
        migrations.AddConstraint(
            model_name="backuprun",
            constraint=models.UniqueConstraint(
                condition=models.Q(("idempotency_key__isnull", False)),
                fields=("idempotency_key",),
                name="one_run_per_idempotency_key",
            ),
        ),
        migrations.AddConstraint(
            model_name="savedview",
            constraint=models.UniqueConstraint(
                fields=("owner", "listing", "name"), name="saved_view_once_per_name"
            ),
        ),
        migrations.AddIndex(
            model_name="schedule",
            index=models.Index(
                condition=models.Q(("next_at__isnull", False)),
                fields=["next_at"],
                name="schedule_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("cron", ""), ("interval__gt", 0)),
                    models.Q(models.Q(("cron", ""), _negated=True), ("interval", 0)),
                    _connector="OR",
                ),
                name="schedule_cron_or_interval",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("deleted_at", None), ("is_on", True)),
                    ("next_at", None),
                    _connector="OR",
                ),
                name="schedule_off_is_not_due",
            ),
        ),
        migrations.AddIndex(
            model_name="firing",
            index=models.Index(fields=["schedule", "-id"], name="firing_newest"),
        ),
        migrations.AddIndex(
            model_name="firing",
            index=models.Index(
                condition=models.Q(("awaits_ping", True)), fields=["id"], name="firing_awaits_ping"
            ),
        ),
        migrations.AddConstraint(
            model_name="firing",
            constraint=models.UniqueConstraint(
                fields=("schedule", "slot"), name="slot_once_per_schedule"
            ),
        ),
        migrations.AddIndex(
            model_name="scopechange",
            index=models.Index(fields=["cluster", "id"], name="scope_change_of_cluster"),
        ),
        migrations.AddIndex(
            model_name="runseal",
            index=models.Index(
                condition=models.Q(("batch", None)), fields=["id"], name="seal_pending"
            ),
        ),
        migrations.AddConstraint(
            model_name="runseal",
            constraint=models.UniqueConstraint(
                fields=("run_id", "kind"), name="one_seal_per_run_and_kind"
            ),
        ),
        migrations.RunPython(prepare_postgresql, migrations.RunPython.noop),
        GUARDS.operation(),
    ]
