"""The supervisor and the guard, with programs that misbehave."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from dashboard.local_run import guard
from tests.instances import ROOT, assert_gone

SUPERVISE = """
    import os, sys
    from pathlib import Path
    from dashboard.local_run.supervisor import (
        GaveUpError,
        Guard,
        Program,
        StopAskedError,
        Supervisor,
    )

    folder = Path(sys.argv[1])
    guard = Guard(os.open(folder / "lock", os.O_RDWR | os.O_CREAT))
    supervisor = Supervisor(guard, folder, None)
    try:
        for number, command in enumerate(sys.argv[2:]):
            program = Program(f"p{number}", ["sh", "-c", command], dict(os.environ), grace=1.0)
            supervisor.keep(program)
        print("started", flush=True)
        supervisor.forever()
    except StopAskedError:
        print("asked")
    except GaveUpError as error:
        print(error)
        sys.exit(1)
    finally:
        supervisor.stop([("p0",), ("p1",)])
        guard.close()
"""


class Supervised:
    """A process that supervises shell commands p0, p1, …"""

    def __init__(self, folder: Path, *commands: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SUPERVISE), str(folder), *commands],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "started\n"

    def end(self) -> tuple[int, str]:
        """Wait for the end; returns exit status and the rest of its output."""
        # communicate() with a timeout leaves out what readline() has read ahead
        assert self.process.stdout
        text = self.process.stdout.read()
        return self.process.wait(timeout=30), text

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


def _wait_for(file: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while text not in (file.read_text() if file.exists() else ""):
        assert time.monotonic() < deadline, f"{file} never held {text!r}"
        time.sleep(0.02)


def test_a_program_that_ends_is_started_again_and_the_terminal_told(tmp_path: Path) -> None:
    again = tmp_path / "again"
    once = f"echo up; [ -e {again} ] || {{ touch {again}; exit 3; }}; sleep 60"
    supervised = Supervised(tmp_path, once)
    try:
        _wait_for(tmp_path / "p0.log", "up\nup\n")
    finally:
        supervised.process.terminate()
    status, text = supervised.end()
    assert status == 0
    assert "p0 ended (exit status 3); restarting in 0.5 s" in text


def test_a_program_that_ends_at_once_each_time_stops_everything_with_its_log(
    tmp_path: Path,
) -> None:
    supervised = Supervised(tmp_path, "echo the reason; exit 7", "sleep 60")
    children = supervised.children()
    status, text = supervised.end()
    assert status == 1
    assert "p0 ended 5 times within 30 s (exit status 7)" in text
    assert text.rstrip().endswith("the reason")
    assert_gone(children)


def test_programs_stop_in_order_and_one_that_will_not_is_killed(tmp_path: Path) -> None:
    wait = "echo up; while :; do sleep 0.1; done"
    first = f"trap '' TERM; echo $$ > {tmp_path}/first; {wait}"
    look = f"(kill -0 $(cat {tmp_path}/first) && echo there || echo gone) > {tmp_path}/seen"
    last = f"trap '{look}; exit' TERM; {wait}"
    supervised = Supervised(tmp_path, first, last)
    for name in ("p0.log", "p1.log"):
        _wait_for(tmp_path / name, "up")
    children = supervised.children()
    begun = time.monotonic()
    supervised.process.send_signal(signal.SIGTERM)
    status, text = supervised.end()
    assert status == 0
    assert "p0 did not stop in time and was killed" in text
    assert 1.0 <= time.monotonic() - begun < 10.0
    assert (tmp_path / "seen").read_text() == "gone\n"
    assert_gone(children)


def test_a_second_ctrl_c_kills_at_once(tmp_path: Path) -> None:
    stubborn = "trap '' TERM; echo up; while :; do sleep 0.1; done"
    supervised = Supervised(tmp_path, stubborn)
    _wait_for(tmp_path / "p0.log", "up")
    children = supervised.children()
    supervised.process.send_signal(signal.SIGINT)
    time.sleep(0.6)  # what comes sooner counts as the same Ctrl-C
    supervised.process.send_signal(signal.SIGINT)
    supervised.end()
    assert_gone(children, seconds=5)


@pytest.mark.parametrize("restart_guard", [False, True])
def test_a_killed_supervisor_leaves_no_descendant(tmp_path: Path, restart_guard: bool) -> None:
    """Also where the guard itself had been killed before, and started again."""
    supervised = Supervised(tmp_path, "sleep 60 & sleep 60 & echo up; wait", "exec sleep 60")
    _wait_for(tmp_path / "p0.log", "up")
    if restart_guard:
        (old,) = [each for each in supervised.children() if "guard.py" in " ".join(each.cmdline())]
        old.kill()
        deadline = time.monotonic() + 10
        while not any(_is_guard(each, old) for each in supervised.children()):
            assert time.monotonic() < deadline, "the guard was not started again"
            time.sleep(0.02)
    children = supervised.children()
    assert len(children) >= 5
    supervised.process.kill()
    supervised.end()
    assert_gone(children)


def _is_guard(process: psutil.Process, old: psutil.Process) -> bool:
    return process.pid != old.pid and "guard.py" in " ".join(process.cmdline())


def test_the_guard_kills_what_ignores_sigterm() -> None:
    stubborn = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert stubborn.stdout
    assert stubborn.stdout.readline() == b"up\n"
    guard.end({stubborn.pid}, grace=0.3)
    assert stubborn.wait(10) == -signal.SIGKILL
    stubborn.stdout.close()
