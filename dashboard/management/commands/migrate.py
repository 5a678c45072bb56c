"""``manage.py migrate``: Django's, after the checks of the settings.

Django's own checks open the database, and with settings that lead to none they end in a traceback
before they have told what is wrong.
"""

from __future__ import annotations

from typing import Any

from django.core.management.commands import migrate

from dashboard.checks import refuse_unsafe_start


class Command(migrate.Command):
    def check(self, *args: Any, **options: Any) -> None:
        """Refuse settings that cannot work, then do as Django does."""
        refuse_unsafe_start()
        super().check(*args, **options)
