"""What happens without anybody doing anything: protection runs out, work stops, guards are missing.

Each look compares the present with the alerts that are stored. An alert is announced once when it
begins and, where there is a kind for that, once when it ends, also across restarts.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from backups import work
from backups.choices import NoticeKind
from backups.models import Alert, Cluster
from dashboard.audit.models import Verification
from dashboard.db import triggers

from .outbox import Event, announce, announce_all, is_subscribed

CHUNK = 500  # clusters per transaction

_OVERDUE, _RECOVERED = NoticeKind.PROTECTION_OVERDUE, NoticeKind.PROTECTION_RECOVERED
_STALLED, _FLOWS = NoticeKind.WORK_STALLED, NoticeKind.WORK_RECOVERED


def look_at_protection() -> int:
    """Announce clusters whose protection has run out, and those that are protected again.

    A cluster that never had a backup is overdue once it is registered for as long as its objective.

    Returns:
        How many clusters were announced.
    """
    if not (is_subscribed(_OVERDUE) or is_subscribed(_RECOVERED)):
        return 0
    now = timezone.now()
    return _announce_overdue(now) + _announce_recovered(now)


def _announce_overdue(now: datetime) -> int:
    known = Exists(Alert.objects.filter(kind=_OVERDUE, cluster=OuterRef("pk")))
    late = Cluster.objects.watched().filter(
        Q(overdue_at__lte=now) | Q(verified_at=None, registered_at__lte=now - timedelta(hours=1))
    )
    rows = late.filter(~known).select_related("project").order_by("overdue_at", "pk")
    # an alert that nobody is told would keep a rule that is added later from telling it
    found = [each for each in rows if _overdue_since(each) <= now and _concerns(each.project_id)]
    for start in range(0, len(found), CHUNK):
        chunk = found[start : start + CHUNK]
        with transaction.atomic():
            Alert.objects.bulk_create(
                [
                    Alert(kind=_OVERDUE, subject=f"cluster {each.pk}", cluster=each, began_at=now)
                    for each in chunk
                ],
                ignore_conflicts=True,
            )
            announce_all([_overdue(each) for each in chunk])
    return len(found)


def _concerns(project_id: int) -> bool:
    return is_subscribed(_OVERDUE, project_id) or is_subscribed(_RECOVERED, project_id)


def _overdue_since(cluster: Cluster) -> datetime:
    return cluster.overdue_at or cluster.registered_at + timedelta(hours=cluster.objective)


def _overdue(cluster: Cluster) -> Event:
    since = _overdue_since(cluster)
    last = cluster.verified_at
    return _event(
        _OVERDUE,
        cluster,
        # the same period, whichever process sees it
        key=f"cluster {cluster.pk} {since.isoformat()}",
        cause="" if last else "never backed up",
        text=f"last verified backup {last:%Y-%m-%d %H:%M} UTC, objective {cluster.objective} h"
        if last
        else f"no verified backup since it was registered, objective {cluster.objective} h",
    )


def _announce_recovered(now: datetime) -> int:
    done = 0
    over = Q(cluster__overdue_at__gt=now) | ~Q(cluster__archived_at=None, cluster__gone_at=None)
    alerts = Alert.objects.filter(over, kind=_OVERDUE).select_related("cluster__project")
    while chunk := list(alerts.order_by("pk")[:CHUNK]):
        with transaction.atomic():
            announce_all([_recovered(alert) for alert in chunk if _is_protected(alert, now)])
            Alert.objects.filter(pk__in=[alert.pk for alert in chunk]).delete()
        done += len(chunk)
    return done


def _is_protected(alert: Alert, now: datetime) -> bool:
    """Whether the alert ended by a backup, and not because the cluster is out of the way."""
    cluster = alert.cluster
    out_of_the_way = cluster is None or cluster.archived_at or cluster.gone_at
    return not out_of_the_way and bool(cluster and cluster.overdue_at and cluster.overdue_at > now)


def _recovered(alert: Alert) -> Event:
    cluster = alert.cluster
    assert cluster is not None  # noqa: S101 - _is_protected
    return _event(
        _RECOVERED,
        cluster,
        key=f"cluster {cluster.pk} {alert.began_at.isoformat()}",
        cause="",
        text=f"verified backup {cluster.verified_at:%Y-%m-%d %H:%M} UTC",
    )


def _event(kind: NoticeKind, cluster: Cluster, *, key: str, cause: str, text: str) -> Event:
    project = cluster.project
    return Event(
        kind,
        key,
        project=project,
        cluster=cluster,
        cause=cause,
        facts={
            "cluster": cluster.name,
            "project": project.name or project.project_id,
            "text": text,
            "path": cluster.get_absolute_url(),
        },
    )


def look_at_work(troubles: list[work.Trouble]) -> None:
    """Announce that work does not flow, and that it flows again.

    Args:
        troubles: of `work.troubles`, without the one that the database must be adopted.
    """
    alert = Alert.objects.filter(kind=_STALLED).first()
    if troubles and alert is None and is_subscribed(_STALLED):
        with transaction.atomic():
            alert, created = Alert.objects.get_or_create(kind=_STALLED, subject="")
            if created:
                text = words(troubles)
                announce(_STALLED, key=_since(alert), cause=text[:200], facts={"text": text})
    elif alert is not None and not troubles:
        with transaction.atomic():
            if Alert.objects.filter(pk=alert.pk).delete()[0]:
                text = f"It did not since {alert.began_at:%Y-%m-%d %H:%M:%S} UTC."
                announce(_FLOWS, key=_since(alert), facts={"text": text})


def words(troubles: list[work.Trouble]) -> str:
    """Why work does not flow, in one line of English."""
    return "; ".join(trouble.words or _WORDS.get(trouble.kind, "") for trouble in troubles)


_WORDS = {
    "worker": "no worker is running",
    "scheduler": "no worker does the periodic work",
    "broker": "Redis takes no messages",
    "flow": "messages are not processed",
}


def look_at_audit() -> None:
    """Announce that a verification found the audit trail broken, or that triggers are missing."""
    kind = NoticeKind.AUDIT_BROKEN
    if not is_subscribed(kind):
        return
    problems = {}
    newest = Verification.objects.exclude(finished_at=None).first()
    if newest is not None and newest.result == Verification.Result.BROKEN:
        problems["events"] = newest.problem or f"broken at event {newest.broken_at}"
    if missing := triggers.missing(connection):
        problems["triggers"] = f"triggers are missing: {', '.join(sorted(missing))}"
    Alert.objects.filter(kind=kind).exclude(subject__in=problems).delete()
    with transaction.atomic():
        alerts = [Alert.objects.get_or_create(kind=kind, subject=each) for each in problems]
        begun = [alert for alert, created in alerts if created]
        if begun:  # also while the other one lasts
            text = "; ".join(problems[alert.subject] for alert in begun)
            announce(kind, key=f"{begun[0].subject} {_since(begun[0])}", facts={"text": text})


def _since(alert: Alert) -> str:
    return f"since {alert.began_at.isoformat()}"
