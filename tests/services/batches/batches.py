"""Steps of the tests of batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from django.http import QueryDict
from django.utils import timezone

from backups.choices import RunState, Trigger
from backups.models import BackupRun, Batch, Cluster
from backups.services.batches import selecting
from backups.services.batches.selecting import of_filter
from backups.services.runs.requests import Requester
from backups.services.runs.transitions import transition
from dashboard.accounts.models import User

numbers = itertools.count(1)
Make = Callable[..., list[Cluster]]

VERIFIED = (RunState.SENDING, RunState.ACCEPTED, RunState.SUCCEEDED)
REFUSED = (RunState.SENDING, RunState.REJECTED)


def asked_by(user: User, **more: Any) -> Requester:
    return Requester(user.get_username(), Trigger.BULK, user=user, **more)


def everything(user: User) -> selecting.Selection:
    return of_filter(QueryDict(), user)[0]


def states(batch: Batch) -> list[str]:
    return list(batch.items.order_by("pk").values_list("state", flat=True))


def end(run: BackupRun, *steps: RunState, **columns: Any) -> None:
    for step in steps:
        if run.run_state is RunState.QUEUED and step is RunState.SENDING:
            BackupRun.objects.filter(pk=run.pk).update(state=step, sent_at=timezone.now())
            run.refresh_from_db()
        else:
            assert transition(run, step, actor="test", **columns)
