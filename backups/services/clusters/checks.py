"""Scheduling of readiness checks: claimed by the sweeper, a limited number at a time.

``Cluster.check_due_at`` says when a check is due; NULL: never checked. Claiming a check moves it
ahead and sets ``check_leased_until``: first for the lifetime of a message; then, when a worker
starts, for the longest time that a check can take, with the worker's name. The leases of a worker
without a heartbeat are released, so a lost message or a dead worker only delays a check.

A check that runs twice does no harm. So `renew` and `release` do not test who holds the lease.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Case, DateTimeField, F, Q, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from backups import heartbeats
from backups.choices import CORRECTABLE
from backups.models import BackupRun, Cluster, Project
from backups.models.cluster import ClusterQuerySet
from backups.services.dispatch import dispatch_check
from backups.services.jitter import jittered
from dashboard.db import leases
from dashboard.db.prepared import Param, Prepared

MESSAGE_LIFETIME = 30.0  # seconds after which a message that no worker took expires
OUT_OF_REACH_PAUSE = 60.0  # seconds without checks for a project that cannot be reached
# After a run that ended without its job, records are read at this interval, in seconds ...
LOOK_AGAIN = 40.0
LOOK_AGAIN_FOR = 900.0  # ... for this long; afterwards with every check
# The due time of a requested check: before all others.
ASKED_FOR = datetime(2000, 1, 1, tzinfo=UTC)

_ROW = Prepared(lambda: Cluster.objects.filter(pk=Param("pk")))
# when a check is due after this one, unless it was requested meanwhile
_NEXT = Case(
    When(check_due_at__lte=Param("now"), then=F("check_due_at")),
    default=Param("next", output_field=DateTimeField()),
)
# a run of a cluster that ended without its job
_MISSING = Prepared(
    lambda: BackupRun.objects.filter(
        cluster=Param("cluster"),
        state__in=CORRECTABLE,
        job_id=None,
        sent_at__isnull=False,
        finished_at__gte=Param("since"),
    ).values_list("pk")[:1]
)


def request_check(cluster_id: int) -> None:
    """Request a check now, before those that are due.

    The sweeper starts it where the maximum number of checks is running or the broker is away.

    Args:
        cluster_id: primary key.
    """
    ask_for(cluster_id)
    # robust: the caller's work is committed, and the sweeper repeats this
    transaction.on_commit(lambda: dispatch_checks(only=cluster_id), robust=True)


def ask_for(cluster_id: int) -> None:
    """Make a check due before all others; the sweeper starts it.

    Args:
        cluster_id: primary key.
    """
    Cluster.objects.filter(pk=cluster_id).update(check_due_at=ASKED_FOR)


def dispatch_checks(*, only: int | None = None) -> None:
    """Claim checks that are due and publish them.

    Args:
        only: this cluster only, even if it is archived or gone: a user requested the check.
    """
    dispatch_check(claim(only=only), worth=MESSAGE_LIFETIME)


def claim(*, only: int | None = None) -> list[int]:
    """Claim due checks, up to the limit of running checks; each goes to one caller only.

    Args:
        only: as for `dispatch_checks`.

    Returns:
        Primary keys, with at most five queries.
    """
    now = timezone.now()
    _release_dead(now)
    under_way = Cluster.objects.filter(check_leased_until__gt=now).count()
    room = settings.CHECK_PARALLEL - under_way
    if room <= 0:
        return []
    found = Cluster.objects.filter(pk=only) if only else _watched()
    oldest = found.order_by(Coalesce("check_due_at", "registered_at"), "pk")
    until = now + timedelta(seconds=MESSAGE_LIFETIME)
    return leases.claim_due(
        oldest,
        _due(now),
        room,
        mark={"check_leased_until": until},
        check_due_at=until,
        check_leased_by="",
    )


def renew(cluster_id: int) -> None:
    """Renew the lease in this process's name for the longest time that a check can take."""
    until = timezone.now() + timedelta(seconds=longest_check())
    changes = {
        "check_due_at": until,
        "check_leased_until": until,
        "check_leased_by": heartbeats.process_name(),
    }
    _ROW.update(changes, pk=cluster_id)


def longest_check() -> float:
    """Seconds that a check can take: signing in, and three requests."""
    longest: float = 4 * (settings.CSS_CONNECT_TIMEOUT + settings.CSS_TOTAL_TIMEOUT)
    return longest


def release(cluster_id: int, *, out_of_reach: bool = False) -> None:
    """Release the lease and schedule the next check.

    A check that was requested in the meantime stays due.

    Args:
        cluster_id: primary key.
        out_of_reach: the project could not be reached, so the next check is sooner.
    """
    now = timezone.now()
    pause = jittered(settings.CHECK_INTERVAL)
    if out_of_reach:
        pause = min(pause, OUT_OF_REACH_PAUSE)
    if _misses_a_job(cluster_id, now):
        pause = min(pause, LOOK_AGAIN)
    changes = {"check_leased_until": None, "check_leased_by": "", "check_due_at": _NEXT}
    _ROW.update(changes, pk=cluster_id, now=now, next=now + timedelta(seconds=pause))


def look_again(cluster_id: int) -> None:
    """Read a cluster's records soon: a run ended without its job, which may be listed later.

    Args:
        cluster_id: primary key.
    """
    soon = timezone.now() + timedelta(seconds=LOOK_AGAIN)
    later = Q(check_due_at=None) | Q(check_due_at__gt=soon)
    Cluster.objects.filter(later, pk=cluster_id).update(check_due_at=soon)


def _misses_a_job(cluster_id: int, now: datetime) -> bool:
    """Whether a run ended without its job recently."""
    return bool(_MISSING.fetch(cluster=cluster_id, since=now - timedelta(seconds=LOOK_AGAIN_FOR)))


def postpone_project(project_id: int, why: str) -> None:
    """Postpone the checks of a project whose cloud cannot be reached.

    Otherwise each check would sign in and fail for itself.

    Args:
        project_id: primary key.
        why: stored with each cluster as the error of its check.
    """
    now = timezone.now()
    pause = timedelta(seconds=OUT_OF_REACH_PAUSE)
    waiting = (
        Cluster.objects.watched().filter(project=project_id).exclude(check_leased_until__gt=now)
    )
    # Half the pause: of two concurrent callers the second has nothing to postpone.
    soon = waiting.filter(_due(now + pause / 2))
    soon.update(check_due_at=now + pause, check_error=why[:500])


def _release_dead(now: datetime) -> None:
    """Release the leases of workers without a heartbeat."""
    held = Cluster.objects.filter(check_leased_until__gt=now).exclude(check_leased_by="")
    dead = held.filter(~heartbeats.alive("check_leased_by"))
    if dead.exists():  # rare; an UPDATE of no rows would still wait for SQLite's lock
        dead.update(check_leased_until=None, check_leased_by="", check_due_at=now)


def _due(moment: datetime) -> Q:
    return Q(check_due_at__isnull=True) | Q(check_due_at__lte=moment)


def _watched() -> ClusterQuerySet:
    """Watched clusters whose project is connected."""
    return Cluster.objects.watched().filter(is_connected())


def is_connected() -> Q:
    """The query condition for clusters whose project was not disconnected."""
    return ~Q(project__in=Project.objects.disconnected())
