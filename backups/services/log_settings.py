"""Changing log backup settings in the cloud: one API call per decision, read back and audited.

The call is made while the page loads, so that the user sees the result. The settings are read
before the call (were they changed since the form was displayed?) and after it. A call without a
response is not repeated; the settings that are read back show the result.

The audit trail records the decision before the call and the result after it. If the process dies in
between, the decision remains.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from backups import instance
from backups.css_api.client import CssClient
from backups.css_api.errors import ApiError, ConfigurationError, CssApiError
from backups.css_api.types import Answer, LogPolicy, LogSettingsInfo, LogStorage
from backups.models import Cluster
from backups.models import LogSettings as StoredSettings
from backups.rules.outcomes import Next, classify
from backups.services.cloud import INTERACTIVE, client_for
from backups.services.clusters.readiness import request_check, store_settings
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import Actor, record
from dashboard.db import leases
from dashboard.db.concurrency import retry_while_unavailable


class Change(StrEnum):
    """Kinds of changes."""

    ENABLE = "enable"
    CHANGE = "change"
    DISABLE = "disable"
    SET_POLICY = "set_policy"
    STOP_POLICY = "stop_policy"


class ChangeOutcome(StrEnum):
    """Result of a decision."""

    DONE = "done"  # accepted or unanswered, and read back as requested
    ACCEPTED = "accepted"  # accepted, but not read back as requested
    REFUSED = "refused"  # rejected by the cloud
    UNKNOWN = "unknown"  # it may have arrived, but was not read back as requested
    NOT_SENT = "not_sent"  # no token, no connection, or the settings could not be read
    STALE = "stale"  # the settings have changed since they were displayed: nothing was sent
    OCCUPIED = "occupied"  # another change of the cluster is in progress: nothing was sent
    ALREADY = "already"  # the settings were as requested before anything was sent


@dataclass(frozen=True, slots=True)
class Decision:
    """A requested change.

    Attributes:
        change: the kind of change.
        storage: the storage, for ENABLE and CHANGE.
        period: the time in the cloud's notation, for SET_POLICY.
        seen: `fingerprint` of the displayed settings.
        reason: free text.
    """

    change: Change
    storage: LogStorage | None = None
    period: str = ""
    seen: str = ""
    reason: str = ""

    def as_facts(self) -> dict[str, Any]:
        """The change as stored in the audit trail."""
        facts: dict[str, Any] = {"change": self.change.value}
        if self.storage is not None:
            facts["bucket"] = self.storage.bucket
            facts["base_path"] = self.storage.base_path
            facts["agency"] = self.storage.agency
        if self.period:
            facts["period"] = self.period
        return facts


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """The result of a change.

    Attributes:
        ending: the result.
        why: the error from the cloud or the network, "" if there was none.
        answer: the deciding response, None without one.
        before: the settings before, None if they could not be read.
        now: the settings afterwards, None if they could not be read.
    """

    ending: ChangeOutcome
    why: str = ""
    answer: Answer | None = None
    before: LogSettingsInfo | None = None
    now: LogSettingsInfo | None = None

    @property
    def has_changed(self) -> bool | None:
        """Whether the cloud's settings have changed; None if unknown."""
        if self.before is None or self.now is None:
            return None
        return as_facts(self.before) != as_facts(self.now)

    @property
    def ended_policy(self) -> bool:
        """Whether the change turned off the cloud's daily backup, with log backup still on."""
        if self.before is None or self.now is None:
            return False
        return self.before.auto_enabled and self.now.enabled and not self.now.auto_enabled


def as_facts(settings: LogSettingsInfo | StoredSettings) -> dict[str, Any]:
    """Settings as stored in the audit trail."""
    automatic = (
        settings.auto_enabled if isinstance(settings, LogSettingsInfo) else settings.automatic
    )
    return {
        "enabled": settings.enabled,
        "bucket": settings.bucket,
        "base_path": settings.base_path,
        "agency": settings.agency,
        "automatic": automatic,
        "period": settings.period,
    }


def fingerprint(settings: LogSettingsInfo | StoredSettings) -> str:
    """A short hash of settings, for forms."""
    return hashlib.sha256(repr(sorted(as_facts(settings).items())).encode()).hexdigest()[:32]


