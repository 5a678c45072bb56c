"""`python -m chaos.tables FILE …`: the reports of several runs as one table in Markdown.

The files are written by `--json`; docs/reliability.md contains the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Report = dict[str, Any]
DATABASES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
STATES = ("succeeded", "failed", "rejected", "cancelled", "not_started", "unverified", "unknown")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns 0."""
    cli = argparse.ArgumentParser(prog="python -m chaos.tables", description=__doc__)
    cli.add_argument("files", nargs="+", type=Path, metavar="FILE")
    reports = [json.loads(file.read_text()) for file in cli.parse_args(arguments).files]
    sys.stdout.write(markdown(reports))
    return 0


def markdown(reports: Sequence[Report]) -> str:
    """Format reports as a table with a column per report and a row per figure."""
    titles = [
        f"{DATABASES[r['options']['database']]}, seed {r['options']['seed']}" for r in reports
    ]
    lines = [_line("", titles), _line("---", ["---"] * len(reports))]
    lines += [_line(title, [str(figure(r)) for r in reports]) for title, figure in _figures()]
    for number, check in enumerate(reports[0]["checks"]):
        lines.append(
            _line(
                f"{number + 1} {check['title']}", [_verdict(r["checks"][number]) for r in reports]
            )
        )
    for number, each in enumerate(reports[0]["recovery"]):
        cells = [_spread(r["recovery"][number]) for r in reports]
        lines.append(_line(f"{each['title']} ({each['target']:.0f} s), median / max", cells))
    return "\n".join(lines) + "\n"


def _figures() -> list[tuple[str, Callable[[Report], object]]]:
    return [
        (
            "decisions, clusters, seconds of trouble",
            lambda r: (
                f"{r['clicks']['decisions']}, {r['options']['clusters']}, "
                f"{r['options']['seconds']:g}"
            ),
        ),
        ("forms answered", lambda r: f"{r['clicks']['answered']} of {r['clicks']['forms']}"),
        ("runs", lambda r: r["runs"]),
        (" / ".join(STATES), lambda r: " / ".join(str(r["states"].get(s, 0)) for s in STATES)),
        (
            "jobs proven / inferred",
            lambda r: " / ".join(str(r["evidence"].get(s, 0)) for s in ("proven", "inferred")),
        ),
        ("corrected by a job that was listed late", lambda r: _counts(r["corrected"], "from ")),
        ("runs that were UNKNOWN on their way", lambda r: r["passed_through_unknown"]),
        ("troubles", lambda r: _counts(r["troubles"])),
        ("faults of the simulator", lambda r: sum(r["faults"].values())),
        ("records listed too late", lambda r: _cards(r, "too late")),
        ("requests processed later", lambda r: _cards(r, "processed later")),
        ("jobs behind a 503", lambda r: _cards(r, "503, job started")),
    ]


def _cards(report: Report, words: str) -> int:
    return sum(count for name, count in report["cards"].items() if words in name)


def _counts(counts: dict[str, int], before: str = "") -> str:
    return ", ".join(f"{count} {before}{name}" for name, count in counts.items()) or "none"


def _verdict(check: dict[str, Any]) -> str:
    word = "PASS" if check["passed"] else f"FAIL ({len(check['offences'])})"
    return f"{word}: {'; '.join(check['facts'])}" if check["facts"] else word


def _spread(recovery: dict[str, Any]) -> str:
    numbers = recovery["less_other_outages"]
    if numbers is None:
        return "no sample"
    return f"{numbers['median']:.1f} / {numbers['max']:.1f} s ({numbers['count']:.0f})"


def _line(title: str, cells: Sequence[str]) -> str:
    return "| " + " | ".join([title, *cells]).replace("\n", " ") + " |"


if __name__ == "__main__":
    sys.exit(main())
