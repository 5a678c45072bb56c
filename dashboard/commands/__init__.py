"""What all management commands have in common: exit statuses, refused texts, who runs them."""

from __future__ import annotations

import getpass
import os
from enum import IntEnum
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error


class Exit(IntEnum):
    """Exit statuses; docs/command-line.md has their table."""

    DONE = 0
    NOT_WELL = 1  # done, and the result is bad, or it cannot be done now
    USAGE = 2  # as argparse; nothing was done
    LATE = 3  # the time ran out, or another process does it
    DATABASE = 4
    INTERRUPTED = 130  # as shells report SIGINT
    PIPE_CLOSED = 141  # as shells report SIGPIPE


def usage_error(text: str) -> CommandError:
    """The error for an argument that cannot be used; nothing was done."""
    return CommandError(text, returncode=Exit.USAGE)


class DatabaseCommand(BaseCommand):
    """Command with a separate exit status for an unusable database.

    Otherwise an unreachable database would cause a traceback and status 1, which has another
    meaning for most commands: “broken” for `audit_verify`, “not verified” for `backup`.
    """

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command.

        Raises:
            CommandError: an argument is not valid text (status 2), or the database cannot be
                reached or used (status 4).
        """
        _refuse_unstorable(options)
        try:
            return super().execute(*args, **options)
        except Error as error:
            why = " ".join(str(error).split())[:300]
            raise CommandError(
                f"the database is not usable: {why}", returncode=Exit.DATABASE
            ) from error


def shell_user() -> str:
    """The operating system's user, as the history and the audit trail name a command."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's uid without an entry in /etc/passwd
        name = f"uid {os.getuid()}"
    return f"{name} (command line)"


def _refuse_unstorable(options: dict[str, Any]) -> None:
    for name, value in options.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not _is_storable(text):
                raise usage_error(f"{name}: not valid UTF-8 without NUL characters")


def _is_storable(text: str) -> bool:
    try:
        text.encode()  # bytes that are no UTF-8 arrive as surrogates
    except UnicodeEncodeError:
        return False
    return "\0" not in text