def is_as_requested(decision: Decision, now: LogSettingsInfo | StoredSettings) -> bool:
    """Whether settings are as requested."""
    automatic = now.auto_enabled if isinstance(now, LogSettingsInfo) else now.automatic
    if decision.change in (Change.ENABLE, Change.CHANGE):
        return _goes_to(decision.storage, now)
    if decision.change is Change.DISABLE:
        return not now.enabled
    if decision.change is Change.SET_POLICY:
        return automatic and now.period == decision.period
    return not automatic


def _goes_to(storage: LogStorage | None, now: LogSettingsInfo | StoredSettings) -> bool:
    found = LogStorage(bucket=now.bucket, base_path=now.base_path, agency=now.agency)
    return now.enabled and found == storage


def ending_of(
    decision: Decision, outcome: Answer | CssApiError, now: LogSettingsInfo | None
) -> ChangeOutcome:
    """The result of a call, from its response and the settings afterwards.

    Args:
        decision: the requested change.
        outcome: the response or the error.
        now: the settings afterwards, None if they could not be read.
    """
    what_next = classify(outcome).next
    if not isinstance(outcome, Answer) and what_next is not Next.SETTLE:
        return ChangeOutcome.NOT_SENT
    if what_next not in (Next.FOLLOW, Next.SETTLE):
        return ChangeOutcome.REFUSED
    if now is not None and is_as_requested(decision, now):
        return ChangeOutcome.DONE
    return ChangeOutcome.ACCEPTED if what_next is Next.FOLLOW else ChangeOutcome.UNKNOWN


# Longer than a token and three requests with a new token each, all at their timeouts.
LONGEST_CHANGE = timedelta(minutes=3)
# Seconds to retry while the database is unavailable; the user waits for the page.
HOLD = 20.0

_DONE = {
    Change.ENABLE: Action.LOG_BACKUP_ENABLED,
    Change.CHANGE: Action.LOG_BACKUP_CHANGED,
    Change.DISABLE: Action.LOG_BACKUP_DISABLED,
    Change.SET_POLICY: Action.LOG_POLICY_CHANGED,
    Change.STOP_POLICY: Action.LOG_POLICY_DISABLED,
}


def read_settings(cluster: Cluster) -> StoredSettings:
    """Read a cluster's settings from the cloud and store them.

    Raises:
        CssApiError: they cannot be read.
    """
    began = timezone.now()
    client = client_for(cluster, timeouts=INTERACTIVE)
    return store_settings(cluster, client.get_log_settings(cluster.cluster_id), began)


def read_again(cluster: Cluster) -> str:
    """Read a cluster's settings and store them; why they cannot be read, "" if they were."""
    try:
        read_settings(cluster)
    except CssApiError as error:
        return str(error)
    return ""


def storage_of(cleaned: Mapping[str, str]) -> LogStorage:
    """The storage in the cleaned data of a form."""
    return LogStorage(cleaned["bucket"], cleaned["base_path"], cleaned["agency"])


def decide(cluster: Cluster, decision: Decision, actor: Actor) -> ChangeResult:
    """Carry out a decision: read, compare, record, call once, read back, store, record.

    Do not call it in a transaction: the decision is committed before the API call.

    Args:
        cluster: the cluster.
        decision: the change, validated.
        actor: for the audit trail.

    Returns:
        The result. Only database errors are raised.
    """
    lease = _claim(cluster)
    if lease is None:
        # settings that were never read match no form
        known = StoredSettings.objects.filter(cluster=cluster).exists()
        return ChangeResult(ChangeOutcome.OCCUPIED if known else ChangeOutcome.STALE)
    try:
        return _carry_out(cluster, decision, actor)
    finally:
        with suppress(leases.LeaseLost):
            lease.release(changing_until=None)


