"""The guard: ends every process group of a supervisor that died without doing so itself.

It is a process of its own session, started as a script (`python -I -S guard.py`) so that it costs
little. Its standard input is a pipe whose write end only the supervisor has. Lines come through it:

    +1234    process group 1234 has started
    -1234    it is gone

The end of input means that the supervisor is gone, however it went. What is then still on the list
gets SIGTERM, and SIGKILL `GRACE_SECONDS` later. The supervisor's lock is inherited and held until
then, so that a new start waits instead of meeting the old processes.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import BinaryIO

GRACE_SECONDS = 10.0
POLL_SECONDS = 0.05


def follow(lines: BinaryIO) -> set[int]:
    """Read until the end of input; returns the groups that were not reported gone."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        if line[:1] == b"+":
            groups.add(group)
        else:
            groups.discard(group)
    return groups


def send(group: int, number: int) -> bool:
    """Send a signal to a process group, 0 to ask only; False where nobody is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so of a group of zombies
        return False
    return True


def end(groups: set[int], grace: float = GRACE_SECONDS) -> None:
    """Terminate process groups, and kill what is left of them after `grace` seconds."""
    left = {group for group in groups if send(group, signal.SIGTERM)}
    deadline = time.monotonic() + grace
    while left and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        left = {group for group in left if send(group, 0)}
    for group in left:
        send(group, signal.SIGKILL)


def main() -> None:
    """Guard until the supervisor is gone; only SIGKILL ends it earlier."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end(follow(sys.stdin.buffer))


if __name__ == "__main__":
    main()
