"""Lock that allows one instance for each DATA_DIR, and lookup of the running instance."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from dashboard.environment import FALSE, clean

from .console import StartError

LOCK_NAME = "run.lock"
LET_GO_SECONDS = 20.0  # longer than the guard needs to clean up after a killed supervisor
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Running:
    """Content of the lock file: the instance that holds the lock.

    Attributes:
        pid: process id of `manage.py run`.
        url: URL of its first page.
        clouds_file: path of the simulator's clouds.yaml; "" if real clouds are configured.
    """

    pid: int
    url: str
    clouds_file: str = ""


class InstanceLock:
    """Lock that is held while the instance runs.

    The kernel releases it when the last process that inherited it ends.
    """

    def __init__(self, data_dir: Path) -> None:
        """Acquire the lock, waiting for the clean-up of an instance that was killed.

        Raises:
            StartError: another instance or process holds the lock.
        """
        self._path = data_dir / LOCK_NAME
        self.fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + LET_GO_SECONDS
        while not self._try():
            holder = read(data_dir)
            if holder and _lives(holder.pid):
                os.close(self.fd)
                raise StartError(
                    f"already running at {holder.url} (process {holder.pid}, data in {data_dir}); "
                    "a second instance needs its own DATA_DIR and PORT"
                )
            if time.monotonic() > deadline:
                os.close(self.fd)
                raise StartError(f"{self._path} is locked by another process")
            time.sleep(POLL_SECONDS)

    def _try(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def write(self, running: Running) -> None:
        """Record the holder in the lock file."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, json.dumps(asdict(running)).encode() + b"\n", 0)

    def release(self) -> None:
        """Release the lock but keep the file; without it, two instances could lock two files."""
        os.close(self.fd)


def _lives(pid: int) -> bool:
    """Return True if the process is running; a zombie is not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def read(data_dir: Path) -> Running | None:
    """Return the content of the lock file, even if its writer has ended; None if unreadable."""
    try:
        return Running(**json.loads((data_dir / LOCK_NAME).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def running(data_dir: Path) -> Running | None:
    """Return the instance that currently runs on this DATA_DIR, or None."""
    found = read(data_dir)
    if found is None:
        return None
    try:
        with (data_dir / LOCK_NAME).open() as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return found
    except OSError:
        pass
    return None


def join(data_dir: Path, environ: MutableMapping[str, str]) -> None:
    """Make a command use the simulated cloud of the demo instance that runs on this DATA_DIR.

    Without this, `manage.py backup --all` in a second terminal would fail for lack of a
    clouds.yaml. OS_* variables take precedence over the demo, and DEMO_CLOUD over both.
    """
    choice = clean(environ.get("DEMO_CLOUD", "")).lower()
    real = any(name.startswith("OS_") for name in environ)
    if choice in FALSE or (real and not choice):
        return
    found = running(data_dir)
    if found and found.clouds_file:
        environ.update(demo_environment(Path(found.clouds_file)))


def demo_environment(clouds_file: Path) -> dict[str, str]:
    """Return the environment variables that make openstacksdk use only the simulator."""
    return {
        "DEMO_CLOUD": "1",
        "OS_CLIENT_CONFIG_FILE": str(clouds_file),
        # Otherwise openstacksdk would merge in the clouds of the user's own secure.yaml.
        "OS_CLIENT_SECURE_FILE": str(clouds_file.with_name("secure.yaml")),
    }
