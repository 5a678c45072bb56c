"""Child processes that are killed and started again, and that nothing leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from dashboard.local_run import guard as guard_script
from dashboard.local_run.supervisor import Program, tail

POLL_SECONDS = 0.05


class StackError(Exception):
    """Something of the stack did not start; the text is for the person at the terminal."""


class Guard:
    """dashboard/local_run/guard.py as a process: it ends our children when we are killed.

    The supervisor's own `Guard` registers a child between fork and exec, which is safe only in a
    process with one thread. Here there are many, so a child is registered directly after it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        reading, self._pipe = os.pipe()  # neither end is inheritable: only this process can write
        script = str(Path(guard_script.__file__).resolve())
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", script], stdin=reading, start_new_session=True
        )
        os.close(reading)

    def started(self, group: int) -> None:
        self._tell(b"+%d\n" % group)

    def gone(self, group: int) -> None:
        self._tell(b"-%d\n" % group)

    def _tell(self, line: bytes) -> None:
        with self._lock:
            os.write(self._pipe, line)

    def close(self) -> None:
        """Let it end what is left, and then itself."""
        os.close(self._pipe)
        self._process.wait()


class Process:
    """One program, started and stopped any number of times, with one log file for all its lives.

    Args:
        program: what to run.
        logs: folder of the log file.
        guard: is told of every life.
        user: run as this user; None: as ourselves.
    """

    def __init__(
        self, program: Program, logs: Path, guard: Guard, *, user: str | None = None
    ) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        self.pids: list[int] = []
        self._guard = guard
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        """Start it; returns its process id. Raises OSError."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                list(self.program.command),
                env=dict(self.program.environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=self.program.inherit,
                start_new_session=True,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
            )
        self._guard.started(self._process.pid)
        self.pids.append(self._process.pid)
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def send(self, number: int) -> None:
        """Send a signal to the program itself, if it lives."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL the program and all that it has started."""
        if self._process is not None:
            guard_script.send(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._guard.gone(self._process.pid)
            self._process = None

    def stop(self, number: int = signal.SIGTERM) -> bool:
        """Ask it to end, kill it after the program's grace; returns whether that was not needed."""
        if self._process is None:
            return True
        self.send(number)
        in_time = until(lambda: not self.alive, self.program.grace)
        self.kill()
        return in_time

    def fail(self, why: str) -> StackError:
        """An error that shows the end of the log."""
        return StackError(f"{self.program.name}: {why}\n{tail(self.log)}")


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition for at most `seconds`; returns whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def clean_environment() -> dict[str, str]:
    """This process's environment without anything that configures the product."""
    named = {"DATA_DIR", "PORT", "HOST", "DEMO_CLOUD", "DEPLOYMENT", "DEBUG", "HTTPS"}
    named |= {"ALLOWED_HOSTS", "STATIC_ROOT", "COOKIE_SUFFIX", "DJANGO_SETTINGS_MODULE"}
    product = ("BACKUP_", "CSS_", "HEARTBEAT_", "DATABASE_", "REDIS_", "SECRET_KEY")
    prefixes = (*product, "OS_", "PYTEST_")
    return {
        name: value
        for name, value in os.environ.items()
        if name not in named and not name.startswith(prefixes)
    }
