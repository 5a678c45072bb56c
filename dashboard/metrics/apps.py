from __future__ import annotations

from celery import signals
from django.apps import AppConfig


class MetricsConfig(AppConfig):
    name = "dashboard.metrics"
    label = "metrics"

    def ready(self) -> None:
        from . import counters

        signals.worker_ready.connect(counters.start_adding, weak=False)
        signals.worker_shutdown.connect(counters.stop_adding, weak=False)
        signals.task_prerun.connect(counters.task_begins, weak=False)
        signals.task_postrun.connect(counters.task_ended, weak=False)
