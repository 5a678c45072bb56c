"""Schedules for tests: due when the test says so, whatever the time of the day is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from backups.models import Project, Schedule
from dashboard.accounts.models import User


def make_schedule(
    owner: User, *projects: Project, due: timedelta | None, **columns: Any
) -> Schedule:
    """Store a daily schedule of all clusters.

    Args:
        owner: with whose permissions it fires.
        projects: of its clusters, as it would have stored them.
        due: how long ago its next slot was; negative: in the future; None: paused.
        columns: others than usual.
    """
    now = timezone.now().replace(microsecond=0)
    slot = None if due is None else now - due
    values = {
        "name": "nightly",
        "interval": 86_400,
        "anchor": slot or now,
        "owner": owner,
        "owner_name": owner.get_username(),
        "is_on": slot is not None,
        "next_slot": slot,
        "next_at": slot,
        "planned_at": now - timedelta(days=2),
        "query": "show=present",
    }
    schedule = Schedule.objects.create(**values | columns)
    schedule.projects.set(projects)
    return schedule
