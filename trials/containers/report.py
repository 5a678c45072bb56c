"""Report of the checks and their failures."""

from __future__ import annotations

import time


class Report:
    """Prints each step and each check immediately.

    Args:
        begun: when the trial began, on the monotonic clock in seconds; None for now.
    """

    def __init__(self, begun: float | None = None) -> None:
        self.begun = time.monotonic() if begun is None else begun
        self._failed: list[str] = []
        self._held = 0

    def step(self, name: str) -> None:
        """Print the name of the next step."""
        print(f"--- {name} ({time.monotonic() - self.begun:.0f} s)", flush=True)

    def check(self, promise: str, holds: object, detail: object = "") -> bool:
        """Record whether a promise holds; `detail` is printed if it does not."""
        print(f"{'ok  ' if holds else 'FAIL'} {promise}", flush=True)
        if holds:
            self._held += 1
        else:
            self._failed.append(promise)
            for line in str(detail).strip().splitlines()[-15:]:
                print(f"       {line[:400]}", flush=True)
        return bool(holds)

    def end(self) -> int:
        """Print a summary; return the exit status."""
        for promise in self._failed:
            print(f"FAILED: {promise}")
        seconds = time.monotonic() - self.begun
        print(f"{self._held} checks hold, {len(self._failed)} fail; {seconds:.0f} s in all")
        return 1 if self._failed else 0
