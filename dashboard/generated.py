"""Secrets the product makes for itself, kept in DATA_DIR and readable by its owner only."""

from __future__ import annotations

import os
import pwd
import secrets
from pathlib import Path

from .environment import env


def data_dir() -> Path:
    """The folder of all that this instance writes: `DATA_DIR`, by default `var/` here."""
    configured = env.str("DATA_DIR", "") or str(Path(__file__).resolve().parent.parent / "var")
    try:
        return Path(configured).expanduser().resolve()
    except (
        OSError,
        RuntimeError,
    ):  # unknown user, or a symlink loop: see `storage_problem`
        return Path(configured)


def storage_problem(folder: Path) -> str:
    """Why an instance cannot keep its files in a folder, "" where it can."""
    place = folder
    while not os.path.exists(place) and place != place.parent:  # noqa: PTH110 - never raises
        place = place.parent
    if not place.is_dir():
        return f"{place} is not a folder"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"this user cannot write to {place}"
    for name in ("db.sqlite3", "secret_key", "audit_signing_key"):
        wanted = os.R_OK | (os.W_OK if name == "db.sqlite3" else 0)
        if os.path.exists(folder / name) and not os.access(folder / name, wanted):  # noqa: PTH110
            return f"{folder / name} belongs to another user"
    return ""


def refuse_root(folder: Path) -> None:
    """End a command that root runs in another user's folder.

    What it makes there, such as SQLite's journal or a secret, would be root's, and the service
    could no longer write or read it.

    Args:
        folder: DATA_DIR.

    Raises:
        SystemExit: with the command to use instead.
    """
    if os.geteuid() != 0 or not folder.is_dir() or (owner := folder.stat().st_uid) == 0:
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:  # a user of another machine, or of a container
        name = f"'#{owner}'"
    raise SystemExit(
        f"{folder} belongs to {name}, who could not use files that root creates there. "
        f"Run the command as that user: sudo -u {name} …"
    )


def generated_secret(path: Path, *, nbytes: int = 48) -> str:
    """Read the secret in `path`, making it first where there is none.

    Args:
        path: the file; it is created with mode 0600, its folder with mode 0700.
        nbytes: bytes of randomness in a new secret.

    Returns:
        The secret, the same one for every process that asks: the first writer wins.

    Raises:
        OSError: the file can be neither read nor made.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(secrets.token_urlsafe(nbytes))
        try:
            os.link(draft, path)  # fails where another process was first: then its secret counts
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
