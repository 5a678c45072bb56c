from __future__ import annotations

from celery import signals as celery_signals
from django.apps import AppConfig
from django.db.models.signals import post_migrate

from dashboard.apps import serving


class BackupsConfig(AppConfig):
    name = "backups"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import instance
        from .guards import BEGINNINGS, CHANGES, GUARDS
        from .lists.text_search import create_search_table
        from .services.clusters import scope

        GUARDS.connect(self)
        BEGINNINGS.connect(self)
        CHANGES.connect(self)
        post_migrate.connect(scope.add_missing, sender=self)
        post_migrate.connect(create_search_table, sender=self)
        serving.connect(lambda **_: instance.serve(), weak=False)
        celery_signals.celeryd_init.connect(_belong_to_an_instance, weak=False)


def _belong_to_an_instance(**_: object) -> None:
    from .worker import belong_to_an_instance

    belong_to_an_instance()
