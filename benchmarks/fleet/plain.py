"""Plain Celery: a task makes the calls, and django-celery-results stores a row when it ends."""

from __future__ import annotations

import os
import time
from pathlib import Path

import django
from celery import Celery
from django.conf import settings

from .peers import Cloud

django.setup()

app = Celery("plain", broker=settings.CELERY_BROKER_URL, backend="django-db")
app.conf.update(task_default_queue="plain", worker_prefetch_multiplier=1)
_clouds: list[Cloud] = []


@app.task
def collect(cluster: str) -> None:
    """Make the calls of one run."""
    if not _clouds:
        _clouds.append(Cloud(Path(os.environ["OS_CLIENT_CONFIG_FILE"])))
    _clouds[0].whole(cluster)


@app.task(ignore_result=True)
def started(path: str) -> None:
    """Write down when it started."""
    at = time.time()
    new = Path(f"{path}.new")
    new.write_text(repr(at))
    new.replace(path)
