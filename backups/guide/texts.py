"""Explanations of outcomes, states, readiness and connection faults."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from backups.choices import ConnectionFault, Outcome, Readiness, RunState

from .codes import CODES, code_family
from .explanation import ActionBy, Explanation

OUTCOMES: dict[Outcome, Explanation] = {
    Outcome.NONE: Explanation(
        _("The cloud has not been asked yet."), ActionBy.WAIT, _("Wait for the answer."), False
    ),
    Outcome.ACCEPTED: Explanation(
        _("The cloud accepted the request. That is not a backup yet: its own job decides."),
        ActionBy.WAIT,
        _("Wait until the cloud's record shows how the job ended."),
        False,
    ),
    Outcome.INVALID_REQUEST: Explanation(
        _("The cloud refused the request as invalid for this cluster."),
        ActionBy.OPERATOR,
        _("Read the cloud's message, check the cluster's log backup settings, then try again."),
        False,
    ),
    Outcome.UNAUTHENTICATED: Explanation(
        _("The cloud did not accept our sign-in, even with a new token. Nothing was started."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check the credentials of this cloud in clouds.yaml; the user may be locked or expired."),
        False,
    ),
    Outcome.FORBIDDEN: Explanation(
        _("The dashboard's cloud user may not back up the logs of this cluster."),
        ActionBy.IAM_ADMIN,
        _("Grant the user the CSS administrator role (css:*:*) in this project."),
        False,
    ),
    Outcome.NOT_FOUND: Explanation(
        _("The cloud knows no such cluster in this project, or hides it from our user."),
        ActionBy.OPERATOR,
        _("Synchronise the clusters; if it still exists in the console, check project and region."),
        False,
    ),
    Outcome.CONFLICT: Explanation(
        _("Another operation holds the cluster, so the cloud refused a second one."),
        ActionBy.WAIT,
        _("Wait until it has ended, then back up again."),
        True,
    ),
    Outcome.PRECONDITION_FAILED: Explanation(
        _("The cluster is not set up for log backup: most often log backup is switched off."),
        ActionBy.OPERATOR,
        _("Enable log backup for the cluster (bucket, path, agency), then back up again."),
        False,
    ),
    Outcome.THROTTLED: Explanation(
        _("The cloud's gateway received too many requests and turned this one away."),
        ActionBy.WAIT,
        _("It is tried again by itself while attempts remain; later, back up again."),
        True,
    ),
    Outcome.SERVER_ERROR: Explanation(
        _("The cloud failed while handling the request; it may or may not have started a backup."),
        ActionBy.PROVIDER,
        _("The cloud's records are read to find out. If it repeats, give support the request id."),
        True,
    ),
    Outcome.UNREACHABLE: Explanation(
        _("The cloud could not be reached. Nothing was sent, so no backup was started."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check network, DNS, proxy and certificates between this server and the cloud."),
        True,
    ),
    Outcome.UNANSWERED: Explanation(
        _("The request left, but no answer came. The cloud may have taken it."),
        ActionBy.WAIT,
        _("The cloud's records are read to find out; the request is never sent twice blindly."),
        False,
    ),
    Outcome.MALFORMED: Explanation(
        _("The answer is none that this API gives; a proxy or a wrong address may stand between."),
        ActionBy.DASHBOARD_ADMIN,
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
        ActionBy.WAIT,
        _("Wait; until it is sent it can be cancelled."),
        False,
    ),
    RunState.SENDING: Explanation(
        _("A worker is asking the cloud now."), ActionBy.WAIT, _("Wait for the answer."), False
    ),
    RunState.UNKNOWN: Explanation(
        _("Outcome unknown: the cloud may have taken the request; its records are being checked."),
        ActionBy.WAIT,
        _("Wait. No second request is sent while this is open."),
        False,
    ),
    RunState.SUCCEEDED: Explanation(
        _("Verified: the cloud's own record says that the log backup ended well."),
        ActionBy.NOBODY,
        _("Nothing to do."),
        False,
    ),
    RunState.FAILED: Explanation(
        _("The cloud accepted the request, but its backup job failed."),
        ActionBy.OPERATOR,
        _("Read the cloud's reason, check bucket and agency, then back up again."),
        True,
    ),
    RunState.UNVERIFIED: Explanation(
        _("The cloud accepted the request, but its records never proved a backup."),
        ActionBy.OPERATOR,
        _("Look into the bucket or the console, and back up again if in doubt."),
        True,
    ),
    RunState.NOT_STARTED: Explanation(
        _("No usable answer came, and the cloud's records show that no backup was started."),
        ActionBy.OPERATOR,
        _("Back up again."),
        True,
    ),
    RunState.CANCELLED: Explanation(
        _("Cancelled before anything was sent to the cloud."),
        ActionBy.NOBODY,
        _("Back up again when wanted."),
        True,
    ),
}

# A job that this product did not cause, imported from the cloud's records.
IMPORTED: dict[RunState, Explanation] = {
    RunState.SUCCEEDED: Explanation(
        _("Verified: by the cloud's record, a log backup that was not requested here ended well."),
        ActionBy.NOBODY,
        _("Nothing to do."),
        False,
    ),
    RunState.FAILED: Explanation(
        _("By the cloud's record, a log backup that was not requested here has failed."),
        ActionBy.OPERATOR,
        _("Read the cloud's reason, check bucket and agency, then back up."),
        True,
    ),
}

# Somebody's word ended it, since the cloud's records stayed unreadable.
BY_HAND: dict[RunState, Explanation] = {
    RunState.UNVERIFIED: Explanation(
        _("Settled by hand: somebody found that the cloud started a backup; no record proves it."),
        ActionBy.OPERATOR,
        _("Look into the bucket or the console, and back up again if in doubt."),
        True,
    ),
    RunState.NOT_STARTED: Explanation(
        _("Settled by hand: somebody found that the cloud started nothing; no record proves it."),
        ActionBy.OPERATOR,
        _("Back up again, once the cloud's records can be read."),
        True,
    ),
}

# Nobody accepted the request, and the records do not tell whether a job of theirs is its own.
AMBIGUOUS = Explanation(
    _("No usable answer came, and the cloud's records show jobs of which one may be this run's."),
    ActionBy.OPERATOR,
    _("Look into the bucket or the console, and back up again if in doubt."),
    True,
)

# An attempt had been made: what it came to is in the timeline.
CANCELLED_LATER = Explanation(
    _("Cancelled while it waited to be tried again; its last attempt had not been taken."),
    ActionBy.NOBODY,
    _("Back up again when wanted."),
    True,
)

# A refusal that passes by itself; once the run is over, nothing is tried again by itself.
_TURNED_AWAY: dict[Outcome, Explanation] = {
    Outcome.SERVER_ERROR: Explanation(
        _("The cloud said that it is not available and turned the request away each time."),
        ActionBy.WAIT,
        _("Back up again later; if it lasts, look at the cloud's status page."),
        True,
    ),
    Outcome.THROTTLED: Explanation(
        _("The cloud had too many requests and turned this one away each time."),
        ActionBy.WAIT,
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


# --- readiness ------------------------------------------------------------------------------------

READINESS: dict[Readiness, Explanation] = {
    Readiness.READY: Explanation(
        _("The cluster is available and set up: the cloud should accept a request."),
        ActionBy.NOBODY,
        _("Back up when wanted."),
        True,
    ),
    Readiness.BACKUP_OFF: Explanation(
        _("Log backup is switched off for the cluster, so the cloud refuses a request."),
        ActionBy.OPERATOR,
        _("Enable log backup (bucket, path, agency), then back up."),
        False,
    ),
    Readiness.STORAGE_MISSING: Explanation(
        _("Log backup is on, but the bucket or the agency is missing or cannot be used."),
        ActionBy.OPERATOR,
        _("Correct bucket and agency in the log backup settings; the agency needs OBS rights."),
        False,
    ),
    Readiness.BUSY: Explanation(
        _("Something else is under way on the cluster, so the cloud refuses a request for now."),
        ActionBy.WAIT,
        _("Wait until it has ended, or back up with “wait and retry when free”."),
        True,
    ),
    Readiness.UNAVAILABLE: Explanation(
        _("The cluster is not available in the cloud, so nothing can be backed up."),
        ActionBy.OPERATOR,
        _("Look at the cluster in the cloud's console."),
        False,
    ),
    Readiness.UNKNOWN: Explanation(
        _("Whether a request would be accepted is not known."),
        ActionBy.DASHBOARD_ADMIN,
        _("Mend what the check names; backing up anyway stays possible."),
        True,
    ),
}


# --- connections ----------------------------------------------------------------------------------

CONNECTION_FAULTS: dict[ConnectionFault, Explanation] = {
    ConnectionFault.CONFIGURATION: Explanation(
        _("The entry in clouds.yaml cannot be used as it is, so nothing was sent."),
        ActionBy.DASHBOARD_ADMIN,
        _("Correct clouds.yaml or secure.yaml on the server; it is read again by itself."),
        False,
    ),
    ConnectionFault.REFUSED: Explanation(
        _("The identity service refused the credentials of the entry."),
        ActionBy.DASHBOARD_ADMIN,
        _(
            "Check user, password or application credential, domain and project of the entry; the "
            "account may be locked or expired. Refused credentials are not sent again for up to "
            "five minutes; after a change of clouds.yaml at once."
        ),
        False,
    ),
    ConnectionFault.SECOND_FACTOR: Explanation(
        _("The account needs a second factor to sign in, which a server cannot give."),
        ActionBy.DASHBOARD_ADMIN,
        _("Use an application credential, or a user without a second factor."),
        False,
    ),
    ConnectionFault.ADDRESS: Explanation(
        _("Something answers at auth_url, but not as an identity service (API v3)."),
        ActionBy.DASHBOARD_ADMIN,
        _("Correct auth_url of the entry: https://iam.REGION.otc.t-systems.com/v3, for example."),
        False,
    ),
    ConnectionFault.CATALOG: Explanation(
        _("The sign-in went well, but it leads to no Cloud Search Service in this region."),
        ActionBy.DASHBOARD_ADMIN,
        _(
            "Check region_name, interface and project of the entry. Where the catalog has no css, "
            "set css_endpoint_override."
        ),
        False,
    ),
    ConnectionFault.DNS: Explanation(
        _("The name of the cloud's host cannot be resolved on this server."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check the spelling of the address in the entry, and DNS on this server."),
        True,
    ),
    ConnectionFault.TLS: Explanation(
        _("No secure connection to the cloud could be made; its certificate may not be trusted."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check the address and its port, cacert of the entry, and proxies that open TLS."),
        True,
    ),
    ConnectionFault.PROXY: Explanation(
        _("The proxy between this server and the cloud did not let the request through."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check HTTPS_PROXY and NO_PROXY of the server, and the proxy's own rules."),
        True,
    ),
    ConnectionFault.UNREACHABLE: Explanation(
        _("No connection to the cloud's host could be made; nothing was sent."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check the address and its port, and network and firewalls from here to the cloud."),
        True,
    ),
    ConnectionFault.UNANSWERED: Explanation(
        _("The cloud was reached, but gave no whole answer in time."),
        ActionBy.WAIT,
        _("It is tried again by itself; if it lasts, look at the cloud's status page."),
        True,
    ),
    ConnectionFault.FORBIDDEN: Explanation(
        _("Signed in, but the entry's user may not do this in the project."),
        ActionBy.IAM_ADMIN,
        _("Grant the user a role with css:cluster:list and css:cluster:get in this project."),
        False,
    ),
    ConnectionFault.NOT_FOUND: Explanation(
        _("The service says that there is nothing at the address it was asked at."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check project and css_endpoint_override of the entry; without one, ask the provider."),
        False,
    ),
    ConnectionFault.THROTTLED: Explanation(
        _("The cloud received too many requests and turned this one away."),
        ActionBy.WAIT,
        _("It is tried again by itself; a longer SYNC_INTERVAL asks the cloud less often."),
        True,
    ),
    ConnectionFault.SERVER_ERROR: Explanation(
        _("The cloud answered with an error of its own."),
        ActionBy.PROVIDER,
        _("It is tried again by itself. If it repeats, give the cloud's support this answer."),
        True,
    ),
    ConnectionFault.MALFORMED: Explanation(
        _("The answer is none that this service gives; a proxy or a login page may stand between."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check the address, and any proxy between this server and the cloud."),
        True,
    ),
    ConnectionFault.INTERNAL: Explanation(
        _("The cloud's list was read, but could not be stored. The clusters are as they were."),
        ActionBy.DASHBOARD_ADMIN,
        _("Read the worker's log at this time; it is tried again by itself."),
        True,
    ),
}

# Not a fault of a sync: the file no longer names what is still connected.
ENTRY_LEFT = Explanation(
    _("clouds.yaml no longer has this entry, so its clusters cannot be reached."),
    ActionBy.DASHBOARD_ADMIN,
    _("Put it back into clouds.yaml, or disconnect it: its clusters are then marked as gone."),
    False,
)
