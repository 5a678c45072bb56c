"""States, outcomes, triggers and faults, as stored in the database."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


def in_english(text: str | Promise) -> str:
    """A translatable text in English, for rows that readers of any language see.

    Args:
        text: a label or lazy translation.
    """
    with translation.override("en"):
        return str(text)


class RunState(TextChoices):
    """State of a run. ALLOWED has the transitions; docs/run-states.md draws them."""

    QUEUED = "queued", _("Queued")
    SENDING = "sending", _("Sending")
    ACCEPTED = "accepted", _("Accepted by the cloud")
    UNKNOWN = "unknown", _("Outcome unknown")
    SUCCEEDED = "succeeded", _("Verified")
    FAILED = "failed", _("Backup failed")
    UNVERIFIED = "unverified", _("Accepted, not verified")
    REJECTED = "rejected", _("Rejected")
    NOT_STARTED = "not_started", _("Not started")
    CANCELLED = "cancelled", _("Cancelled")


ACTIVE: frozenset[RunState] = frozenset(
    {RunState.QUEUED, RunState.SENDING, RunState.ACCEPTED, RunState.UNKNOWN}
)
TERMINAL: frozenset[RunState] = frozenset(RunState) - ACTIVE

# Ended without a job: corrected when the job is listed later (services.runs.correcting).
CORRECTABLE: frozenset[RunState] = frozenset({RunState.NOT_STARTED, RunState.UNVERIFIED})

ENDED_BADLY: frozenset[RunState] = TERMINAL - {RunState.SUCCEEDED, RunState.CANCELLED}

_S = RunState
ALLOWED: dict[RunState, frozenset[RunState]] = {
    _S.QUEUED: frozenset({_S.SENDING, _S.CANCELLED}),
    # QUEUED: nothing was sent, or the cloud asked to retry later. UNKNOWN: it may have arrived.
    _S.SENDING: frozenset({_S.ACCEPTED, _S.REJECTED, _S.QUEUED, _S.UNKNOWN}),
    _S.ACCEPTED: frozenset({_S.SUCCEEDED, _S.FAILED, _S.UNVERIFIED}),
    # REJECTED and ACCEPTED: the response came after the sweeper had taken over the run.
    # UNVERIFIED: only when settled by hand.
    _S.UNKNOWN: frozenset(
        {_S.ACCEPTED, _S.REJECTED, _S.SUCCEEDED, _S.FAILED, _S.NOT_STARTED, _S.UNVERIFIED}
    ),
    **{state: frozenset() for state in TERMINAL},
}


class Ruling(TextChoices):
    """A user's finding about a run that the cloud's records cannot settle."""

    STARTED = "started", _("The cloud started a backup for it")
    NOT_STARTED = "not_started", _("The cloud started nothing for it")


class Outcome(TextChoices):
    """Result of a run's request (POST)."""

    NONE = "", _("No answer yet")
    ACCEPTED = "accepted", _("Accepted by the cloud")
    INVALID_REQUEST = "invalid_request", _("Invalid request")
    UNAUTHENTICATED = "unauthenticated", _("Sign-in to the cloud failed")
    FORBIDDEN = "forbidden", _("Not permitted")
    NOT_FOUND = "not_found", _("Cluster not found")
    CONFLICT = "conflict", _("Conflict")
    PRECONDITION_FAILED = "precondition_failed", _("Precondition failed")
    THROTTLED = "throttled", _("Too many requests")
    SERVER_ERROR = "server_error", _("Cloud error")
    UNREACHABLE = "unreachable", _("Cloud unreachable")
    UNANSWERED = "unanswered", _("No answer")
    MALFORMED = "malformed", _("Unusable answer")


class Evidence(TextChoices):
    """How certain it is that a job belongs to a run; rules/matching.py decides."""

    NONE = "", _("None")
    PROVEN = "proven", _("Proven")
    INFERRED = "inferred", _("Inferred")


class Trigger(TextChoices):
    """What requested a run."""

    BUTTON = "button", _("Button")
    BULK = "bulk", _("Bulk")
    SCHEDULE = "schedule", _("Schedule")  # needs no reason
    API = "api", _("API")
    CLI = "cli", _("Command line")
    CLOUD = "cloud", _("The cloud's own")