def set_storage(
    cluster: Cluster, storage: LogStorage, actor: Actor, *, since: datetime, reason: str = ""
) -> ChangeResult:
    """Switch log backup on with a storage, or change the storage, whichever the cluster needs.

    For a decision about many clusters, whose settings nobody looked at one by one. It can be
    repeated after a crash: what an interrupted call has changed is read first. Do not call it in a
    transaction.

    Args:
        cluster: the cluster.
        storage: where its log backups are to go, validated.
        actor: for the audit trail.
        since: when that was decided. If the settings have changed since to something else, nothing
            is sent.
        reason: free text.

    Returns:
        The result, as of `decide`, or ALREADY.
    """
    known = StoredSettings.objects.filter(cluster=cluster).first()
    change = Change.CHANGE if known is not None and known.enabled else Change.ENABLE
    decision = Decision(change, storage, reason=reason)
    if known is None or _goes_to(storage, known):
        try:
            known = read_settings(cluster)
        except CssApiError as error:
            return _not_read(cluster, decision, actor, error)
        if _goes_to(storage, known):
            return ChangeResult(ChangeOutcome.ALREADY)
    if known.changed_at is not None and known.changed_at > since:
        return ChangeResult(ChangeOutcome.STALE)
    change = Change.CHANGE if known.enabled else Change.ENABLE
    decision = replace(decision, change=change, seen=fingerprint(known))
    result = decide(cluster, decision, actor)
    if result.ending is ChangeOutcome.STALE and result.now and _goes_to(storage, result.now):
        return replace(result, ending=ChangeOutcome.ALREADY)
    return result


def bring_about(cluster: Cluster, decision: Decision, actor: Actor) -> ChangeResult:
    """Carry out a program's decision, unless the cloud's settings are already as requested.

    Programs state what they want, and have seen no settings: they are read first. Do not call it in
    a transaction.

    Args:
        cluster: the cluster.
        decision: the change, validated; of ENABLE and CHANGE the one that the cluster needs is
            made. `seen` is not used.
        actor: for the audit trail.

    Returns:
        The result, as of `decide`, or ALREADY, which nothing records.
    """
    try:
        known = read_settings(cluster)
    except CssApiError as error:
        return _not_read(cluster, decision, actor, error)
    if decision.storage is not None:
        change = Change.CHANGE if known.enabled else Change.ENABLE
        decision = replace(decision, change=change)
    if is_as_requested(decision, known):
        return ChangeResult(ChangeOutcome.ALREADY)
    return decide(cluster, replace(decision, seen=fingerprint(known)), actor)


def _claim(cluster: Cluster) -> leases.Lease | None:
    """Claim a cluster's settings for one change.

    Otherwise a form that is sent twice at once would pass the comparison twice and call twice.
    """
    now = timezone.now()
    until = now + LONGEST_CHANGE
    free = Q(changing_until=None) | Q(changing_until__lt=now) | Q(changing_until=until)
    # further ahead than any change can take: the clock was set back
    free |= Q(changing_until__gt=now + 2 * LONGEST_CHANGE)
    stored = StoredSettings.objects.filter(cluster=cluster)
    return leases.claim(stored, free, {"changing_until": until}, hold=HOLD)


def _carry_out(cluster: Cluster, decision: Decision, actor: Actor) -> ChangeResult:
    try:
        if why := instance.problem():
            raise ConfigurationError(why)
        client = client_for(cluster, timeouts=INTERACTIVE)
        began = timezone.now()
        before = client.get_log_settings(cluster.cluster_id)
    except CssApiError as error:
        return _not_read(cluster, decision, actor, error)
    if fingerprint(before) != decision.seen:
        store_settings(cluster, before, began)
        return ChangeResult(ChangeOutcome.STALE, before=before, now=before)
    requested = _record_request(cluster, decision, actor, before)
    outcome = _call(client, cluster.cluster_id, decision)
    began = timezone.now()
    now = _read_back(client, cluster.cluster_id)
    result = ChangeResult(
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

    retry_while_unavailable(keep, seconds=HOLD)
    return result


def _not_read(
    cluster: Cluster, decision: Decision, actor: Actor, error: CssApiError
) -> ChangeResult:
    answer = error.answer if isinstance(error, ApiError) else None
    result = ChangeResult(ChangeOutcome.NOT_SENT, str(error), answer)
    retry_while_unavailable(lambda: _record_ending(cluster, decision, actor, result), seconds=HOLD)
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
    # durable: committed before the API call
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
    result: ChangeResult,
    requested: AuditEvent | None = None,
) -> None:
    answer = result.answer
    taken = result.ending in (ChangeOutcome.DONE, ChangeOutcome.ACCEPTED)
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
