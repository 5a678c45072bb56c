"""The correlation id, from a web request through the messages that it queues to their tasks.

`RequestIdMiddleware` sets it; log lines carry it (dashboard/logs.py).
"""

from __future__ import annotations

import re
from typing import Any

from celery import signals
from structlog.contextvars import bind_contextvars, get_contextvars, unbind_contextvars

HEADER = "css_correlation_id"  # of a message
# Ids of work that no request started: a client with one could add lines to the log of that work.
OWN = re.compile(r"batch-\d+", re.ASCII)


def connect() -> None:
    """Connect to Celery's signals."""
    signals.before_task_publish.connect(_send_along, weak=False)
    signals.task_prerun.connect(_take_over, weak=False)
    signals.task_postrun.connect(_leave_behind, weak=False)


def current() -> str:
    """Return the correlation id of this request or task, "" without one."""
    return str(get_contextvars().get("correlation_id", ""))


def in_task() -> bool:
    """Return whether a task is running here; its correlation id came with its message."""
    return bool(get_contextvars().get("task"))


def _send_along(headers: dict[str, Any] | None = None, **_: object) -> None:
    if headers is not None and (found := current()):
        headers[HEADER] = found


def _take_over(task: Any = None, task_id: str = "", **_: object) -> None:
    given = getattr(task.request, HEADER, None)
    bind_contextvars(task=task.name, task_id=task_id, correlation_id=given or "")


def _leave_behind(**_: object) -> None:
    # the thread goes on to another task
    unbind_contextvars("task", "task_id", "correlation_id")
