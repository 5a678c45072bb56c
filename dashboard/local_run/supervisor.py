"""Keeps the programs running, and stops them in order."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from . import guard as guard_process
from .console import say
from .processes import Child, Guard, Program, describe_exit, rotate, tail

POLL_SECONDS = 0.5  # how late a parent's death is noticed; a child's or a signal is at once
CRASH_WINDOW = 30.0
CRASH_LIMIT = 5
FIRST_PAUSE = 0.5
SECOND_SIGNAL_SECONDS = 0.5  # make passes a signal on that the terminal has sent here already


class StopAskedError(Exception):
    """A signal came, or the parent is gone."""


class GaveUpError(Exception):
    """A program keeps ending; the text tells which and shows the end of its log."""


@dataclass(slots=True)
class _Kept:
    child: Child
    crashes: deque[float] = field(default_factory=deque)
    restart_at: float | None = None


class Supervisor:
    """Owns the children. Everything happens in one thread, inside `tick`."""

    def __init__(self, guard: Guard, logs: Path, parent: int | None) -> None:
        """`parent`: stop when this is no longer the parent's process id; None: do not look."""
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
        self._waker = waker  # kept: the interpreter only knows its number
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # ignored: that is what nohup wants
            signal.signal(signal.SIGHUP, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
        elif number == signal.SIGINT and now - self._asked_at > SECOND_SIGNAL_SECONDS:
            for child in self._running():
                guard_process.send(child.process.pid, signal.SIGKILL)
            if not self._in_stop:  # a migration, say: the one step that signals do not end
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
        """Start a program that is started again whenever it ends. Raises OSError."""
        self._kept[program.name] = _Kept(self._start(program))

    def once(self, program: Program, ended: Callable[[int], None]) -> None:
        """Start a program that ends by itself; `ended` gets its exit status. Raises OSError."""
        self._once[program.name] = (self._start(program), ended)

    def log_tail(self, name: str) -> str:
        """The last lines that a program wrote."""
        return tail(self._logs / f"{name}.log")

    def tick(self, seconds: float = POLL_SECONDS) -> None:
        """Wait until something happens, `seconds` at most, and do what it asks for.

        Raises:
            StopAskedError: it is time to stop.
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
            f"{name} ended ({describe_exit(status)}); it is started again in {pause:g} s. "
            f"Log: {kept.child.log}"
        )

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Tick until a condition holds; returns False when it did not within `seconds`.

        Raises:
            StopAskedError, GaveUpError: as `tick`.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.tick(0.05)
        return True

    def forever(self) -> None:
        """Tick until an exception says otherwise."""
        while True:
            self.tick()

    def stop(self, order: Iterable[tuple[str, ...]]) -> None:
        """Stop everything; programs named in one tuple at the same time, tuple after tuple.

        What `order` does not name is stopped first.
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
