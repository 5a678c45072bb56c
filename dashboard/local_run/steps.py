"""What is done once at each start: checks, tables, static files, the first account."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import DatabaseError, connection

from dashboard.checks import problems
from dashboard.generated import generated_secret

from .console import StartError

ADMIN = "admin"
PASSWORD_FILE = "admin_password"  # noqa: S105 - a file's name
PASSWORD_BYTES = 15  # 120 bits in 20 characters


def check() -> None:
    """Run the project's system checks. Raises StartError with the errors and what to set."""
    if found := problems():
        raise StartError("\n       ".join(found))


def migrate() -> None:
    """Bring the tables up to date, or make them. Raises StartError."""
    try:
        call_command("migrate", verbosity=0, interactive=False)
    except DatabaseError as error:
        reason = str(error).strip().partition("\n")[0]
        raise StartError(f"the database is not usable: {reason}") from error
    finally:
        connection.close()


def collect_static() -> None:
    """Collect the static files, unless they are those of the last time."""
    stamp = Path(settings.STATIC_ROOT, ".collected")
    current = _static_fingerprint()
    if stamp.exists() and stamp.read_text() == current:
        return
    call_command("collectstatic", verbosity=0, interactive=False, clear=True, stdout=io.StringIO())
    stamp.write_text(current)


def _static_fingerprint() -> str:
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            found = Path(storage.path(name)).stat()
            digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def admin_sign_in() -> str:
    """Make the account `admin` with a generated password where no superuser exists.

    The password is kept in DATA_DIR/admin_password (mode 0600). Who has made an account of their
    own gets none, and an `admin` that is no superuser is left as it is.

    Returns:
        The password in that file, or "" where it is not, or no longer, the right one.
    """
    users = get_user_model()
    try:
        admin = users.objects.filter(username=ADMIN).first()
        if admin is None and not users.objects.filter(is_superuser=True).exists():
            password = generated_secret(_password_file(), nbytes=PASSWORD_BYTES)
            users.objects.create_superuser(ADMIN, password=password)
            return password
        if admin is None or not admin.is_active or not _password_file().exists():
            return ""
        password = _password_file().read_text().strip()
        return password if admin.check_password(password) else ""
    finally:
        connection.close()


def _password_file() -> Path:
    return Path(settings.DATA_DIR, PASSWORD_FILE)
