"""What was checked, and what did not hold."""

from __future__ import annotations

import time


class Report:
    """Prints each step and each check as it comes.

    Args:
        begun: when the trial began, on the monotonic clock; None is now.
    """

    def __init__(self, begun: float | None = None) -> None:
        self.begun = time.monotonic() if begun is None else begun
        self._failed: list[str] = []
        self._held = 0

    def step(self, name: str) -> None:
        """Say what comes now."""
        print(f"--- {name} ({time.monotonic() - self.begun:.0f} s)", flush=True)

    def check(self, promise: str, holds: object, detail: object = "") -> bool:
        """Note whether a promise holds; `detail` is shown where it does not."""
        print(f"{'ok  ' if holds else 'FAIL'} {promise}", flush=True)
        if holds:
            self._held += 1
        else:
            self._failed.append(promise)
            for line in str(detail).strip().splitlines()[-15:]:
                print(f"       {line[:400]}", flush=True)
        return bool(holds)

    def end(self) -> int:
        """Sum up; returns the exit status."""
        for promise in self._failed:
            print(f"FAILED: {promise}")
        seconds = time.monotonic() - self.begun
        print(f"{self._held} checks hold, {len(self._failed)} fail; {seconds:.0f} s in all")
        return 1 if self._failed else 0
