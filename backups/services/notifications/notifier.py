"""The notifier: a thread of the worker that ticks. It routes, watches, delivers and pings.

It works from the database alone, so it also says that the broker is away. Messages are sent by
threads of their own, one at a time for each channel, so a receiver that hangs holds up neither the
ticker nor other channels.
"""

from __future__ import annotations

import logging
import threading
import time

from django.conf import settings
from django.db import close_old_connections, connection

from backups import work
from backups.services.attempts import Attempts

from . import delivering, routing, watching
from .senders import send_ping

logger = logging.getLogger(__name__)

LOOK_EVERY = 2.0  # seconds between two looks for notices and messages that are due
WATCH_EVERY = 10.0  # seconds between two looks at protection and work
AUDIT_EVERY = 60.0  # seconds between two looks at the audit trail
SENDERS = 4  # messages that one process sends at a time
ASLEEP = 30.0  # seconds without being woken after which the database connection is closed


class Notifier:
    """Does its work while it is woken once a second by the holder of the ticker's lease."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._attempts = Attempts(logger)
        self._due: dict[str, float] = {}
        self._sending: dict[int | None, threading.Thread] = {}
        self._pinging: threading.Thread | None = None
        self._ping_failed = False

    def wake(self) -> None:
        """Have the thread look for work; start it the first time. Does not wait."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)
            self._thread.start()
        self._woken.set()

    def stop(self) -> None:
        """End the thread. What is being sent is finished, or repeated by another process."""
        self._stopped = True
        self._woken.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopped:
            if not self._woken.wait(ASLEEP):
                connection.close()
                continue
            self._woken.clear()
            close_old_connections()
            self.look()
        connection.close()

    def look(self) -> None:
        """Do what is due."""
        if self._is_due("watch", WATCH_EVERY):
            self._attempts.run("looking at protection", watching.look_at_protection)
            self._attempts.run("looking at work", self._look_at_work)
        if self._is_due("audit", AUDIT_EVERY):
            self._attempts.run("looking at the audit trail", watching.look_at_audit)
        if self._is_due("look", LOOK_EVERY):
            self._attempts.run("routing notices", routing.route)
            self._attempts.run("delivering messages", self._deliver)

    def _is_due(self, name: str, interval: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(name, now):
            return False
        self._due[name] = now + interval
        return True

    def _deliver(self) -> None:
        self._sending = {key: each for key, each in self._sending.items() if each.is_alive()}
        # the messages of a receiver that hangs must not fill the list
        busy = [key for key in self._sending if key is not None and key > 0]
        for pk, channel in delivering.due(10 * SENDERS, but_of=busy):
            if len(self._sending) >= SENDERS:
                return
            key = channel or -pk  # a ping has no channel: no other waits for it
            if key in self._sending:
                continue
            sender = threading.Thread(target=self._send, args=(pk,), name="sender", daemon=True)
            self._sending[key] = sender
            sender.start()

    def _send(self, pk: int) -> None:
        try:
            delivering.deliver(pk)
        except Exception:
            logger.exception("delivering a message failed")
        finally:
            connection.close()

    def _look_at_work(self) -> None:
        found = work.troubles()
        watching.look_at_work([each for each in found if each.kind != "instance"])
        failed = bool(found)
        if settings.PING_URL and (
            failed != self._ping_failed or self._is_due("ping", settings.PING_INTERVAL)
        ):
            self._ping(watching.words(found) if found else "")
            self._ping_failed = failed

    def _ping(self, trouble: str) -> None:
        """Request PING_URL in a thread of its own, unless the last request still hangs."""
        if self._pinging is not None and self._pinging.is_alive():
            return
        self._pinging = threading.Thread(
            target=self._request_ping, args=(trouble,), name="ping", daemon=True
        )
        self._pinging.start()

    def _request_ping(self, trouble: str) -> None:
        result = send_ping(settings.PING_URL, failed=bool(trouble), text=trouble, trusted=True)
        if result.error:
            logger.warning("the ping failed: %s", result.error)
