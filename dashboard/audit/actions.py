"""What can be in the audit trail."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Action(TextChoices):
    """What was done; the values are in stored hashes, so one that was used is never renamed."""

    SIGN_IN = "sign_in", _("Signed in")
    SIGN_IN_FAILED = "sign_in_failed", _("Sign-in failed")
    SIGN_IN_LIMITED = "sign_in_limited", _("Too many tries to sign in")
    SIGN_OUT = "sign_out", _("Signed out")
    SESSION_REVOKED = "session_revoked", _("Session ended")
    ACCOUNT_MADE = "account_made", _("Account made at the first sign-in")
    PASSWORD_CHANGED = "password_changed", _("Password changed")
    SECOND_FACTOR_ADDED = "second_factor_added", _("Second factor added")
    SECOND_FACTOR_REMOVED = "second_factor_removed", _("Second factor removed")
    RECOVERY_CODES_MADE = "recovery_codes_made", _("Recovery codes made")
    ACCESS_DENIED = "access_denied", _("Access denied")

    RUN_REQUESTED = "run_requested", _("Log backup requested")
    RUN_JOINED = "run_joined", _("Request joined a running log backup")
    RUN_CANCELLED = "run_cancelled", _("Log backup cancelled")
    RUN_CORRECTED = "run_corrected", _("Log backup corrected by late evidence")
    RUN_SETTLED = "run_settled", _("Log backup settled by hand")

    # before the cloud is asked; the event after it says what came of it
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
    SYNC_REQUESTED = "sync_requested", _("Inventory refresh requested")

    CLUSTER_REGISTERED = "cluster_registered", _("Cluster registered")
    CLUSTER_ARCHIVED = "cluster_archived", _("Cluster archived")
    CLUSTER_RESTORED = "cluster_restored", _("Cluster restored")
    CLUSTER_LABELLED = "cluster_labelled", _("Cluster labelled")
    OBJECTIVE_CHANGED = "objective_changed", _("Protection objective changed")

    GRANT_ADDED = "grant_added", _("Role granted")
    GRANT_REMOVED = "grant_removed", _("Role withdrawn")
    TOKEN_CREATED = "token_created", _("API token created")
    TOKEN_REVOKED = "token_revoked", _("API token revoked")
    TOKEN_REFUSED = "token_refused", _("API token refused")

    INSTANCE_ADOPTED = "instance_adopted", _("Database adopted by this instance")

    RETENTION_CHANGED = "retention_changed", _("Retention changed")
    EXPORT_MADE = "export_made", _("Export made")
    RETENTION_RUN = "retention_run", _("Retention run")
    PERSONAL_DATA_MASKED = "personal_data_masked", _("Personal data masked")
