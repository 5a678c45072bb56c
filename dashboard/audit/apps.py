from __future__ import annotations

from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "dashboard.audit"
    label = "audit"

    def ready(self) -> None:
        from . import sign_in  # noqa: F401 - importing connects the signals
        from .guards import GUARDS

        GUARDS.connect(self)
