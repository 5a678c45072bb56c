"""One instance for each DATA_DIR, and how a command in another terminal joins it."""

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
LET_GO_SECONDS = 20.0  # longer than the guard takes to clean up after a killed supervisor
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Running:
    """What the lock file says about the instance that holds it.

    Attributes:
        pid: process id of `manage.py run`.
        url: its first page.
        clouds_file: the simulator's clouds.yaml, "" where real clouds are configured.
    """

    pid: int
    url: str
    clouds_file: str = ""


class InstanceLock:
    """Held from start to end; the kernel lets go of it when the last holder is gone."""

    def __init__(self, data_dir: Path) -> None:
        """Take the lock.

        Raises:
            StartError: another instance has it. One that was killed and is still being cleaned up
                is waited for.
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
        """Say who holds the lock."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, json.dumps(asdict(running)).encode() + b"\n", 0)

    def release(self) -> None:
        """Let go; the file stays, since removing it would let two instances lock two files."""
        os.close(self.fd)


def _lives(pid: int) -> bool:
    """Whether a process runs; one that was killed and not yet waited for does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def read(data_dir: Path) -> Running | None:
    """What the lock file says, whether its writer lives or not; None where it says nothing."""
    try:
        return Running(**json.loads((data_dir / LOCK_NAME).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def running(data_dir: Path) -> Running | None:
    """The instance that runs on this DATA_DIR now, or None."""
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
    """Have a command meet the same clouds as the demo instance that runs on this DATA_DIR.

    Without this, `manage.py backup --all` in a second terminal would look for a clouds.yaml that
    a newcomer does not have. OS_* variables go first, and DEMO_CLOUD goes before those.
    """
    choice = clean(environ.get("DEMO_CLOUD", "")).lower()
    real = any(name.startswith("OS_") for name in environ)
    if choice in FALSE or (real and not choice):
        return
    found = running(data_dir)
    if found and found.clouds_file:
        environ.update(demo_environment(Path(found.clouds_file)))


def demo_environment(clouds_file: Path) -> dict[str, str]:
    """What leads openstacksdk to the simulator and to nothing else."""
    return {
        "DEMO_CLOUD": "1",
        "OS_CLIENT_CONFIG_FILE": str(clouds_file),
        # Without it a secure.yaml of the user's would be merged in, and its clouds with it.
        "OS_CLIENT_SECURE_FILE": str(clouds_file.with_name("secure.yaml")),
    }
