"""Outcomes and states in words."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from backups.choices import Outcome, RunState

from .codes import CODES, code_family
from .explanation import Actor, Explanation

OUTCOMES: dict[Outcome, Explanation] = {
    Outcome.NONE: Explanation(
        _("The cloud has not been asked yet."), Actor.WAIT, _("Wait for the answer."), False
    ),
    Outcome.ACCEPTED: Explanation(
        _("The cloud accepted the request. That is not a backup yet: its own job decides."),
        Actor.WAIT,
        _("Wait until the cloud's record shows how the job ended."),
        False,
    ),
    Outcome.INVALID_REQUEST: Explanation(
        _("The cloud refused the request as invalid for this cluster."),
        Actor.OPERATOR,
        _("Read the cloud's message, check the cluster's log backup settings, then try again."),
        False,
    ),
    Outcome.UNAUTHENTICATED: Explanation(
        _("The cloud did not accept our sign-in, even with a new token. Nothing was started."),
        Actor.DASHBOARD_ADMIN,
        _("Check the credentials of this cloud in clouds.yaml; the user may be locked or expired."),
        False,
    ),
    Outcome.FORBIDDEN: Explanation(
        _("The dashboard's cloud user may not back up the logs of this cluster."),
        Actor.IAM_ADMIN,
        _("Grant the user the CSS administrator role (css:*:*) in this project."),
        False,
    ),
    Outcome.NOT_FOUND: Explanation(
        _("The cloud knows no such cluster in this project, or hides it from our user."),
        Actor.OPERATOR,
        _("Synchronise the clusters; if it still exists in the console, check project and region."),
        False,
    ),
    Outcome.CONFLICT: Explanation(
        _("Another operation holds the cluster, so the cloud refused a second one."),
        Actor.WAIT,
        _("Wait until it has ended, then back up again."),
        True,
    ),
    Outcome.PRECONDITION_FAILED: Explanation(
        _("The cluster is not set up for log backup: most often log backup is switched off."),
        Actor.OPERATOR,
        _("Enable log backup for the cluster (bucket, path, agency), then back up again."),
        False,
    ),
    Outcome.THROTTLED: Explanation(
        _("The cloud's gateway received too many requests and turned this one away."),
        Actor.WAIT,
        _("It is tried again by itself while attempts remain; later, back up again."),
        True,
    ),
    Outcome.SERVER_ERROR: Explanation(
        _("The cloud failed while handling the request; it may or may not have started a backup."),
        Actor.PROVIDER,
        _("The cloud's records are read to find out. If it repeats, give support the request id."),
        True,
    ),
    Outcome.UNREACHABLE: Explanation(
        _("The cloud could not be reached. Nothing was sent, so no backup was started."),
        Actor.DASHBOARD_ADMIN,
        _("Check network, DNS, proxy and certificates between this server and the cloud."),
        True,
    ),
    Outcome.UNANSWERED: Explanation(
        _("The request left, but no answer came. The cloud may have taken it."),
        Actor.WAIT,
        _("The cloud's records are read to find out; the request is never sent twice blindly."),
        False,
    ),
    Outcome.MALFORMED: Explanation(
        _("The answer is none that this API gives; a proxy or a wrong address may stand between."),
        Actor.DASHBOARD_ADMIN,
        _("Read the raw answer on this page; check the endpoint and any proxy."),
        False,
    ),
}


def explain(outcome: Outcome, error_code: str = "") -> Explanation:
    """Words for an outcome; those of the code in the answer where it is known.

    Args:
        outcome: what the request came to.
        error_code: the cloud's code, "" when there was none.
    """
    entry = CODES.get(code_family(error_code)) if error_code else None
    if entry is not None and entry.outcome is outcome:
        return Explanation(entry.meaning, entry.actor, entry.next_step, entry.retryable)
    return OUTCOMES[outcome]


# What the state adds once the outcome alone no longer tells the story.
_STATES: dict[RunState, Explanation] = {
    RunState.QUEUED: Explanation(
        _("The request is stored and waits for its turn; the cloud has started nothing for it."),
        Actor.WAIT,
        _("Wait; until it is sent it can be cancelled."),
        False,
    ),
    RunState.SENDING: Explanation(
        _("A worker is asking the cloud now."), Actor.WAIT, _("Wait for the answer."), False
    ),
    RunState.UNKNOWN: Explanation(
        _("Outcome unknown: the cloud may have taken the request; its records are being checked."),
        Actor.WAIT,
        _("Wait. No second request is sent while this is open."),
        False,
    ),
    RunState.SUCCEEDED: Explanation(
        _("Verified: the cloud's own record says that the log backup ended well."),
        Actor.NOBODY,
        _("Nothing to do."),
        False,
    ),
    RunState.FAILED: Explanation(
        _("The cloud accepted the request, but its backup job failed."),
        Actor.OPERATOR,
        _("Read the cloud's reason, check bucket and agency, then back up again."),
        True,
    ),
    RunState.UNVERIFIED: Explanation(
        _("The cloud accepted the request, but its records never proved a backup."),
        Actor.OPERATOR,
        _("Look into the bucket or the console, and back up again if in doubt."),
        True,
    ),
    RunState.NOT_STARTED: Explanation(
        _("No usable answer came, and the cloud's records show that no backup was started."),
        Actor.OPERATOR,
        _("Back up again."),
        True,
    ),
    RunState.CANCELLED: Explanation(
        _("Cancelled before anything was sent to the cloud."),
        Actor.NOBODY,
        _("Back up again when wanted."),
        True,
    ),
}

# A job that this product did not cause, imported from the cloud's records.
IMPORTED: dict[RunState, Explanation] = {
    RunState.SUCCEEDED: Explanation(
        _("Verified: by the cloud's record, a log backup that was not requested here ended well."),
        Actor.NOBODY,
        _("Nothing to do."),
        False,
    ),
    RunState.FAILED: Explanation(
        _("By the cloud's record, a log backup that was not requested here has failed."),
        Actor.OPERATOR,
        _("Read the cloud's reason, check bucket and agency, then back up."),
        True,
    ),
}

# Somebody's word ended it, since the cloud's records stayed unreadable.
BY_HAND: dict[RunState, Explanation] = {
    RunState.UNVERIFIED: Explanation(
        _("Settled by hand: somebody found that the cloud started a backup; no record proves it."),
        Actor.OPERATOR,
        _("Look into the bucket or the console, and back up again if in doubt."),
        True,
    ),
    RunState.NOT_STARTED: Explanation(
        _("Settled by hand: somebody found that the cloud started nothing; no record proves it."),
        Actor.OPERATOR,
        _("Back up again, once the cloud's records can be read."),
        True,
    ),
}

# Nobody accepted the request, and the records do not tell whether a job of theirs is its own.
AMBIGUOUS = Explanation(
    _("No usable answer came, and the cloud's records show jobs of which one may be this run's."),
    Actor.OPERATOR,
    _("Look into the bucket or the console, and back up again if in doubt."),
    True,
)

# An attempt had been made: what it came to is in the timeline.
CANCELLED_LATER = Explanation(
    _("Cancelled while it waited to be tried again; its last attempt had not been taken."),
    Actor.NOBODY,
    _("Back up again when wanted."),
    True,
)

# A refusal that passes by itself; once the run is over, nothing is tried again by itself.
_TURNED_AWAY: dict[Outcome, Explanation] = {
    Outcome.SERVER_ERROR: Explanation(
        _("The cloud said that it is not available and turned the request away each time."),
        Actor.WAIT,
        _("Back up again later; if it lasts, look at the cloud's status page."),
        True,
    ),
    Outcome.THROTTLED: Explanation(
        _("The cloud had too many requests and turned this one away each time."),
        Actor.WAIT,
        _("Back up again later."),
        True,
    ),
}


def explain_run(
    state: RunState,
    outcome: Outcome,
    error_code: str = "",
    *,
    imported: bool = False,
    by_hand: bool = False,
) -> Explanation:
    """Words for a run as it stands.

    Args:
        state: where the run stands.
        outcome: what the request came to.
        error_code: the cloud's code, "" when there was none.
        imported: it is a job of the cloud that was not requested here.
        by_hand: somebody's word ended it.
    """
    if by_hand and state in BY_HAND:
        return BY_HAND[state]
    if imported and state in IMPORTED:
        return IMPORTED[state]
    if state is RunState.CANCELLED and outcome:
        return CANCELLED_LATER
    if state is RunState.UNVERIFIED and outcome is not Outcome.ACCEPTED:
        return AMBIGUOUS
    if state is RunState.REJECTED and outcome in _TURNED_AWAY:
        return _TURNED_AWAY[outcome]
    if state in (RunState.REJECTED, RunState.ACCEPTED):
        return explain(outcome, error_code)
    return _STATES[state]
