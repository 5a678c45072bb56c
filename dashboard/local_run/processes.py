"""Child processes: each in a process group of its own, known to the guard, with a log file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import guard

POLL_SECONDS = 0.02
TAIL_LINES = 20
TAIL_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Program:
    """A program to keep running.

    Attributes:
        name: names it on the console and its log file.
        command: the argument list.
        environ: its whole environment.
        grace: seconds between SIGTERM and SIGKILL.
        inherit: file descriptors that it takes over.
    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    grace: float = 10.0
    inherit: tuple[int, ...] = ()


class Guard:
    """The supervisor's end of the guard process; guard.py tells what that does."""

    def __init__(self, lock_fd: int) -> None:
        self._lock_fd = lock_fd
        self._groups: set[int] = set()
        self._start()

    def _start(self) -> None:
        reading, self._pipe = os.pipe()  # neither end is inheritable: only this process can write
        script = str(Path(guard.__file__).resolve())
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", script],
                stdin=reading,
                pass_fds=(self._lock_fd,),
                start_new_session=True,
            )
        finally:
            os.close(reading)
        for group in self._groups:
            os.write(self._pipe, b"+%d\n" % group)

    def register_self(self) -> None:
        """Called in a child between fork and exec: no moment is left in which nobody knows it."""
        os.write(self._pipe, b"+%d\n" % os.getpid())

    def started(self, group: int) -> None:
        self._groups.add(group)

    def gone(self, group: int) -> None:
        self._groups.discard(group)
        try:
            os.write(self._pipe, b"-%d\n" % group)
        except BrokenPipeError:
            self.keep_alive()

    def keep_alive(self) -> None:
        """Start the guard again where somebody killed it."""
        if self._process.poll() is not None:
            os.close(self._pipe)
            self._start()

    def close(self) -> None:
        """Let the guard go; it ends what is left, and then itself."""
        os.close(self._pipe)
        self._process.wait()


@dataclass(slots=True)
class Child:
    """A running program.

    Attributes:
        started_at: on the monotonic clock, seconds.
        log: its file.
    """

    program: Program
    guard: Guard
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)
    started_at: float = field(init=False)

    def start(self) -> None:
        """Start the program, appending to its log. Raises OSError."""
        self.started_at = time.monotonic()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                list(self.program.command),
                env=dict(self.program.environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=self.program.inherit,
                start_new_session=True,
                # The supervisor has one thread, so nothing can hold a lock across this fork.
                preexec_fn=self.guard.register_self,
            )
        self.guard.started(self.process.pid)

    def exit_status(self) -> int | None:
        """None while it runs; below 0: the signal that ended it."""
        return self.process.poll()

    def terminate(self) -> None:
        """Ask the leader to end: it tells the others of its group, in its own order."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def wait(self) -> bool:
        """Wait for the end for `grace` seconds, then kill; returns whether that was not needed."""
        deadline = time.monotonic() + self.program.grace
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        in_time = self.process.poll() is not None
        self.kill_group()
        return in_time

    def kill_group(self) -> None:
        """End whoever is left of the group at once, and tell the guard that it is gone."""
        guard.send(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.guard.gone(self.process.pid)


def rotate(log: Path) -> None:
    """Begin a new log file and keep the one before it as NAME.log.1."""
    if log.exists() and log.stat().st_size:
        log.replace(log.with_name(f"{log.name}.1"))


def tail(log: Path) -> str:
    """The last lines of a log file, "" where there is none."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = handle.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-TAIL_LINES:])


def describe_exit(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


PYTHON = sys.executable
WORKER_THREADS = 20  # a run mostly waits for the cloud; a thread costs next to nothing
WORKER_GRACE = 20.0  # seconds for what is in flight; the sweeper settles what is cut


def web(environ: Mapping[str, str], listener: int) -> Program:
    """gunicorn on a socket that is listening already."""
    arguments = ("-m", "gunicorn", "-c", "python:dashboard.gunicorn", "--bind", f"fd://{listener}")
    return Program("web", (PYTHON, *arguments), environ, inherit=(listener,))


def worker(environ: Mapping[str, str], port: int) -> Program:
    """The Celery worker; the port keeps apart two instances of one machine on one broker."""
    arguments = ("--pool", "threads", "-c", str(WORKER_THREADS), "-n", f"worker-{port}@%h")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO")
    command = (PYTHON, "-m", "celery", "-A", "dashboard", "worker", *arguments, *quiet)
    return Program("worker", command, environ, grace=WORKER_GRACE)


def sync(environ: Mapping[str, str], manage: Path) -> Program:
    """Registers the clusters; ends by itself."""
    return Program("sync", (PYTHON, str(manage), "sync_clusters"), environ, grace=2.0)
