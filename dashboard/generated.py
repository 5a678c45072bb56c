"""DATA_DIR and the generated secrets in it, which only its owner can read."""

from __future__ import annotations

import os
import pwd
import secrets
from pathlib import Path

from .environment import env


def data_dir() -> Path:
    """Return the folder for all files of this instance: `DATA_DIR`, by default `var/`."""
    configured = env.str("DATA_DIR", "") or str(Path(__file__).resolve().parent.parent / "var")
    try:
        return Path(configured).expanduser().resolve()
    except (
        OSError,
        RuntimeError,
    ):  # unknown user or symlink loop; `storage_problem` reports it
        return Path(configured)


def storage_problem(folder: Path) -> str:
    """Return why an instance cannot store its files in a folder, or "" if it can."""
    place = folder
    while not os.path.exists(place) and place != place.parent:  # noqa: PTH110 - never raises
        place = place.parent
    if not place.is_dir():
        return f"{place} is not a folder"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"this user cannot write to {place}"
    for name in ("db.sqlite3", "secret_key", "audit_signing_key", "channel_key"):
        wanted = os.R_OK | (os.W_OK if name == "db.sqlite3" else 0)
        if os.path.exists(folder / name) and not os.access(folder / name, wanted):  # noqa: PTH110
            return f"{folder / name} belongs to another user"
    return ""


def refuse_root(folder: Path) -> None:
    """Refuse to run a command as root in another user's data folder.

    Files created there, such as SQLite's journal or a secret, would belong to root, and the service
    could not read or write them.

    Args:
        folder: DATA_DIR.

    Raises:
        SystemExit: the message contains the command to use instead.
    """
    if os.geteuid() != 0 or not folder.is_dir() or (owner := folder.stat().st_uid) == 0:
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:  # the user exists only on another machine or in a container
        name = f"'#{owner}'"
    raise SystemExit(
        f"{folder} belongs to {name}, who could not use files that root creates there. "
        f"Run the command as that user: sudo -u {name} …"
    )


def generated_secret(path: Path, *, nbytes: int = 48) -> str:
    """Read the secret in `path`; generate it first if the file does not exist.

    Args:
        path: path of the file. It is created with mode 0600, its folder with mode 0700.
        nbytes: bytes of randomness in a new secret.

    Returns:
        The secret. All processes get the same one: the first writer wins.

    Raises:
        OSError: the file cannot be read or created.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(secrets.token_urlsafe(nbytes))
        try:
            os.link(draft, path)  # fails if another process was first; then its secret is used
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
