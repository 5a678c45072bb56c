"""Whose turn it is to synchronise a connection: one at a time, and the one begun last counts.

A lease is two columns. `sync_started_at` tells whose it is, `next_sync_at` when it ends unless it
is renewed: then whoever held it is taken for dead, and another begins anew. A holder that only
seemed dead finds at its next step that the lease is no longer its own, and its list counts for
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Any

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from backups.choices import SyncStep
from backups.css_api.client import Exchange, ShownRequest
from backups.models import Connection
from backups.models.project import ConnectionQuerySet
from dashboard.db.concurrency import retry_while_unavailable

# How long a message may wait for a worker before it is dropped, and the sync handed out again.
MESSAGE_WORTH = timedelta(seconds=60)
SHORTEST_LEASE = timedelta(minutes=2)
_random = SystemRandom()


class Superseded(Exception):
    """The lease has ended: another sync has begun meanwhile, or the entry was disconnected."""


def lease_time() -> timedelta:
    """How long a step may take: it is one exchange, a new token and its repetition at most."""
    return max(SHORTEST_LEASE, timedelta(seconds=4 * settings.CSS_TOTAL_TIMEOUT))


def due_for_sync(limit: int) -> list[int]:
    """Hand out the connections whose sync is due: each to one sweep only.

    Args:
        limit: the most connections to take.

    Returns:
        Their primary keys.
    """
    now = timezone.now()
    due = Connection.objects.connected().filter(Q(next_sync_at=None) | Q(next_sync_at__lte=now))
    taken = []
    columns = ("pk", "next_sync_at", "sync_started_at")
    for pk, planned, started in due.order_by("next_sync_at").values_list(*columns)[:limit]:
        changes: dict[str, Any] = {"next_sync_at": now + MESSAGE_WORTH}
        if started is not None:
            changes |= {"sync_started_at": None, "sync_step": SyncStep.WAITING}
            changes["version"] = F("version") + 1
        # what was read is the condition: of two sweeps one gets it, and a renewed lease stays
        mine = Connection.objects.filter(pk=pk, next_sync_at=planned, sync_started_at=started)
        if mine.update(**changes):
            taken.append(pk)
    return taken


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to synchronise a connection.

    Attributes:
        pk: of the connection.
        started: when it was taken; no other lease of this connection has the same time.
    """

    pk: int
    started: datetime

    def tell(self, step: SyncStep) -> None:
        """Show what is being done, and go on holding the lease. Raises Superseded."""
        self._hold(sync_step=step, version=F("version") + 1)

    def renew(self) -> None:
        """Go on holding the lease. Raises Superseded."""
        self._hold()

    def end(self, **columns: Any) -> None:
        """Write what came of it, and give the lease back. Raises Superseded.

        Args:
            columns: of the connection.
        """
        now = timezone.now()
        # not all connections at the same moment
        pause = timedelta(seconds=settings.SYNC_INTERVAL * _random.uniform(0.9, 1.1))
        self._update(
            sync_step=SyncStep.NONE,
            sync_started_at=None,
            sync_ended_at=now,
            sync_duration=now - self.started,
            next_sync_at=now + pause,
            version=F("version") + 1,
            **columns,
        )

    def before_send(self, request: ShownRequest) -> None:
        """As the client's recorder: a lease that was lost sends nothing more. Raises Superseded."""
        self.renew()

    def after(self, exchange: Exchange) -> None:
        """As the client's recorder: there is nothing to keep."""

    def _hold(self, **columns: Any) -> None:
        self._update(next_sync_at=timezone.now() + lease_time(), **columns)

    def _update(self, **columns: Any) -> None:
        mine = Connection.objects.filter(pk=self.pk, sync_started_at=self.started)
        if not retry_while_unavailable(lambda: mine.update(**columns)):
            raise Superseded


def begin(connection_id: int, *, take_over: bool = False) -> Lease | None:
    """Take the lease of a connection.

    Args:
        connection_id: primary key.
        take_over: also from a sync that is under way, which then counts for nothing.

    Returns:
        The lease; None where another holds it, or the connection is disconnected or gone.
    """
    started = timezone.now()

    def take() -> int:
        free: ConnectionQuerySet = Connection.objects.connected().filter(pk=connection_id)
        if not take_over:
            # its own: the first try was committed, and the answer was lost
            free = free.filter(Q(sync_started_at=None) | Q(sync_started_at=started))
        return free.update(
            sync_started_at=started,
            sync_step=SyncStep.SIGNING_IN,
            next_sync_at=started + lease_time(),
            version=F("version") + 1,
        )

    return Lease(connection_id, started) if retry_while_unavailable(take) else None
