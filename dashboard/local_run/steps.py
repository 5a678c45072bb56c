"""Steps of each start: system checks, migrations, static files, the first account."""

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
    """Run the project's system checks.

    Raises:
        StartError: a check failed; the message lists the errors and how to fix them.
    """
    if found := problems():
        raise StartError("\n       ".join(found))


def migrate() -> None:
    """Apply all migrations.

    Raises:
        StartError: the database is not usable.
    """
    try:
        call_command("migrate", verbosity=0, interactive=False)
    except DatabaseError as error:
        reason = str(error).strip().partition("\n")[0]
        raise StartError(f"the database is not usable: {reason}") from error
    finally:
        connection.close()


def collect_static() -> None:
    """Collect the static files unless they are unchanged since the last start."""
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
    """Create the account `admin` with a generated password if there is no superuser.

    The password is stored in DATA_DIR/admin_password (mode 0600). An existing `admin` account that
    is not a superuser is not changed.

    Returns:
        The password in that file, or "" if there is none or it is not the account's password.
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
