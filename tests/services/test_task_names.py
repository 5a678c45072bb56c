"""Tasks are published by their names: each name has its task."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings

from backups.services import dispatch
from dashboard.celery import app


def test_every_name_that_is_published_has_a_task() -> None:
    app.loader.import_default_modules()
    source = Path(dispatch.__file__).read_text()
    names = {f"backups.tasks.{name}" for name in re.findall(r'_publish\("(\w+)"', source)}
    assert len(names) == source.count("_publish(") - 1
    assert names | {task for task, _ in settings.PERIODIC_TASKS.values()} <= set(app.tasks)
