"""Changing log backup settings in the cloud: one call for a decision, read back, audited.

The cloud is asked while the page waits: who decides sees what came of it. Its settings are read
before (has somebody changed them since the page was made?) and after (what does it have now?). A
call that stays without an answer is not sent again; the settings that are read back tell.

The decision is in the audit trail before the cloud is asked, and what came of it afterwards: a
process that dies in between leaves the first.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from backups import instance
from backups.css_api.client import CssClient
from backups.css_api.errors import ApiError, ConfigurationError, CssApiError
from backups.css_api.types import Answer, LogPolicy, LogSettingsInfo, LogStorage
from backups.models import Cluster
from backups.models import LogSettings as StoredSettings
from backups.services.cloud import INTERACTIVE, client_for
from backups.services.clusters.readiness import request_check, store_settings
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import Actor, record
from dashboard.db.concurrency import hold_and_retry

from .changing import Change, Decision, Ending, Result, as_facts, ending_of, fingerprint

# A token and three exchanges, each at its limit and each with a new token, take less.
LONGEST_CHANGE = timedelta(minutes=3)
# Seconds to hold on to an answer while the database is away; somebody waits for the page.
HOLD = 20.0

_DONE = {
    Change.ENABLE: Action.LOG_BACKUP_ENABLED,
    Change.CHANGE: Action.LOG_BACKUP_CHANGED,
    Change.DISABLE: Action.LOG_BACKUP_DISABLED,
    Change.SET_POLICY: Action.LOG_POLICY_CHANGED,
    Change.STOP_POLICY: Action.LOG_POLICY_DISABLED,
}


def read_settings(cluster: Cluster) -> StoredSettings:
    """Read a cluster's settings from the cloud and keep them.

    Raises:
        CssApiError: they cannot be read.
    """
    began = timezone.now()
    client = client_for(cluster, timeouts=INTERACTIVE)
    return store_settings(cluster, client.get_log_settings(cluster.cluster_id), began)


def decide(cluster: Cluster, decision: Decision, actor: Actor) -> Result:
    """Carry out a decision: read, compare, record, call once, read back, keep, record.

    It must not run inside a transaction: what was decided is committed before the cloud is asked.

    Args:
        cluster: whose settings.
        decision: what is wanted; it has been validated.
        actor: who decided.

    Returns:
        What came of it. Nothing but a failure of our own database is raised.
    """
    until = timezone.now() + LONGEST_CHANGE
    if not _occupy(cluster, until):
        # settings that were never read fit no form
        known = StoredSettings.objects.filter(cluster=cluster).exists()
        return Result(Ending.OCCUPIED if known else Ending.STALE)
    try:
        return _carry_out(cluster, decision, actor)
    finally:
        hold_and_retry(lambda: _leave(cluster, until), seconds=HOLD)


def _occupy(cluster: Cluster, until: datetime) -> bool:
    """Take a cluster's settings for one change.

    Without it a form that is sent twice at once would find the same settings twice, and call twice.
    """
    now = timezone.now()
    free = Q(changing_until=None) | Q(changing_until__lt=now)
    # no change takes longer: the clock has been set back since
    free |= Q(changing_until__gt=now + 2 * LONGEST_CHANGE)
    stored = StoredSettings.objects.filter(free, cluster=cluster)
    return stored.update(changing_until=until) == 1


def _leave(cluster: Cluster, until: datetime) -> None:
    mine = StoredSettings.objects.filter(cluster=cluster, changing_until=until)
    mine.update(changing_until=None)


def _carry_out(cluster: Cluster, decision: Decision, actor: Actor) -> Result:
    try:
        if why := instance.problem():
            raise ConfigurationError(why)
        client = client_for(cluster, timeouts=INTERACTIVE)
        began = timezone.now()
        before = client.get_log_settings(cluster.cluster_id)
    except CssApiError as error:
        answer = error.answer if isinstance(error, ApiError) else None
        result = Result(Ending.NOT_SENT, str(error), answer)
        hold_and_retry(lambda: _record_ending(cluster, decision, actor, result), seconds=HOLD)
        return result
    if fingerprint(before) != decision.seen:
        store_settings(cluster, before, began)
        return Result(Ending.STALE, before=before, now=before)
    requested = _record_request(cluster, decision, actor, before)
    outcome = _call(client, cluster.cluster_id, decision)
    began = timezone.now()
    now = _read_back(client, cluster.cluster_id)
    result = Result(
        ending_of(decision, outcome, now),
        _why(outcome),
        outcome if isinstance(outcome, Answer) else None,
        before,
        now,
    )

    def keep() -> None:
        if now is not None:
            store_settings(cluster, now, began)
        request_check(cluster)
        _record_ending(cluster, decision, actor, result, requested)

    hold_and_retry(keep, seconds=HOLD)
    return result


def _call(client: CssClient, cluster_id: str, decision: Decision) -> Answer | CssApiError:
    storage = decision.storage or LogStorage("", "", "")
    calls: dict[Change, Callable[[], Answer]] = {
        Change.ENABLE: lambda: client.open_logs(cluster_id, storage),
        Change.CHANGE: lambda: client.update_log_settings(cluster_id, storage),
        Change.DISABLE: lambda: client.close_logs(cluster_id),
        Change.SET_POLICY: lambda: client.update_policy(cluster_id, LogPolicy(decision.period)),
        Change.STOP_POLICY: lambda: client.close_policy(cluster_id),
    }
    try:
        return calls[decision.change]()
    except CssApiError as error:
        return error


def _read_back(client: CssClient, cluster_id: str) -> LogSettingsInfo | None:
    try:
        return client.get_log_settings(cluster_id)
    except CssApiError:
        return None


def _why(outcome: Answer | CssApiError) -> str:
    if not isinstance(outcome, Answer):
        return str(outcome)
    return "" if outcome.ok else str(ApiError(outcome))


def _record_request(
    cluster: Cluster, decision: Decision, actor: Actor, before: LogSettingsInfo
) -> AuditEvent:
    # durable: the cloud is not asked before this has been committed
    with transaction.atomic(durable=True):
        return record(
            Action.LOG_CHANGE_REQUESTED,
            actor=actor,
            target=cluster,
            project=cluster.project,
            reason=decision.reason,
            before=as_facts(before),
            details={"wanted": decision.as_facts()},
        )


def _record_ending(
    cluster: Cluster,
    decision: Decision,
    actor: Actor,
    result: Result,
    requested: AuditEvent | None = None,
) -> None:
    answer = result.answer
    taken = result.ending in (Ending.DONE, Ending.ACCEPTED)
    record(
        _DONE[decision.change] if taken else Action.LOG_CHANGE_FAILED,
        actor=actor,
        target=cluster,
        project=cluster.project,
        reason=decision.reason,
        before=as_facts(result.before) if result.before is not None else None,
        after=as_facts(result.now) if result.now is not None else None,
        details={
            "wanted": decision.as_facts(),
            "result": result.ending.value,
            "why": result.why,
            "http_status": answer.status if answer else None,
            "error_code": answer.error_code if answer else "",
            "cloud_request_id": answer.request_id if answer else "",
            "requested_in": requested.sequence if requested else None,
        },
    )
