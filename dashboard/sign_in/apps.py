from __future__ import annotations

from django.apps import AppConfig


class SignInConfig(AppConfig):
    name = "dashboard.sign_in"
    label = "sign_in"

    def ready(self) -> None:
        from . import checks, sessions  # noqa: F401 - importing registers them
