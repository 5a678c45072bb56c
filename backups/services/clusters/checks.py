"""Which cluster is checked when: leased by the sweeper, a bounded number at a time.

``Cluster.check_due_at`` says when a check is due, NULL: never checked. A lease moves it ahead and
sets ``check_leased_until``, first for as long as a message is worth something, then, once a
worker begins, for as long as a check can take, with the worker's name. The leases of a worker
without a heartbeat are given up. A lost message or a dead worker thus costs a pause and no more,
and a check too many does no harm.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from backups import heartbeats
from backups.choices import CORRECTABLE
from backups.models import BackupRun, Cluster, Project
from backups.models.cluster import ClusterQuerySet
from backups.services.dispatch import dispatch_check
from dashboard.db import leases

MESSAGE_LIFETIME = 30.0  # seconds
OUT_OF_REACH_PAUSE = 60.0  # seconds in which a project that cannot be reached is left alone
LOOK_AGAIN = 40.0  # seconds until a cluster's records are read again after such a run ...
LOOK_AGAIN_FOR = 900.0  # ... for this long; afterwards with every check
# Before everything that is merely due.
ASKED_FOR = datetime(2000, 1, 1, tzinfo=UTC)


def request_check(cluster_id: int) -> None:
    """Have a cluster checked at once, before those that are merely due.

    Where as many checks are under way as may be, or the broker is away, the sweeper sees to it.

    Args:
        cluster_id: primary key.
    """
    Cluster.objects.filter(pk=cluster_id).update(check_due_at=ASKED_FOR)
    # robust: whoever asked has done their work, and the sweeper does this one
    transaction.on_commit(lambda: dispatch_checks(only=cluster_id), robust=True)


def dispatch_checks(*, only: int | None = None) -> None:
    """Lease checks that are due and hand them to the broker.

    Args:
        only: consider this cluster alone; it may be archived or gone, for somebody asked.
    """
    dispatch_check(claim(only=only), worth=MESSAGE_LIFETIME)


def claim(*, only: int | None = None) -> list[int]:
    """Lease due checks, as many as there is room for; each is given to one caller only.

    Args:
        only: as for `dispatch_checks`.

    Returns:
        Primary keys; in five queries at most, however many are due.
    """
    now = timezone.now()
    _give_up_the_dead(now)
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
    """Extend a cluster's lease, in this process's name, for as long as its check can take."""
    until = timezone.now() + timedelta(seconds=longest_check())
    Cluster.objects.filter(pk=cluster_id).update(
        check_due_at=until, check_leased_until=until, check_leased_by=heartbeats.process_name()
    )


def longest_check() -> float:
    """Seconds that a check can take: signing in, and three readings."""
    longest: float = 4 * (settings.CSS_CONNECT_TIMEOUT + settings.CSS_TOTAL_TIMEOUT)
    return longest


def release(cluster_id: int, *, out_of_reach: bool = False) -> None:
    """End a cluster's lease and say when the next check is due.

    A check that was asked for since the beginning stays due.

    Args:
        cluster_id: primary key.
        out_of_reach: its project could not be reached, so it is tried again sooner.
    """
    now = timezone.now()
    pause = settings.CHECK_INTERVAL * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
    if out_of_reach:
        pause = min(pause, OUT_OF_REACH_PAUSE)
    if _misses_a_job(cluster_id, now):
        pause = min(pause, LOOK_AGAIN)
    Cluster.objects.filter(pk=cluster_id).update(
        check_leased_until=None,
        check_leased_by="",
        check_due_at=Case(
            When(check_due_at__lte=now, then=F("check_due_at")),
            default=Value(now + timedelta(seconds=pause)),
        ),
    )


def look_again(cluster_id: int) -> None:
    """Have a cluster's records read soon: a run has ended without its job, which may be listed yet.

    Args:
        cluster_id: primary key.
    """
    soon = timezone.now() + timedelta(seconds=LOOK_AGAIN)
    later = Q(check_due_at=None) | Q(check_due_at__gt=soon)
    Cluster.objects.filter(later, pk=cluster_id).update(check_due_at=soon)


def _misses_a_job(cluster_id: int, now: datetime) -> bool:
    """Whether a run has lately ended without its job."""
    lately = now - timedelta(seconds=LOOK_AGAIN_FOR)
    return BackupRun.objects.filter(
        cluster=cluster_id,
        state__in=CORRECTABLE,
        job_id=None,
        sent_at__isnull=False,
        finished_at__gte=lately,
    ).exists()


def postpone_project(project_id: int, why: str) -> None:
    """Leave the clusters of a project alone for a while: its cloud cannot be reached.

    Each would else find out for itself, and each with a sign-in of its own.

    Args:
        project_id: primary key.
        why: kept with each as the reason of its failed check.
    """
    now = timezone.now()
    pause = timedelta(seconds=OUT_OF_REACH_PAUSE)
    waiting = (
        Cluster.objects.watched().filter(project=project_id).exclude(check_leased_until__gt=now)
    )
    # Half of it, so that of two that find out at once the second has nothing to move.
    soon = waiting.filter(_due(now + pause / 2))
    soon.update(check_due_at=now + pause, check_error=why[:500])


def _give_up_the_dead(now: datetime) -> None:
    """Make due what a worker that is gone, however it died, will not end."""
    held = Cluster.objects.filter(check_leased_until__gt=now).exclude(check_leased_by="")
    dead = held.filter(~heartbeats.alive("check_leased_by"))
    if dead.exists():  # seldom; an UPDATE of nothing would still wait for SQLite's lock
        dead.update(check_leased_until=None, check_leased_by="", check_due_at=now)


def _due(moment: datetime) -> Q:
    return Q(check_due_at__isnull=True) | Q(check_due_at__lte=moment)


def _watched() -> ClusterQuerySet:
    """Clusters that count, without those of projects that were disconnected on purpose."""
    return Cluster.objects.watched().filter(is_connected())


def is_connected() -> Q:
    """The condition for clusters whose project was not disconnected on purpose."""
    return ~Q(project__in=Project.objects.disconnected())
