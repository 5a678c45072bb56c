"""Explanations of outcomes, states, readiness and connection faults."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from backups.choices import ConnectionFault, Outcome, Readiness, RunState

from .codes import CODES, code_family
from .explanation import ActionBy, Explanation

OUTCOMES: dict[Outcome, Explanation] = {
    Outcome.NONE: Explanation(
        _("The request has not been sent yet."), ActionBy.WAIT, _("Wait for the response."), False
    ),
    Outcome.ACCEPTED: Explanation(
        _("The cloud accepted the request. Its backup job has not ended yet."),
        ActionBy.WAIT,
        _("Wait until the cloud's record shows the result."),
        False,
    ),
    Outcome.INVALID_REQUEST: Explanation(
        _("The cloud rejected the request as invalid for this cluster."),
        ActionBy.OPERATOR,
        _("Read the cloud's message, check the cluster's log backup settings, then back up again."),
        False,
    ),
    Outcome.UNAUTHENTICATED: Explanation(
        _("The cloud rejected the dashboard's sign-in, even with a new token. No backup started."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check the credentials of this cloud in clouds.yaml. The user may be locked or expired."),
        False,
    ),
    Outcome.FORBIDDEN: Explanation(
        _("The dashboard's cloud user has no permission to back up this cluster's logs."),
        ActionBy.IAM_ADMIN,
        _("Grant the user the role CSS Administrator, or css:log:backup, in this project."),
        False,
    ),
    Outcome.NOT_FOUND: Explanation(
        _("The cluster is not in this project, or the dashboard's cloud user cannot see it."),
        ActionBy.OPERATOR,
        _("Synchronise the clusters. If the console still shows it, check project and region."),
        False,
    ),
    Outcome.CONFLICT: Explanation(
        _("Another operation is running on the cluster, so the cloud rejected this one."),
        ActionBy.WAIT,
        _("Wait until it ends, then back up again."),
        True,
    ),
    Outcome.PRECONDITION_FAILED: Explanation(
        _("The cluster is not set up for log backup. Usually log backup is off."),
        ActionBy.OPERATOR,
        _("Enable log backup for the cluster (bucket, path, agency), then back up again."),
        False,
    ),
    Outcome.THROTTLED: Explanation(
        _("The cloud's gateway received too many requests and rejected this one."),
        ActionBy.WAIT,
        _("The dashboard retries automatically while attempts remain. After that, back up again."),
        True,
    ),
    Outcome.SERVER_ERROR: Explanation(
        _("The cloud failed to handle the request. A backup may have started."),
        ActionBy.PROVIDER,
        _("The dashboard checks the cloud's records. If it repeats, send support the request id."),
        True,
    ),
    Outcome.UNREACHABLE: Explanation(
        _("The cloud could not be reached. Nothing was sent, so no backup started."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check network, DNS, proxy and certificates between this server and the cloud."),
        True,
    ),
    Outcome.UNANSWERED: Explanation(
        _("The request was sent, but no response came. A backup may have started."),
        ActionBy.WAIT,
        _("Wait. The dashboard checks the cloud's records before it sends anything again."),
        False,
    ),
    Outcome.MALFORMED: Explanation(
        _("The response is not one of this API. A proxy or a wrong address may be the cause."),
        ActionBy.DASHBOARD_ADMIN,
        _("Read the raw response on this page. Check the endpoint and any proxy."),
        False,
    ),
}


def explain(outcome: Outcome, error_code: str = "") -> Explanation:
    """Explain an outcome, by the error code where it is known.

    Args:
        outcome: result of the request.
        error_code: the cloud's code, "" for none.
    """
    entry = CODES.get(code_family(error_code)) if error_code else None
    if entry is not None and entry.outcome is outcome:
        return Explanation(entry.meaning, entry.actor, entry.next_step, entry.retryable)
    return OUTCOMES[outcome]


# States that say more than the outcome.
_STATES: dict[RunState, Explanation] = {
    RunState.QUEUED: Explanation(
        _("The request is queued. Nothing has been sent to the cloud."),
        ActionBy.WAIT,
        _("Wait. You can cancel it until it is sent."),
        False,
    ),
    RunState.SENDING: Explanation(
        _("A worker is sending the request."), ActionBy.WAIT, _("Wait for the response."), False
    ),
    RunState.UNKNOWN: Explanation(
        _("Outcome unknown: a backup may have started. The cloud's records are being checked."),
        ActionBy.WAIT,
        _("Wait. No second request is sent until this is settled."),
        False,
    ),
    RunState.SUCCEEDED: Explanation(
        _("Verified: the cloud's record shows that the log backup succeeded."),
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
        _("The cloud accepted the request, but its records do not prove a backup."),
        ActionBy.OPERATOR,
        _("Check the bucket or the cloud console. If in doubt, back up again."),
        True,
    ),
    RunState.NOT_STARTED: Explanation(
        _("No usable response came, and the cloud's records show that no backup started."),
        ActionBy.OPERATOR,
        _("Back up again."),
        True,
    ),
    RunState.CANCELLED: Explanation(
        _("Cancelled before anything was sent to the cloud."),
        ActionBy.NOBODY,
        _("Back up again when needed."),
        True,
    ),
}

# Jobs that were not requested here, imported from the cloud's records.
IMPORTED: dict[RunState, Explanation] = {
    RunState.SUCCEEDED: Explanation(
        _("Verified: the cloud's record shows that a log backup not requested here succeeded."),
        ActionBy.NOBODY,
        _("Nothing to do."),
        False,
    ),
    RunState.FAILED: Explanation(
        _("The cloud's record shows that a log backup not requested here failed."),
        ActionBy.OPERATOR,
        _("Read the cloud's reason, check bucket and agency, then back up."),
        True,
    ),
}

# Settled by a user, because the cloud's records stayed unreadable.
BY_HAND: dict[RunState, Explanation] = {
    RunState.UNVERIFIED: Explanation(
        _("Settled by hand: a user found that the cloud started a backup. No record proves it."),
        ActionBy.OPERATOR,
        _("Check the bucket or the cloud console. If in doubt, back up again."),
        True,
    ),
    RunState.NOT_STARTED: Explanation(
        _("Settled by hand: a user found that no backup started. No record proves it."),
        ActionBy.OPERATOR,
        _("Back up again once the cloud's records can be read."),
        True,
    ),
}

# No response accepted the request, and several jobs in the records may be this run's.
AMBIGUOUS = Explanation(
    _("No usable response came. One of the jobs in the cloud's records may be this run's."),
    ActionBy.OPERATOR,
    _("Check the bucket or the cloud console. If in doubt, back up again."),
    True,
)

# After an attempt; the timeline has its result.
CANCELLED_LATER = Explanation(
    _("Cancelled while waiting for a retry. The cloud had not accepted the last attempt."),
    ActionBy.NOBODY,
    _("Back up again when needed."),
    True,
)

# A temporary rejection of a run that has ended, so nothing is retried.
_TURNED_AWAY: dict[Outcome, Explanation] = {
    Outcome.SERVER_ERROR: Explanation(
        _("The cloud was unavailable and rejected every attempt."),
        ActionBy.WAIT,
        _("Back up again later. If it persists, check the cloud's status page."),
        True,
    ),
    Outcome.THROTTLED: Explanation(
        _("The cloud received too many requests and rejected every attempt."),
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
    """Explain a run in its current state.

    Args:
        state: state of the run.
        outcome: result of its request.
        error_code: the cloud's code, "" for none.
        imported: the run is a cloud job that was not requested here.
        by_hand: a user settled it.
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
        _("The cluster is available and set up. The cloud should accept a request."),
        ActionBy.NOBODY,
        _("Back up when needed."),
        True,
    ),
    Readiness.BACKUP_OFF: Explanation(
        _("Log backup is off for the cluster, so the cloud rejects a request."),
        ActionBy.OPERATOR,
        _("Enable log backup (bucket, path, agency), then back up."),
        False,
    ),
    Readiness.STORAGE_MISSING: Explanation(
        _("Log backup is on, but the bucket or agency is missing or cannot be used."),
        ActionBy.OPERATOR,
        _("Correct bucket and agency in the log backup settings. The agency needs OBS access."),
        False,
    ),
    Readiness.BUSY: Explanation(
        _("Another operation is running on the cluster, so the cloud rejects a request for now."),
        ActionBy.WAIT,
        _("Wait until it ends, or back up with “wait and retry when free”."),
        True,
    ),
    Readiness.UNAVAILABLE: Explanation(
        _("The cluster is not available, so nothing can be backed up."),
        ActionBy.OPERATOR,
        _("Check the cluster in the cloud console."),
        False,
    ),
    Readiness.UNKNOWN: Explanation(
        _("It is unknown whether the cloud would accept a request."),
        ActionBy.DASHBOARD_ADMIN,
        _("Fix what the check reports. You can back up anyway."),
        True,
    ),
}