class Readiness(TextChoices):
    """Expected result of a request for a log backup."""

    READY = "ready", _("Ready")
    BACKUP_OFF = "backup_off", _("Log backup is off")
    STORAGE_MISSING = "storage_missing", _("Bucket or agency missing")
    BUSY = "busy", _("Busy")
    UNAVAILABLE = "unavailable", _("Not available")
    UNKNOWN = "unknown", _("Not known")


class Protection(TextChoices):
    """Age of the last verified backup, compared with the cluster's objective."""

    PROTECTED = "protected", _("Protected")
    DUE = "due", _("Due")
    OVERDUE = "overdue", _("Overdue")
    NEVER = "never", _("Never backed up")


class AttentionCause(TextChoices):
    """Why a cluster needs attention; `rules.causes` derives it.

    Stored with what somebody handled, so the codes stay. The first three are those of `Readiness`.
    """

    BACKUP_OFF = "backup_off", _("Log backup is off")
    STORAGE_MISSING = "storage_missing", _("Bucket or agency missing")
    UNAVAILABLE = "unavailable", _("Not available")
    # by the last run with a result
    BUCKET_REFUSED = "bucket_refused", _("The bucket refused the write")
    JOB_FAILED = "job_failed", _("The cloud's backup job failed")
    CONFLICT_SCHEDULE = "conflict_schedule", _("Conflict with the cloud's own schedule")
    CONFLICT = "conflict", _("Conflict with another operation")
    PRECONDITION_FAILED = "precondition_failed", _("Not set up for log backup")
    FORBIDDEN = "forbidden", _("Not permitted in the cloud")
    UNAUTHENTICATED = "unauthenticated", _("Sign-in to the cloud failed")
    NOT_FOUND = "not_found", _("Cluster not found in the cloud")
    INVALID_REQUEST = "invalid_request", _("Rejected as invalid")
    THROTTLED = "throttled", _("The cloud received too many requests")
    SERVER_ERROR = "server_error", _("Error of the cloud")
    UNREACHABLE = "unreachable", _("Cloud unreachable")
    MALFORMED = "malformed", _("Unusable answer")
    OUTCOME_UNKNOWN = "outcome_unknown", _("Outcome unknown")
    UNVERIFIED = "unverified", _("Accepted, not verified")
    NOT_STARTED = "not_started", _("Not started")
    # without a failure
    OVERDUE = "overdue", _("Overdue without a failure")
    NEVER = "never", _("Never backed up, no failure")


class SyncStep(TextChoices):
    """Current step of a connection's synchronisation."""

    NONE = "", _("Nothing")
    WAITING = "waiting", _("Waiting for a worker")
    SIGNING_IN = "signing_in", _("Signing in")
    LISTING = "listing", _("Listing clusters")
    STORING = "storing", _("Storing")


class ConnectionFault(TextChoices):
    """Why a connection failed; the guide explains each."""

    NONE = "", _("No fault")
    CONFIGURATION = "configuration", _("Invalid entry in clouds.yaml")
    REFUSED = "refused", _("Sign-in rejected")
    SECOND_FACTOR = "second_factor", _("Second factor required")
    ADDRESS = "address", _("No identity service at the address")
    CATALOG = "catalog", _("Missing from the catalog")
    DNS = "dns", _("Host name not found")
    TLS = "tls", _("TLS connection failed")
    PROXY = "proxy", _("Blocked by a proxy")
    UNREACHABLE = "unreachable", _("Unreachable")
    UNANSWERED = "unanswered", _("No answer")
    FORBIDDEN = "forbidden", _("Not permitted")
    NOT_FOUND = "not_found", _("Nothing at that address")
    THROTTLED = "throttled", _("Too many requests")
    SERVER_ERROR = "server_error", _("Cloud error")
    MALFORMED = "malformed", _("Unusable answer")
    INTERNAL = "internal", _("Dashboard error")


class Work(TextChoices):
    """What a batch does with its clusters."""

    BACKUP = "backup", _("Back up")
    CHECK = "check", _("Check now")
    SETTINGS = "settings", _("Change log backup")
    LABEL = "label", _("Label")
    OBJECTIVE = "objective", _("Set the objective")
    ARCHIVE = "archive", _("Archive")


class ScheduledWork(TextChoices):
    """What a schedule does when it fires."""

    BACKUP = "backup", _("Back up")
    REPORT = "report", _("Send the report")


