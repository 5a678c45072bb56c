from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class BackupsConfig(AppConfig):
    name = "backups"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .guards import GUARDS
        from .lists.history.trigrams import keep

        GUARDS.connect(self)
        post_migrate.connect(keep, sender=self)
