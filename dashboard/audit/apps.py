from __future__ import annotations

from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "dashboard.audit"
    label = "audit"

    def ready(self) -> None:
        from .guards import GUARDS

        GUARDS.connect(self)