class WhenNotReady(TextChoices):
    """What a schedule does with clusters that are not ready."""

    SKIP = "skip", _("Skip them, and say so")
    WAIT = "wait", _("Wait until they are free")
    ANYWAY = "anyway", _("Request them anyway")


class CatchUp(TextChoices):
    """What a schedule does about slots at which no worker was running."""

    ONE = "one", _("Fire once for all of them")
    NONE = "none", _("Nothing: wait for the next slot")


class FiringResult(TextChoices):
    """What became of a slot of a schedule."""

    FIRED = "fired", _("Fired")
    CAUGHT_UP = "caught_up", _("Caught up")
    SKIPPED = "skipped", _("Skipped")
    FAILED = "failed", _("Failed")


class ItemState(TextChoices):
    """State of a cluster in a batch; its run has the state of a started one."""

    WAITING = "waiting", _("Waiting")
    STARTED = "started", _("Started")
    WORKING = "working", _("In progress")  # the cloud is asked to change its settings
    DONE = "done", _("Done")  # other work than a backup
    FAILED = "failed", _("Failed")
    SKIPPED = "skipped", _("Skipped")
    CANCELLED = "cancelled", _("Cancelled")


class Cause(TextChoices):
    """Why a cluster of a batch was skipped, or what became of it instead of a run of its own.

    The values of the first four are those of `Readiness`.
    """

    NONE = "", _("Ready")
    BACKUP_OFF = "backup_off", _("Log backup is off")
    STORAGE_MISSING = "storage_missing", _("Bucket or agency missing")
    BUSY = "busy", _("Busy")
    UNAVAILABLE = "unavailable", _("Not available")
    RUNNING = "running", _("Already being backed up")
    GONE = "gone", _("Gone from the cloud")
    ARCHIVED = "archived", _("Archived")
    DISCONNECTED = "disconnected", _("Cloud disconnected")
    NOT_PERMITTED = "not_permitted", _("Not permitted")
    JOINED = "joined", _("Backed up by another request")
    IMPOSSIBLE = "impossible", _("Not possible")
    STOPPED = "stopped", _("Stopped after failures")


# A request for such a cluster can be sent anyway: the cloud decides, or it joins the active run.
PASSABLE = frozenset(
    {Cause.BACKUP_OFF, Cause.STORAGE_MISSING, Cause.BUSY, Cause.UNAVAILABLE, Cause.RUNNING}
)

# Such a cluster may be free in a few minutes.
PASSING = frozenset({Cause.BUSY, Cause.RUNNING})


class NoticeKind(TextChoices):
    """What a notification is about. A rule subscribes to those of RULE_KINDS."""

    RUN_FAILED = "run_failed", _("Log backup failed")
    RUN_REJECTED = "run_rejected", _("Log backup rejected")
    RUN_UNKNOWN = "run_unknown", _("Outcome unknown")
    PROTECTION_OVERDUE = "protection_overdue", _("Protection overdue")
    PROTECTION_RECOVERED = "protection_recovered", _("Protection recovered")
    SCHEDULE_SKIPPED = "schedule_skipped", _("Schedule skipped")
    SCHEDULE_STOPPED = "schedule_stopped", _("Schedule stopped")
    BATCH_ENDED = "batch_ended", _("Batch ended")
    WORK_STALLED = "work_stalled", _("Work does not flow")
    WORK_RECOVERED = "work_recovered", _("Work flows again")
    AUDIT_BROKEN = "audit_broken", _("Audit trail or its guards broken")
    REPORT = "report", _("Report")
    TEST = "test", _("Test")
    PING = "ping", _("Ping")


# A report, a test and a ping go to the one channel or address that they are made for.
RULE_KINDS: tuple[NoticeKind, ...] = tuple(
    kind for kind in NoticeKind if kind not in (NoticeKind.REPORT, NoticeKind.TEST, NoticeKind.PING)
)


class ChannelKind(TextChoices):
    """How a channel sends."""

    APPRISE = "apprise", _("Apprise: mail, Slack, Teams and others")
    WEBHOOK = "webhook", _("Signed webhook")


class DeliveryState(TextChoices):
    """State of a message to a channel."""

    WAITING = "waiting", _("Waiting")
    SENDING = "sending", _("Sending")
    SENT = "sent", _("Sent")
    FAILED = "failed", _("Given up")
    CANCELLED = "cancelled", _("Cancelled")
