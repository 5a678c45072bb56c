"""The ticker: a thread in each worker process that runs the periodic work.

A lease in the database (`models.Ticker`) lets one thread tick at a time. It uses its own monotonic
clock, so a step of the wall clock, by NTP or after a virtual machine was resumed, neither stalls
nor hurries it. It stores nothing on disk.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from functools import partial

from celery import current_app
from django.conf import settings
from django.db import close_old_connections, connection
from django.db.models import F
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from backups import heartbeats, instance
from backups.models import Ticker
from backups.services.attempts import Attempts
from backups.services.batches import starting
from backups.services.notifications.notifier import Notifier
from backups.services.runs import sealing, sweeping
from backups.services.schedules import firing, pings

logger = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds between two ticks
TAKE_OVER_AFTER = 5.0  # seconds without a renewal after which the lease is taken over
PUBLISH_AGAIN = 10.0  # seconds until a failed publication is retried
CLOCKS_EVERY = 10.0  # seconds between two looks for due times that lie too far ahead
CLOCK_STEP = 0.5  # seconds by which a wall clock is set back at once; NTP slews more slowly
CLASH_KEY = "ticker"  # after the instance's prefix
CLASH_LOOK_EVERY = 5.0  # seconds between two looks at CLASH_KEY
CLASH_LOOKS = 3  # foreign tokens in a row that prove a clash
CLASH_KEY_SECONDS = 60  # the key's life after the last look


class Lease:
    """The right to tick, independent of wall clocks and of the database's clock.

    Args:
        holder: this process's name.

    Attributes:
        held: whether this process ticks.
        term: counts how often this process took the lease; the same number twice means that nobody
            else has held it in between.
    """

    def __init__(self, holder: str) -> None:
        self.holder = holder
        self.held = False
        self.term = 0
        self._renewed_at = 0.0
        self._seen: tuple[str, int] | None = None
        self._unchanged = 0.0
        self._looked_at = 0.0

    def hold(self) -> bool:
        """Renew the lease, or take it over from a holder that stopped renewing it.

        Each renewal advances the product's clock by the time since the last one, at most two
        intervals. A take-over advances it by the time for which this process watched the lease
        stand still, so that a dead holder's runs wait no longer than others.

        Returns:
            Whether this process holds the lease.
        """
        now = time.monotonic()
        if self.held and self._renew(now):
            return True
        if self.held:
            logger.info("another worker ticks now")
        self.held = self._take(now)
        if self.held:
            self._renewed_at = now
            self.term += 1
            logger.info("this worker ticks now")
        return self.held

    def _renew(self, now: float) -> bool:
        passed = min(max(now - self._renewed_at, 0.0), 2 * INTERVAL)
        renewed = Ticker.objects.filter(pk=1, holder=self.holder).update(
            ticks=F("ticks") + 1, uptime=F("uptime") + passed, ticked_at=timezone.now()
        )
        self._renewed_at = now
        return bool(renewed)

    def _take(self, now: float) -> bool:
        row = Ticker.objects.values_list("holder", "ticks").filter(pk=1).first()
        if row is None:
            Ticker.objects.get_or_create(pk=1)
            row = ("", 0)
        if row[0] and not self._stood_still(row, now):
            return False
        # This process saw the time pass in which the last holder was gone.
        passed = self._unchanged if row[0] else 0.0
        self._seen = None
        # conditional on the row as read: one of several waiting processes wins, a renewal first
        return bool(
            Ticker.objects.filter(pk=1, holder=row[0], ticks=row[1]).update(
                holder=self.holder,
                ticks=F("ticks") + 1,
                uptime=F("uptime") + passed,
                ticked_at=timezone.now(),
            )
        )

    def _stood_still(self, row: tuple[str, int], now: float) -> bool:
        if row != self._seen:
            self._seen, self._unchanged = row, 0.0
        else:
            # Time in which this process could not read the row is not held against the holder.
            self._unchanged += min(now - self._looked_at, 2 * INTERVAL)
        self._looked_at = now
        return self._unchanged >= TAKE_OVER_AFTER

    def release(self) -> None:
        """Give the lease up, so that another worker can take it immediately."""
        if self.held:
            Ticker.objects.filter(pk=1, holder=self.holder).update(holder="")
            self.held = False


class Schedule:
    """When each of PERIODIC_TASKS is published next, by the monotonic clock.

    All are due at the start; each task checks whether it has anything to do.
    """

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def publish_due(self) -> None:
        """Publish what is due. Raises BrokerError or OSError if the broker is unavailable."""
        for name, (task, interval) in settings.PERIODIC_TASKS.items():
            now = time.monotonic()
            if now < self._due.get(name, now):
                continue
            self._due[name] = now + min(interval, PUBLISH_AGAIN)
            # expires when the next message of the task is published
            current_app.send_task(task, expires=interval, ignore_result=True)
            self._due[name] = now + interval


class ClashWatch:
    """Finds another instance that has this one's id and uses the same Redis.

    `backups.instance` does not recognise a byte-for-byte copy of a database server. Its instance
    has the same id, so the two take each other's messages. The holder of a lease writes a new
    random token to one key of its id at each look. One database has one holder at a time, so a
    token that this process has not written comes from the holder of another database's lease. A
    single one may be late, from a process that has just lost this lease.
    """

    def __init__(self) -> None:
        self._term = 0
        self._token = ""
        self._foreign = 0
        self._due = 0.0

    def look(self, term: int) -> bool:
        """Look, every CLASH_LOOK_EVERY seconds, while this process holds the lease.

        Args:
            term: `Lease.term`; another number than last time starts the count again.

        Returns:
            Whether there is such an instance.
        """
        now = time.monotonic()
        if term != self._term:
            self._term, self._token, self._foreign, self._due = term, "", 0, now
        if now < self._due:
            return False
        self._due = now + CLASH_LOOK_EVERY
        mine, self._token = self._token, secrets.token_hex(8)
        found = self._exchange()
        if found is None:  # whether the token was written is not known, either
            self._token = ""
        self._foreign = self._foreign + 1 if mine and found and found != mine else 0
        return self._foreign >= CLASH_LOOKS

    def _exchange(self) -> str | None:
        """Write the token; returns the one before, "" for none, None where Redis does not answer.

        Silent on errors: publishing meets the same ones, and reports them.
        """
        try:
            with current_app.connection_for_write() as broker:
                client = broker.default_channel.client  # type: ignore[attr-defined]
                # kombu prefixes the keys of the commands that it uses itself, and GETSET is none
                before = client.getset(instance.key_prefix() + CLASH_KEY, self._token)
                client.pexpire(CLASH_KEY, 1000 * CLASH_KEY_SECONDS)
        except (RedisError, BrokerError, OSError):
            return None
        return before.decode() if isinstance(before, bytes) else before or ""


class ClockWatch:
    """Decides when a sweep looks for due times that lie too far ahead (`runs.due_times`).

    That takes seven queries. So it is done when this process takes the lease, when its own wall
    clock was set back, and every CLOCKS_EVERY seconds, because other machines have their own.
    """

    def __init__(self) -> None:
        self._term = 0
        self._due = 0.0
        self._ahead = 0.0

    def may_be_set_back(self, term: int) -> bool:
        """Whether to look now; called with each tick.

        Args:
            term: `Lease.term`.
        """
        now = time.monotonic()
        ahead = timezone.now().timestamp() - now
        set_back, self._ahead = ahead < self._ahead - CLOCK_STEP, ahead
        if term == self._term and now < self._due and not set_back:
            return False
        self._term, self._due = term, now + CLOCKS_EVERY
        return True


class TickerThread(threading.Thread):
    """Ticks, or waits for the lease, until it is stopped. No error ends it."""

    def __init__(self) -> None:
        super().__init__(name="ticker", daemon=True)
        self._stopped = threading.Event()
        self._lease = Lease(heartbeats.process_name())
        self._schedule = Schedule()
        self._clashes = ClashWatch()
        self._notifier = Notifier()
        self._attempts = Attempts(logger)
        self._clocks = ClockWatch()

    def run(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            self.tick()
            self._stopped.wait(max(INTERVAL - (time.monotonic() - began), 0.05))
        self._attempts.run("releasing the ticker", self._lease.release)
        connection.close()

    def stop(self) -> None:
        """End the thread and release the lease."""
        self._stopped.set()
        self._notifier.stop()
        self.join(timeout=5)

    def tick(self) -> None:
        """Run one tick: the work of each process, then the work of the lease's holder."""
        close_old_connections()
        ticks = self._attempts.run("the ticker", self._lease.hold)
        if ticks:
            clocks = self._clocks.may_be_set_back(self._lease.term)
            self._attempts.run("the sweep", partial(sweeping.sweep, clocks=clocks))
            self._attempts.run("sealing ended runs", sealing.seal_pending)
            self._attempts.run("firing schedules", firing.fire_due)
            self._attempts.run("looking after batches", starting.look_after)
            self._attempts.run("queueing pings", pings.queue_due)
            self._attempts.run("publishing periodic tasks", self._schedule.publish_due)
            self._attempts.run("looking for another instance with this id", self._look_for_a_clash)
            self._attempts.run("waking the notifier", self._notifier.wake)
        else:
            self._attempts.run("looking after lost claims", sweeping.take_over_lost_claims)
            self._schedule = Schedule()

    def _look_for_a_clash(self) -> None:
        if self._clashes.look(self._lease.term):
            instance.note_clash()
