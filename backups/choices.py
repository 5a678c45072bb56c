"""The product's vocabulary: run states, outcomes, triggers. One word for one thing, everywhere."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class RunState(TextChoices):
    """Where a run stands. The arrows are in ALLOWED; docs/run-states.md draws them."""

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

_S = RunState
ALLOWED: dict[RunState, frozenset[RunState]] = {
    _S.QUEUED: frozenset({_S.SENDING, _S.CANCELLED}),
    # QUEUED again: nothing was sent, or the cloud said "later". UNKNOWN: it may have arrived.
    _S.SENDING: frozenset({_S.ACCEPTED, _S.REJECTED, _S.QUEUED, _S.UNKNOWN}),
    _S.ACCEPTED: frozenset({_S.SUCCEEDED, _S.FAILED, _S.UNVERIFIED}),
    # REJECTED and ACCEPTED: the sender's answer came after the sweeper had taken the run over.
    _S.UNKNOWN: frozenset({_S.ACCEPTED, _S.REJECTED, _S.SUCCEEDED, _S.FAILED, _S.NOT_STARTED}),
    **{state: frozenset() for state in TERMINAL},
}


class Outcome(TextChoices):
    """What the request came to: the answer to the POST, in one word."""

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


class Trigger(TextChoices):
    """What caused a run."""

    BUTTON = "button", _("Button")
    BULK = "bulk", _("Bulk")
    SCHEDULE = "schedule", _("Schedule")
    API = "api", _("API")
    CLI = "cli", _("Command line")
    CLOUD = "cloud", _("The cloud's own")
