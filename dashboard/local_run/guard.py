"""Guard process: terminates the process groups that a supervisor left running when it died.

It runs in its own session, as a script (`python -I -S guard.py`) to keep it cheap. Its standard
input is a pipe that only the supervisor can write to. The supervisor sends lines:

    +1234    process group 1234 has started
    -1234    process group 1234 has ended

End of input means that the supervisor has ended, for whatever reason. The remaining groups then get
SIGTERM, and SIGKILL `GRACE_SECONDS` later. The guard inherits the supervisor's lock and holds it
until it is done, so a new start waits for the old processes to end.
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
    """Read until the end of input; return the groups that were not reported as ended."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        if line[:1] == b"+":
            groups.add(group)
        else:
            groups.discard(group)
    return groups


def send(group: int, number: int) -> bool:
    """Send a signal to a process group (0 only checks); return False if the group is empty."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS raises this for a group of zombies
        return False
    return True


def end(groups: set[int], grace: float = GRACE_SECONDS) -> None:
    """Terminate process groups; kill those that are left after `grace` seconds."""
    left = {group for group in groups if send(group, signal.SIGTERM)}
    deadline = time.monotonic() + grace
    while left and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        left = {group for group in left if send(group, 0)}
    for group in left:
        send(group, signal.SIGKILL)


def main() -> None:
    """Wait for the supervisor to end, then clean up; only SIGKILL ends the guard earlier."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end(follow(sys.stdin.buffer))


if __name__ == "__main__":
    main()
