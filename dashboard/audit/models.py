"""Actions and tables of the audit trail. guards.py keeps events and anchors append-only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import models
from django.db.models import TextChoices
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from .values import CONTENT_FORM, instant, personal_digest, sha256


class Action(TextChoices):
    """What was done. Stored hashes contain the values, so they are never renamed."""

    SIGN_IN = "sign_in", _("Signed in")
    SIGN_IN_FAILED = "sign_in_failed", _("Sign-in failed")
    SIGN_IN_LIMITED = "sign_in_limited", _("Too many sign-in attempts")
    SIGN_OUT = "sign_out", _("Signed out")
    SESSION_REVOKED = "session_revoked", _("Session ended")
    ACCOUNT_MADE = "account_made", _("Account created at first sign-in")
    PASSWORD_CHANGED = "password_changed", _("Password changed")
    SECOND_FACTOR_ADDED = "second_factor_added", _("Second factor added")
    SECOND_FACTOR_REMOVED = "second_factor_removed", _("Second factor removed")
    RECOVERY_CODES_MADE = "recovery_codes_made", _("Recovery codes generated")
    ACCESS_DENIED = "access_denied", _("Access denied")

    RUN_REQUESTED = "run_requested", _("Log backup requested")
    RUN_JOINED = "run_joined", _("Request joined a running log backup")
    RUN_CANCELLED = "run_cancelled", _("Log backup cancelled")
    RUN_CORRECTED = "run_corrected", _("Log backup corrected by late evidence")
    BATCH_REQUESTED = "batch_requested", _("Batch requested")
    BATCH_CANCELLED = "batch_cancelled", _("Batch cancelled")
    SCHEDULE_CREATED = "schedule_created", _("Schedule created")
    SCHEDULE_CHANGED = "schedule_changed", _("Schedule changed")
    SCHEDULE_PAUSED = "schedule_paused", _("Schedule paused")
    SCHEDULE_RESUMED = "schedule_resumed", _("Schedule resumed")
    SCHEDULE_STOPPED = "schedule_stopped", _("Schedule stopped itself")
    SCHEDULE_DELETED = "schedule_deleted", _("Schedule deleted")
    RUN_SETTLED = "run_settled", _("Log backup settled manually")
    RUN_FILES_CHECKED = "run_files_checked", _("Files of a log backup checked")
    RUNS_SEALED = "runs_sealed", _("Ended log backups sealed")

    # recorded before the request to the cloud; a second event records the result
    LOG_CHANGE_REQUESTED = "log_change_requested", _("Change of log backup settings requested")
    LOG_CHANGE_FAILED = "log_change_failed", _("Change of log backup settings not confirmed")
    LOG_BACKUP_ENABLED = "log_backup_enabled", _("Log backup switched on")
    LOG_BACKUP_CHANGED = "log_backup_changed", _("Log backup settings changed")
    LOG_BACKUP_DISABLED = "log_backup_disabled", _("Log backup switched off")
    LOG_POLICY_CHANGED = "log_policy_changed", _("Automatic log backup changed")
    LOG_POLICY_DISABLED = "log_policy_disabled", _("Automatic log backup switched off")

    CONNECTION_ADDED = "connection_added", _("Connection added")
    CONNECTION_REMOVED = "connection_removed", _("Connection removed")
    CONNECTION_TESTED = "connection_tested", _("Connection tested")
    FILE_CHECKS_ENABLED = "file_checks_enabled", _("Check of files in the bucket switched on")
    FILE_CHECKS_DISABLED = "file_checks_disabled", _("Check of files in the bucket switched off")
    SYNC_REQUESTED = "sync_requested", _("Inventory refresh requested")

    CLUSTER_REGISTERED = "cluster_registered", _("Cluster registered")
    CLUSTER_ARCHIVED = "cluster_archived", _("Cluster archived")
    CLUSTER_RESTORED = "cluster_restored", _("Cluster restored")
    CLUSTER_LABELLED = "cluster_labelled", _("Cluster labelled")
    OBJECTIVE_CHANGED = "objective_changed", _("Protection objective changed")

    ACCOUNT_CREATED = "account_created", _("Account created")
    ACCOUNT_RENAMED = "account_renamed", _("Account renamed")
    ACCOUNT_ACTIVATED = "account_activated", _("Account activated")
    ACCOUNT_DEACTIVATED = "account_deactivated", _("Account deactivated")
    ACCOUNT_DELETED = "account_deleted", _("Account deleted")
    SUPERUSER_ADDED = "superuser_added", _("Superuser status granted")
    SUPERUSER_REMOVED = "superuser_removed", _("Superuser status withdrawn")
    PASSWORD_SET = "password_set", _("Password set by somebody else")
    SIGN_IN_LINK_CREATED = "sign_in_link_created", _("One-time link created")
    GROUP_CREATED = "group_created", _("Group created")
    GROUP_RENAMED = "group_renamed", _("Group renamed")
    GROUP_DELETED = "group_deleted", _("Group deleted")
    MEMBER_ADDED = "member_added", _("Added to group")
    MEMBER_REMOVED = "member_removed", _("Removed from group")

    GRANT_ADDED = "grant_added", _("Role granted")
    GRANT_REMOVED = "grant_removed", _("Role withdrawn")
    TOKEN_CREATED = "token_created", _("API token created")
    TOKEN_REVOKED = "token_revoked", _("API token revoked")
    TOKEN_REFUSED = "token_refused", _("API token refused")

    CHANNEL_ADDED = "channel_added", _("Channel added")
    CHANNEL_CHANGED = "channel_changed", _("Channel changed")
    CHANNEL_REMOVED = "channel_removed", _("Channel deleted")
    CHANNEL_TESTED = "channel_tested", _("Channel tested")
    NOTIFICATION_RULE_ADDED = "notification_rule_added", _("Notification rule added")
    NOTIFICATION_RULE_REMOVED = "notification_rule_removed", _("Notification rule deleted")

    INSTANCE_ADOPTED = "instance_adopted", _("Database adopted by this instance")

    RETENTION_CHANGED = "retention_changed", _("Retention changed")
    EXPORT_MADE = "export_made", _("Export created")
    RETENTION_RUN = "retention_run", _("Retention run")
    GUARDS_RESTORED = "guards_restored", _("Database triggers restored")
    PERSONAL_DATA_MASKED = "personal_data_masked", _("Personal data masked")


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def about(self, target: models.Model) -> AuditEventQuerySet:
        """Return the events about an object."""
        return self.filter(target_type=target._meta.label_lower, target_id=str(target.pk))


class AuditEvent(models.Model):
    """An action, and its link in the hash chain.

    Only `trail.record` creates events. Names are copied and ids are plain values: an event outlives
    the account, project or object that it refers to.
    """

    # Without gaps or duplicates. Assigned by `record`, since a database sequence leaves gaps after
    # rollbacks.
    sequence = models.BigIntegerField(primary_key=True)
    form = models.PositiveSmallIntegerField(default=CONTENT_FORM, help_text="of the hashed content")
    at = models.DateTimeField()
    # no choices: a new action must not need a migration
    action = models.CharField(max_length=40)
    request_id = models.CharField(max_length=64, blank=True)

    # Personal data, the only part that can be masked. The address is text rather than inet: a
    # database that normalises addresses would break the digest.
    actor_name = models.CharField(max_length=255, blank=True)
    actor_user_id = models.BigIntegerField(null=True, blank=True)
    ip = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    salt = models.CharField(max_length=32, blank=True)
    personal = models.CharField(max_length=64, help_text="salted SHA-256 of the personal part")
    masked_by = models.BigIntegerField(
        null=True, blank=True, help_text="sequence of the event that says who masked this one"
    )

    target_type = models.CharField(max_length=100, blank=True, help_text="as in backups.cluster")
    target_is_person = models.BooleanField(
        default=False, help_text="its id and label are personal, too"
    )
    target_id = models.CharField(max_length=64, blank=True)
    target_label = models.CharField(max_length=255, blank=True)
    project_id = models.BigIntegerField(null=True, blank=True)
    project_label = models.CharField(max_length=255, blank=True)

    reason = models.CharField(max_length=1000, blank=True)
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    details = models.JSONField(null=True, blank=True)

    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        db_table = "audit_event"
        ordering = ["-at", "-sequence"]
        indexes = [
            # the page; the start of a date range or of retention
            models.Index(fields=["-at", "-sequence"], name="audit_newest"),
            # the page by action
            models.Index(fields=["action", "-at", "-sequence"], name="audit_newest_by_action"),
            # the page by actor
            models.Index(fields=["actor_name", "-at", "-sequence"], name="audit_newest_by_actor"),
            # the page of an auditor of single projects
            models.Index(fields=["project_id", "-at", "-sequence"], name="audit_newest_by_project"),
            # all events of one object
            models.Index(
                fields=["target_type", "target_id", "-at", "-sequence"], name="audit_by_object"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.action}"

    def get_absolute_url(self) -> str:
        return reverse("audit:event-detail", args=[self.sequence])

    @property
    def action_label(self) -> str:
        """The label of the action; an unknown one as stored."""
        return str(Action(self.action).label) if self.action in Action.values else self.action

    @property
    def is_masked(self) -> bool:
        """Whether the personal data was masked."""
        return self.masked_by is not None

    def personal_part(self) -> dict[str, Any]:
        """The personal data, which is hashed with the salt."""
        part: dict[str, Any] = {
            "actor": self.actor_name,
            "ip": self.ip,
            "user_agent": self.user_agent,
            "user_id": self.actor_user_id,
        }
        if self.target_is_person:
            part |= {"target_id": self.target_id, "target_label": self.target_label}
        return part

    def content(self) -> dict[str, Any]:
        """The hashed content: the whole event, with the digest in place of the personal data."""
        person = self.target_is_person
        return {
            "action": self.action,
            "after": self.after,
            "at": instant(self.at),
            "before": self.before,
            "details": self.details,
            "form": self.form,
            "personal": self.personal,
            "previous_hash": self.previous_hash,
            "project": {"id": self.project_id, "label": self.project_label},
            "reason": self.reason,
            "request_id": self.request_id,
            "sequence": self.sequence,
            "target": {
                "id": None if person else self.target_id,
                "is_person": person,
                "label": None if person else self.target_label,
                "type": self.target_type,
            },
        }

    def personal_digest(self) -> str:
        """Compute the digest of the current personal data."""
        return personal_digest(self.salt, self.personal_part())

    def content_hash(self) -> str:
        """Compute the hash of the current content."""
        return sha256(self.content())

    def differences(self) -> list[tuple[str, Any, Any, bool]]:
        """Return (name, before, after, whether they differ) for each recorded value."""
        before: Mapping[str, Any] = self.before or {}
        after: Mapping[str, Any] = self.after or {}
        names = sorted({*before, *after})
        return [
            (name, before.get(name), after.get(name), before.get(name) != after.get(name))
            for name in names
        ]


class Anchor(models.Model):
    """The last deleted event and its hash, where the remaining chain begins.

    The triggers allow deleting only events up to the newest anchor, and accept an anchor only with
    the hash of its event and after the event of the retention run.
    """

    sequence = models.BigIntegerField(primary_key=True, help_text="of the last deleted event")
    hash = models.CharField(max_length=64)
    at = models.DateTimeField(help_text="time of the last deleted event")
    recorded_by = models.BigIntegerField(
        unique=True, help_text="sequence of the retention run's event"
    )

    class Meta:
        db_table = "audit_anchor"

    def __str__(self) -> str:
        return f"up to {self.sequence}"


class Verification(models.Model):
    """One verification of the chain and of sealed records. A status record, not evidence."""

    class Result(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        INTACT = "intact", _("Intact")
        BROKEN = "broken", _("Broken")

    result = models.CharField(max_length=10, choices=Result, default=Result.WAITING)
    requested_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    first = models.BigIntegerField(null=True, blank=True, help_text="sequence read first")
    last = models.BigIntegerField(null=True, blank=True, help_text="sequence read last")
    head = models.CharField(max_length=64, blank=True, help_text="hash of the last")
    events = models.BigIntegerField(default=0)
    broken_at = models.BigIntegerField(null=True, blank=True, help_text="sequence")
    # with a NULL in `broken_at`: of sealed records
    problem = models.CharField(max_length=2000, blank=True)
    guards_missing = models.CharField(max_length=300, blank=True, help_text="names of triggers")
    complete = models.BooleanField(
        default=True, help_text="False: only what was new since the last intact one"
    )
    records = models.BigIntegerField(default=0, help_text="that were compared with their seals")
    pending = models.BigIntegerField(default=0, help_text="seals, for over a minute")

    class Meta:
        db_table = "audit_verification"
        ordering = ["-pk"]
        constraints = [
            # two clicks queue one verification
            models.UniqueConstraint(
                fields=["result"],
                condition=models.Q(result="waiting"),
                name="audit_one_verification_waits",
            )
        ]

    def __str__(self) -> str:
        return f"{self.result} {self.first}-{self.last}"


class EmittedHead(models.Model):
    """The last head that was written to the log: one row. A status record, not evidence."""

    at = models.DateTimeField()
    sequence = models.BigIntegerField()

    class Meta:
        db_table = "audit_emitted_head"
        constraints = [models.CheckConstraint(condition=models.Q(pk=1), name="one_emitted_head")]

    def __str__(self) -> str:
        return f"{self.sequence} at {self.at}"


class RefusalCount(models.Model):
    """Denied requests of one account since the last event about them. Deleted after a minute.

    Attributes:
        key: the account, or the address without a sign-in.
        told_at: when the last event was recorded.
        count: denied requests since then. The other columns describe these, with the actor of the
            last one.
    """

    key = models.CharField(max_length=64, primary_key=True)
    told_at = models.DateTimeField(db_index=True)
    count = models.PositiveBigIntegerField(default=0)
    first_at = models.DateTimeField(null=True)
    last_at = models.DateTimeField(null=True)
    places = models.JSONField(default=list, help_text="method and path of some")
    actor_name = models.CharField(max_length=255, blank=True)
    actor_user_id = models.BigIntegerField(null=True)
    ip = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    program = models.CharField(max_length=255, blank=True, help_text="the API token's label")

    class Meta:
        db_table = "audit_refusal_count"

    def __str__(self) -> str:
        return f"{self.key}: {self.count}"
