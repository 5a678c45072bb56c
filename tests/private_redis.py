"""A private Redis, as the product starts one, that a test can stop and start."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from dashboard.local_run.redis import answers, command, find_server

START_SECONDS = 10.0


class PrivateRedis:
    """A context manager; it keeps nothing over a stop."""

    def __init__(self, folder: Path, socket_path: Path) -> None:
        self._folder = folder
        self.socket_path = socket_path
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PrivateRedis:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            command(find_server(), self.socket_path, self._folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.socket_path):
            assert self._process.poll() is None, "redis-server did not start"
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