# --- connections ----------------------------------------------------------------------------------

CONNECTION_FAULTS: dict[ConnectionFault, Explanation] = {
    ConnectionFault.CONFIGURATION: Explanation(
        _("The entry in clouds.yaml is not usable. Nothing was sent."),
        ActionBy.DASHBOARD_ADMIN,
        _("Correct clouds.yaml or secure.yaml on the server. Changes are picked up automatically."),
        False,
    ),
    ConnectionFault.REFUSED: Explanation(
        _("The identity service rejected the entry's credentials."),
        ActionBy.DASHBOARD_ADMIN,
        _(
            "Check user and password (or access key, or application credential), domain and "
            "project of the entry. The account may be locked or expired. Rejected credentials are "
            "not sent again for up to five minutes, unless clouds.yaml changes."
        ),
        False,
    ),
    ConnectionFault.SECOND_FACTOR: Explanation(
        _("The account requires a second factor, which a server cannot provide."),
        ActionBy.DASHBOARD_ADMIN,
        _(
            "Use a user without a second factor. Or, on Open Telekom Cloud and Huawei Cloud, an "
            "access key or an agency; elsewhere an application credential."
        ),
        False,
    ),
    ConnectionFault.ADDRESS: Explanation(
        _("auth_url responds, but not as an identity service (API v3)."),
        ActionBy.DASHBOARD_ADMIN,
        _("Correct the entry's auth_url, for example https://iam.REGION.otc.t-systems.com/v3."),
        False,
    ),
    ConnectionFault.CATALOG: Explanation(
        _("Sign-in succeeded, but there is no Cloud Search Service endpoint in this region."),
        ActionBy.DASHBOARD_ADMIN,
        _(
            "Check region_name, interface and project of the entry. If the catalog has no css, set "
            "css_endpoint_override."
        ),
        False,
    ),
    ConnectionFault.DNS: Explanation(
        _("This server cannot resolve the cloud's host name."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check the address in the entry, and DNS on this server."),
        True,
    ),
    ConnectionFault.TLS: Explanation(
        _("The TLS connection to the cloud failed. Its certificate may not be trusted."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check address and port, the entry's cacert, and proxies that intercept TLS."),
        True,
    ),
    ConnectionFault.PROXY: Explanation(
        _("The proxy between this server and the cloud blocked the request."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check HTTPS_PROXY and NO_PROXY on the server, and the proxy's rules."),
        True,
    ),
    ConnectionFault.UNREACHABLE: Explanation(
        _("No connection to the cloud's host. Nothing was sent."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check address and port, and network and firewalls between this server and the cloud."),
        True,
    ),
    ConnectionFault.UNANSWERED: Explanation(
        _("The cloud did not send a complete response in time."),
        ActionBy.WAIT,
        _("The dashboard retries automatically. If it persists, check the cloud's status page."),
        True,
    ),
    ConnectionFault.FORBIDDEN: Explanation(
        _("Sign-in succeeded, but the entry's user lacks permission in the project."),
        ActionBy.IAM_ADMIN,
        _(
            "Grant the user css:cluster:list and css:cluster:get in this project, or the role CSS "
            "Administrator with Tenant Guest, Server Administrator and IAM ReadOnlyAccess."
        ),
        False,
    ),
    ConnectionFault.NOT_FOUND: Explanation(
        _("The service reports that the address does not exist."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check the entry's project and css_endpoint_override. If neither is wrong, ask support."),
        False,
    ),
    ConnectionFault.THROTTLED: Explanation(
        _("The cloud received too many requests and rejected this one."),
        ActionBy.WAIT,
        _("The dashboard retries automatically. Increase SYNC_INTERVAL to send fewer requests."),
        True,
    ),
    ConnectionFault.SERVER_ERROR: Explanation(
        _("The cloud responded with an internal error."),
        ActionBy.PROVIDER,
        _("The dashboard retries automatically. If it persists, send this response to support."),
        True,
    ),
    ConnectionFault.MALFORMED: Explanation(
        _("The response is not one of this service. A proxy or login page may be the cause."),
        ActionBy.DASHBOARD_ADMIN,
        _("Check the address and any proxy between this server and the cloud."),
        True,
    ),
    ConnectionFault.INTERNAL: Explanation(
        _("The cloud's list was read but could not be stored. The clusters are unchanged."),
        ActionBy.DASHBOARD_ADMIN,
        _("Read the worker's log for this time. The dashboard retries automatically."),
        True,
    ),
}

# Not a fault of a sync: only the profile of the entry names this region.
REGION_ASIDE = Explanation(
    _("Only the entry's profile names this region, and the account was not found there."),
    ActionBy.NOBODY,
    _("Nothing to do. To use the region, name it in region_name of the entry."),
    False,
)

# Not a fault of a sync: the file no longer has an entry that is still connected.
ENTRY_LEFT = Explanation(
    _("clouds.yaml no longer has this entry, so its clusters cannot be reached."),
    ActionBy.DASHBOARD_ADMIN,
    _("Add it to clouds.yaml again, or disconnect it to mark its clusters as gone."),
    False,
)
