"""Three groups that the history separates: what needs somebody, what is under way, what is done."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from backups.choices import RunState


class Group(TextChoices):
    """A tab of the history."""

    ATTENTION = "attention", _("Failed and needs attention")
    ACTIVE = "active", _("In progress")
    DONE = "done", _("Done")

    @property
    def states(self) -> frozenset[RunState]:
        """The states in it. UNKNOWN is under way and needs somebody's eye: it is in two."""
        return _STATES[self]


_STATES: dict[Group, frozenset[RunState]] = {
    Group.ATTENTION: frozenset(
        {
            RunState.REJECTED,
            RunState.FAILED,
            RunState.UNKNOWN,
            RunState.UNVERIFIED,
            RunState.NOT_STARTED,
        }
    ),
    Group.ACTIVE: frozenset(
        {RunState.QUEUED, RunState.SENDING, RunState.ACCEPTED, RunState.UNKNOWN}
    ),
    Group.DONE: frozenset({RunState.SUCCEEDED, RunState.CANCELLED}),
}
