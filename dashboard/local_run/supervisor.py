"""Supervisor: starts programs as child processes, restarts those that end, stops all in order.

Each child has a log file and its own process group, which is registered with the guard process.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from . import guard as guard_process
from .console import say

WAIT_SECONDS = 0.02  # polling interval for a child that is stopping
TAIL_LINES = 20
TAIL_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run as a child process.

    Attributes:
        name: name on the console and of the log file.
        command: argument list.
        environ: complete environment.
        grace: seconds between SIGTERM and SIGKILL.
        inherit: file descriptors that the program inherits.
    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    grace: float = 10.0
    inherit: tuple[int, ...] = ()


class Guard:
    """Client of the guard process; see guard.py."""

    def __init__(self, lock_fd: int) -> None:
        self._lock_fd = lock_fd
        self._groups: set[int] = set()
        self._start()

    def _start(self) -> None:
        reading, self._pipe = os.pipe()  # neither end is inheritable: only this process can write
        script = str(Path(guard_process.__file__).resolve())
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
        """Register the calling child, between fork and exec, so that no child goes unregistered."""
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
        """Restart the guard if it was killed."""
        if self._process.poll() is not None:
            os.close(self._pipe)
            self._start()

    def close(self) -> None:
        """Close the pipe and wait for the guard, which ends the remaining groups and exits."""
        os.close(self._pipe)
        self._process.wait()


@dataclass(slots=True)
class Child:
    """A running program.

    Attributes:
        program: what is run.
        guard: guard with which its process group is registered.
        log: log file.
        process: the child process.
        started_at: start time on the monotonic clock, in seconds.
    """

    program: Program
    guard: Guard
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)
    started_at: float = field(init=False)

    def start(self) -> None:
        """Start the program and append its output to the log.

        Raises:
            OSError: the program cannot be started or the log cannot be written.
        """
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
                # Safe: the supervisor has one thread, so no other can hold a lock during the fork.
                preexec_fn=self.guard.register_self,
            )
        self.guard.started(self.process.pid)

    def exit_status(self) -> int | None:
        """Return the exit status: None while running, negative for the signal that ended it."""
        return self.process.poll()

    def terminate(self) -> None:
        """Send SIGTERM to the group's leader, which stops its own children."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def wait(self) -> bool:
        """Wait up to `grace` seconds for the end, then kill the group.

        Returns:
            True if the program ended in time.
        """
        deadline = time.monotonic() + self.program.grace
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(WAIT_SECONDS)
        in_time = self.process.poll() is not None
        self.kill_group()
        return in_time

    def kill_group(self) -> None:
        """Kill the remaining processes of the group and report its end to the guard."""
        guard_process.send(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.guard.gone(self.process.pid)


def rotate(log: Path) -> None:
    """Start a new log file and keep the previous one as NAME.log.1."""
    if log.exists() and log.stat().st_size:
        log.replace(log.with_name(f"{log.name}.1"))


def tail(log: Path) -> str:
    """Return the last lines of a log file, or "" if it cannot be read."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = handle.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-TAIL_LINES:])


def describe_exit(status: int) -> str:
    """Describe an exit status as text."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


POLL_SECONDS = 0.5  # interval of the parent check; signals and children's ends wake it at once
CRASH_WINDOW = 30.0
CRASH_LIMIT = 5
FIRST_PAUSE = 0.5
# `make` forwards a signal that the terminal has already sent to this process as well.
SECOND_SIGNAL_SECONDS = 0.5


class StopAskedError(Exception):
    """A signal was received, or the parent process has ended."""


class GaveUpError(Exception):
    """A program keeps ending; the message names it and shows the end of its log."""


@dataclass(slots=True)
class _Kept:
    child: Child
    crashes: deque[float] = field(default_factory=deque)
    restart_at: float | None = None


class Supervisor:
    """Manager of the child processes. All work happens in one thread, in `tick`."""

    def __init__(self, guard: Guard, logs: Path, parent: int | None) -> None:
        """Install the signal handlers.

        Args:
            guard: client of the guard process.
            logs: folder of the log files.
            parent: stop when the parent process no longer has this id; None disables the check.
        """
        self._guard = guard
        self._logs = logs
        self._parent = parent
        self._kept: dict[str, _Kept] = {}
        self._once: dict[str, tuple[Child, Callable[[int], None]]] = {}
        self._asked_at: float | None = None
        self._in_stop = False
        self._wakeup, waker = socket.socketpair()
        for end in (self._wakeup, waker):
            end.setblocking(False)
        self._waker = waker  # keep a reference: the interpreter holds only the descriptor's number
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
            signal.signal(signal.SIGHUP, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
        elif number == signal.SIGINT and now - self._asked_at > SECOND_SIGNAL_SECONDS:
            for child in self._running():
                guard_process.send(child.process.pid, signal.SIGKILL)
            if not self._in_stop:  # such as during a migration, which does not call `tick`
                raise StopAskedError

    def _running(self) -> list[Child]:
        kept = [each.child for each in self._kept.values() if each.restart_at is None]
        return kept + [child for child, _ in self._once.values()]

    def _start(self, program: Program) -> Child:
        log = self._logs / f"{program.name}.log"
        rotate(log)
        child = Child(program, self._guard, log)
        child.start()
        return child

    def keep(self, program: Program) -> None:
        """Start a program and restart it whenever it ends.

        Raises:
            OSError: the program cannot be started.
        """
        self._kept[program.name] = _Kept(self._start(program))

    def once(self, program: Program, ended: Callable[[int], None]) -> None:
        """Start a program that exits by itself; `ended` is called with its exit status.

        Raises:
            OSError: the program cannot be started.
        """
        self._once[program.name] = (self._start(program), ended)

    def log_tail(self, name: str) -> str:
        """Return the last lines of a program's output."""
        return tail(self._logs / f"{name}.log")

    def tick(self, seconds: float = POLL_SECONDS) -> None:
        """Wait up to `seconds` for an event and handle it.

        Raises:
            StopAskedError: a stop was requested.
            GaveUpError: a program ended CRASH_LIMIT times within CRASH_WINDOW seconds.
        """
        self._raise_if_asked()
        if select.select([self._wakeup], [], [], seconds)[0]:
            self._wakeup.recv(4096)
        self._raise_if_asked()
        self._guard.keep_alive()
        for name, (child, ended) in list(self._once.items()):
            if (status := child.exit_status()) is not None:
                child.kill_group()
                del self._once[name]
                ended(status)
        for kept in self._kept.values():
            self._look_after(kept)

    def _raise_if_asked(self) -> None:
        if self._asked_at is not None or (self._parent and os.getppid() != self._parent):
            raise StopAskedError

    def _look_after(self, kept: _Kept) -> None:
        now = time.monotonic()
        if kept.restart_at is not None:
            if now >= kept.restart_at:
                kept.child.start()
                kept.restart_at = None
            return
        status = kept.child.exit_status()
        if status is None:
            return
        kept.child.kill_group()
        kept.crashes.append(now)
        while kept.crashes[0] < now - CRASH_WINDOW:
            kept.crashes.popleft()
        name = kept.child.program.name
        if len(kept.crashes) >= CRASH_LIMIT:
            raise GaveUpError(
                f"{name} ended {CRASH_LIMIT} times within {CRASH_WINDOW:.0f} s "
                f"({describe_exit(status)}). The end of {kept.child.log}:\n{tail(kept.child.log)}"
            )
        pause = FIRST_PAUSE * 2 ** (len(kept.crashes) - 1)
        kept.restart_at = now + pause
        say(
            f"{name} ended ({describe_exit(status)}); restarting in {pause:g} s. "
            f"Log: {kept.child.log}"
        )

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Tick until a condition holds; return False if it does not within `seconds`.

        Raises:
            StopAskedError, GaveUpError: see `tick`.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.tick(0.05)
        return True

    def forever(self) -> None:
        """Tick until an exception is raised."""
        while True:
            self.tick()

    def stop(self, order: Iterable[tuple[str, ...]]) -> None:
        """Stop all programs.

        Args:
            order: program names. The tuples are stopped one after another, the programs in one
                tuple at the same time. Programs that are not listed are stopped first.
        """
        self._in_stop = True
        running = {child.program.name: child for child in self._running()}
        order = list(order)
        others = tuple(set(running).difference(*order))
        for names in (others, *order):
            children = [running[name] for name in names if name in running]
            for child in children:
                child.terminate()
            for child in children:
                if not child.wait():
                    say(f"{child.program.name} did not stop in time and was killed")
        signal.set_wakeup_fd(-1)
