"""`python -m chaos`: inject faults for some time, then check the results."""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboard.local_run.console import StartError, say

from .scenario import Options, Scenario
from .stack import RECOVERY_SETTINGS, SETTINGS, Stack, StackError

if TYPE_CHECKING:
    from .checks import Limits


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    cli = argparse.ArgumentParser(
        prog="python -m chaos",
        description="Kill, stop and break everything while people click, then check the truth.",
    )
    cli.add_argument("--clicks", type=int, default=400, help="decisions to back up (400)")
    cli.add_argument("--clusters", type=int, default=120, help="clusters in the cloud (120)")
    cli.add_argument("--seconds", type=float, default=180, help="how long the trouble lasts (180)")
    cli.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    cli.add_argument("--seed", type=int, help="repeats a run's plan (its timing is the machine's)")
    cli.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured here")
    cli.add_argument("--keep", action="store_true", help="keep logs and SQLite file for a look")
    return cli


def main(arguments: list[str] | None = None) -> int:
    """Run it.

    Returns:
        0 if all checks passed, 1 on a violation, 2 if it could not be run, 130 if interrupted.
    """
    given = parser().parse_args(arguments)
    if given.clicks < 1 or given.clusters < 4 or given.seconds <= 0:
        return _fail("at least 1 click, 4 clusters and some seconds are needed")
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    options = Options(given.clicks, given.clusters, given.seconds, given.database, seed)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell may start this with SIGINT ignored
        signal.signal(number, _interrupt)
    try:
        return _run(options, given.json, keep=given.keep)
    except (StackError, StartError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        say("stopped")
        return 130


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _run(options: Options, json_file: Path | None, *, keep: bool) -> int:
    stack = Stack(options.database, options.seed)
    scenario = Scenario(options, stack, say)
    try:
        if keep:
            say(f"logs and data: {stack.folder}")
        scenario.prepare()
        settings = _settings(stack)
        say("settings: " + " ".join(f"{name}={value}" for name, value in settings.items()))
        say(f"seed {options.seed}: {options.seconds:g} s of trouble begin")
        report = _judge(options, settings, stack, scenario)
    finally:
        _undisturbed(scenario, stack, keep=keep)
    from .report import table

    say(table(report))
    if json_file is not None:
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if report["passed"] else 1


def _undisturbed(scenario: Scenario, stack: Stack, *, keep: bool) -> None:
    """Clean up without being interrupted by a second Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    scenario.stop()
    stack.stop(keep=keep)


def _judge(
    options: Options, settings: dict[str, str], stack: Stack, scenario: Scenario
) -> dict[str, Any]:
    story = scenario.play()
    # These need Django, which is set up now.
    from .checks import (
        check_batches,
        check_clicks,
        check_outcomes,
        check_ownership,
        check_requests,
    )
    from .evidence import gather
    from .recovery import check_recovery, measure
    from .report import document
    from .seals import check_seals

    ledger = stack.control.ledger()
    evidence = gather(
        [entry for entry in ledger if entry.endpoint == "collect"], stack.control.clusters()
    )
    distributions = measure(evidence, story.diary, [each.program.name for each in stack.workers])
    checks = [
        check_clicks(evidence, story.answers, story.dark),
        check_requests(evidence, story.diary),
        check_outcomes(evidence),
        check_recovery(evidence, story.diary, distributions, story.dark),
        check_ownership(evidence, story.diary, _limits()),
        check_seals(),
        check_batches(evidence, story.batches, options.clusters),
    ]
    struck = Counter(f"{entry.endpoint} {kind}" for entry in ledger for kind in entry.faults)
    return document(
        options, settings, story, evidence, dict(sorted(struck.items())), checks, distributions
    )


def _limits() -> Limits:
    from django.conf import settings

    from .checks import Limits

    return Limits(
        tolerance=settings.BACKUP_DATE_TOLERANCE,
        late=settings.BACKUP_SETTLE_GRACE,
        skew=settings.BACKUP_CLOCK_SKEW,
        longest=settings.CSS_CONNECT_TIMEOUT + settings.CSS_TOTAL_TIMEOUT,
    )


def _settings(stack: Stack) -> dict[str, str]:
    from django.conf import settings

    names = [*SETTINGS, *RECOVERY_SETTINGS]
    return {name: f"{getattr(settings, name):g}" for name in names}


def _fail(text: str) -> int:
    sys.stderr.write(f"error: {text}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
