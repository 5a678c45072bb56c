from django.db import migrations, models

from dashboard.audit.guards import GUARDS


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Anchor",
            fields=[
                (
                    "sequence",
                    models.BigIntegerField(
                        help_text="of the last deleted event", primary_key=True, serialize=False
                    ),
                ),
                ("hash", models.CharField(max_length=64)),
                ("at", models.DateTimeField(help_text="time of the last deleted event")),
                (
                    "recorded_by",
                    models.BigIntegerField(
                        help_text="sequence of the retention run's event", unique=True
                    ),
                ),
            ],
            options={
                "db_table": "audit_anchor",
            },
        ),
        migrations.CreateModel(
            name="RefusalCount",
            fields=[
                ("key", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("recorded_at", models.DateTimeField(db_index=True)),
                ("count", models.PositiveBigIntegerField(default=0)),
                ("first_at", models.DateTimeField(null=True)),
                ("last_at", models.DateTimeField(null=True)),
                (
                    "places",
                    models.JSONField(
                        default=list, help_text="method and path of up to ten requests"
                    ),
                ),
                ("actor_name", models.CharField(blank=True, max_length=255)),
                ("actor_user_id", models.BigIntegerField(null=True)),
                ("ip", models.CharField(blank=True, max_length=45)),
                ("user_agent", models.CharField(blank=True, max_length=300)),
                (
                    "program",
                    models.CharField(blank=True, help_text="the API token's label", max_length=255),
                ),
            ],
            options={
                "db_table": "audit_refusal_count",
            },
        ),
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                ("sequence", models.BigIntegerField(primary_key=True, serialize=False)),
                (
                    "form",
                    models.PositiveSmallIntegerField(default=1, help_text="of the hashed content"),
                ),
                ("at", models.DateTimeField()),
                ("action", models.CharField(max_length=40)),
                ("request_id", models.CharField(blank=True, max_length=64)),
                ("actor_name", models.CharField(blank=True, max_length=255)),
                ("actor_user_id", models.BigIntegerField(blank=True, null=True)),
                ("ip", models.CharField(blank=True, max_length=45)),
                ("user_agent", models.CharField(blank=True, max_length=300)),
                ("salt", models.CharField(blank=True, max_length=32)),
                (
                    "personal",
                    models.CharField(
                        help_text="salted SHA-256 of the personal part", max_length=64
                    ),
                ),
                (
                    "masked_by",
                    models.BigIntegerField(
                        blank=True,
                        help_text="sequence of the event of the masking",
                        null=True,
                    ),
                ),
                (
                    "target_type",
                    models.CharField(blank=True, help_text="as in backups.cluster", max_length=100),
                ),
                (
                    "target_is_person",
                    models.BooleanField(
                        default=False, help_text="its id and label are personal data"
                    ),
                ),
                ("target_id", models.CharField(blank=True, max_length=64)),
                ("target_label", models.CharField(blank=True, max_length=255)),
                ("project_id", models.BigIntegerField(blank=True, null=True)),
                ("project_label", models.CharField(blank=True, max_length=255)),
                ("reason", models.CharField(blank=True, max_length=1000)),
                ("before", models.JSONField(blank=True, null=True)),
                ("after", models.JSONField(blank=True, null=True)),
                ("details", models.JSONField(blank=True, null=True)),
                ("previous_hash", models.CharField(max_length=64)),
                ("hash", models.CharField(max_length=64)),
            ],
            options={
                "db_table": "audit_event",
                "ordering": ["-at", "-sequence"],
                "indexes": [
                    models.Index(fields=["-at", "-sequence"], name="audit_newest"),
                    models.Index(
                        fields=["action", "-at", "-sequence"], name="audit_newest_by_action"
                    ),
                    models.Index(
                        fields=["actor_name", "-at", "-sequence"], name="audit_newest_by_actor"
                    ),
                    models.Index(
                        fields=["project_id", "-at", "-sequence"], name="audit_newest_by_project"
                    ),
                    models.Index(
                        fields=["target_type", "target_id", "-at", "-sequence"],
                        name="audit_by_object",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Verification",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "result",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("intact", "Intact"),
                            ("broken", "Broken"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("requested_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "first",
                    models.BigIntegerField(blank=True, help_text="first sequence read", null=True),
                ),
                (
                    "last",
                    models.BigIntegerField(blank=True, help_text="last sequence read", null=True),
                ),
                (
                    "head",
                    models.CharField(
                        blank=True, help_text="hash of the last event read", max_length=64
                    ),
                ),
                ("events", models.BigIntegerField(default=0)),
                ("broken_at", models.BigIntegerField(blank=True, help_text="sequence", null=True)),
                ("problem", models.CharField(blank=True, max_length=2000)),
                (
                    "guards_missing",
                    models.CharField(blank=True, help_text="names of triggers", max_length=300),
                ),
                (
                    "complete",
                    models.BooleanField(
                        default=True,
                        help_text="False: only events since the last intact verification",
                    ),
                ),
                (
                    "records",
                    models.BigIntegerField(default=0, help_text="runs compared with their seals"),
                ),
                (
                    "pending",
                    models.BigIntegerField(default=0, help_text="seals pending for over a minute"),
                ),
            ],
            options={
                "db_table": "audit_verification",
                "ordering": ["-pk"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("result", "waiting")),
                        fields=("result",),
                        name="audit_one_verification_waits",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="EmittedHead",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
                ("sequence", models.BigIntegerField()),
            ],
            options={
                "db_table": "audit_emitted_head",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("pk", 1)), name="one_emitted_head")
                ],
            },
        ),
        GUARDS.operation(),
    ]
