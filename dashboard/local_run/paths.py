"""Where an instance keeps what its processes share."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

# sun_path is 104 bytes on macOS and the BSDs, 108 on Linux, and ends with a NUL.
LONGEST_SOCKET_PATH = 103


def redis_socket(data_dir: Path) -> Path:
    """The private Redis's unix socket: the same for every process that has this DATA_DIR.

    It is in `data_dir`, or, where that path is too long for a socket, in a folder of this user's
    in the system's temporary folder.
    """
    inside = data_dir / "redis.sock"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    name = Path(f"css-log-backup-{os.getuid()}-{digest}", "redis.sock")
    inside = Path(tempfile.gettempdir()) / name
    return inside if len(os.fsencode(inside)) <= LONGEST_SOCKET_PATH else Path("/tmp") / name  # noqa: S108


def make_private(folder: Path) -> None:
    """Make a folder that only this user can enter.

    Raises:
        OSError: it cannot be made, or it is there and belongs to someone else: a name in /tmp can
            be guessed, and whoever owns the folder owns the broker.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or folder.is_symlink():
        raise PermissionError(f"{folder} belongs to another user")
    if found.st_mode & 0o077:
        folder.chmod(0o700)


class StartError(Exception):
    """The text is one line for the person at the terminal: what is wrong and what to do."""
