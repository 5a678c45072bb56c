"""The lease of a synchronisation: one at a time for a connection, and the last one begun counts.

`Connection.sync_started_at` is the mark, `next_sync_at` when the lease ends. A list that was read
under a lease that has been lost meanwhile is not stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Any

from django.conf import settings
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from backups.choices import SyncStep
from backups.css_api.client import Exchange, ShownRequest
from backups.models import Connection
from dashboard.db import leases

# A message that no worker takes for this long expires, and the sync is dispatched again.
MESSAGE_LIFETIME = timedelta(seconds=60)
SHORTEST_LEASE = timedelta(minutes=2)
_random = SystemRandom()


def lease_time() -> timedelta:
    """How long one step may take: a request, a new token and the request repeated."""
    return max(SHORTEST_LEASE, timedelta(seconds=4 * settings.CSS_TOTAL_TIMEOUT))


def due_for_sync(limit: int) -> list[int]:
    """Claim the connections whose sync is due; each goes to one sweep only.

    Args:
        limit: the most connections to claim.

    Returns:
        Their primary keys.
    """
    now = timezone.now()
    dead = Q(sync_started_at__isnull=False)
    return leases.claim_due(
        Connection.objects.connected().order_by("next_sync_at"),
        Q(next_sync_at=None) | Q(next_sync_at__lte=now),
        limit,
        mark={"next_sync_at": now + MESSAGE_LIFETIME, "sync_started_at": None},
        sync_step=Case(When(dead, then=Value(SyncStep.WAITING)), default=F("sync_step")),
        version=F("version") + Case(When(dead, then=1), default=0),
    )


@dataclass(frozen=True, slots=True)
class SyncLease:
    """The right to synchronise a connection.

    Each method raises `leases.LeaseLost` where another synchronisation has begun meanwhile, or the
    entry was disconnected.

    Attributes:
        lease: the lease of the connection's row.
        started: when it was taken; no other lease of this connection has the same time.
    """

    lease: leases.Lease
    started: datetime

    def show_step(self, step: SyncStep) -> None:
        """Show what is being done, and renew the lease."""
        self.renew(sync_step=step, version=F("version") + 1)

    def renew(self, **columns: Any) -> None:
        """Renew the lease for another step."""
        self.lease.renew(next_sync_at=timezone.now() + lease_time(), **columns)

    def release(self, **columns: Any) -> None:
        """Store the result and end the lease.

        Args:
            columns: of the connection.
        """
        now = timezone.now()
        # jitter: not all connections at the same moment
        pause = timedelta(seconds=settings.SYNC_INTERVAL * _random.uniform(0.9, 1.1))
        self.lease.release(
            sync_step=SyncStep.NONE,
            sync_started_at=None,
            sync_ended_at=now,
            sync_duration=now - self.started,
            next_sync_at=now + pause,
            version=F("version") + 1,
            **columns,
        )

    def before_send(self, request: ShownRequest) -> None:
        """As the client's recorder: without the lease no further request is sent."""
        self.renew()

    def after(self, exchange: Exchange) -> None:
        """As the client's recorder: nothing to store."""


def claim(connection_id: int, *, take_over: bool = False) -> SyncLease | None:
    """Take the lease of a connection.

    Args:
        connection_id: primary key.
        take_over: also from a synchronisation that is under way, whose result is then discarded.

    Returns:
        The lease; None where another holds it, or the connection is disconnected or gone.
    """
    started = timezone.now()
    lease = leases.claim(
        Connection.objects.connected().filter(pk=connection_id),
        Q() if take_over else Q(sync_started_at=None) | Q(sync_started_at=started),
        {"sync_started_at": started},
        sync_step=SyncStep.SIGNING_IN,
        next_sync_at=started + lease_time(),
        version=F("version") + 1,
    )
    return SyncLease(lease, started) if lease is not None else None
