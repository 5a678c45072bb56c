"""Encrypt the addresses of channels and pings with the current CHANNEL_KEY."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from backups.services.notifications.channels import rotate_key
from dashboard.commands import DatabaseCommand


class Command(DatabaseCommand):
    help = (
        "Encrypts the addresses of channels and pings with the current CHANNEL_KEY. Afterwards, "
        "CHANNEL_KEY_FALLBACKS is no longer needed. Exit status: 1 if an address cannot be read, 4 "
        "if the database cannot be used."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        done, unreadable = rotate_key()
        self.stdout.write(f"{done} encrypted with the current key.")
        if unreadable:
            names = ", ".join(unreadable)
            raise CommandError(f"None of the keys opens: {names}. Enter these addresses again.")
