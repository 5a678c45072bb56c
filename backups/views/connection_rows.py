"""A row of the connections page: its state in words, and what may be done with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy, ngettext

from backups.choices import ConnectionFault, SyncStep
from backups.guide import CONNECTION_FAULTS, ENTRY_LEFT, Explanation
from backups.models import Connection
from backups.services.connections.manage import Entry
from dashboard.accounts.access import Permission, may
from dashboard.accounts.models import User

from .presentation import Look


@dataclass(frozen=True, slots=True)
class State:
    """How a connection fares: its word and its look."""

    label: str | Promise
    look: Look


_NOT_CONNECTED = State(gettext_lazy("Not connected"), Look("muted", "minus-circle"))
_DISCONNECTED = State(gettext_lazy("Disconnected"), Look("muted", "pause-circle"))
_LEFT_STATE = State(gettext_lazy("No longer in clouds.yaml"), Look("warn", "exclamation-triangle"))
_NEVER_REACHED = State(gettext_lazy("Never reached"), Look("bad", "exclamation-circle"))
_FAILING = State(gettext_lazy("Synchronisation failed"), Look("bad", "exclamation-circle"))
_CONNECTED = State(gettext_lazy("Connected"), Look("ok", "check-circle"))
_NEW = State(gettext_lazy("Not yet synchronised"), Look("muted", "clock"))


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """An entry as the page shows it.

    Attributes:
        entry: the entry of clouds.yaml in one region.
        may_run: whether the user may have it synchronised.
        may_configure: whether the user may test, connect and disconnect it.
    """

    entry: Entry
    may_run: bool
    may_configure: bool

    @property
    def connection(self) -> Connection | None:
        return self.entry.connection

    @property
    def is_busy(self) -> bool:
        return self.connection is not None and bool(self.connection.sync_step)

    @property
    def state(self) -> State:
        """The one word for it."""
        row = self.connection
        if row is None:
            return _NOT_CONNECTED
        if row.disconnected_at is not None:
            return _DISCONNECTED
        if row.sync_step:
            icon = "clock" if row.sync_step == SyncStep.WAITING else "arrow-path"
            return State(SyncStep(row.sync_step).label, Look("busy", icon))
        if not self.entry.configured:
            return _LEFT_STATE
        if row.sync_error:
            return _FAILING if row.synced_at else _NEVER_REACHED
        return _CONNECTED if row.synced_at else _NEW

    @property
    def words(self) -> Explanation | None:
        """What is wrong, who acts and what to do; None where nothing is wrong."""
        row = self.connection
        if row is None or not self.entry.connected:
            return None
        if not self.entry.configured:
            return ENTRY_LEFT
        return CONNECTION_FAULTS.get(ConnectionFault(row.sync_fault)) if row.sync_error else None

    @property
    def said(self) -> str:
        """What is read aloud when it changes."""
        name = self.connection or self.entry.cloud
        text = f"{name}: {self.state.label}"
        if self.connection is not None and self.state is _CONNECTED:
            count = self.connection.listed
            text += " · " + ngettext("%(count)d cluster", "%(count)d clusters", count) % {
                "count": count
            }
        return text


def rows_of(entries: Iterable[Entry], user: User) -> list[ConnectionRow]:
    """The rows of a page, for who looks at it."""
    everything = may(user, Permission.CONFIGURE)
    return [
        ConnectionRow(
            entry,
            may_run=may(
                user, Permission.RUN, entry.connection.project if entry.connection else None
            ),
            may_configure=everything,
        )
        for entry in entries
    ]
