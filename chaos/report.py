"""The report of a chaos run: as a table and as JSON."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from .checks import Check
from .evidence import Findings
from .recovery import Distribution
from .scenario import Options, Story

RUN_IDS = re.compile(r"\bruns? \[?(\d+)")
SHOWN = 12  # offences of a check on the terminal; all are in the JSON


def document(
    options: Options,
    settings: dict[str, str],
    story: Story,
    evidence: Findings,
    struck: dict[str, int],
    checks: Sequence[Check],
    distributions: Sequence[Distribution],
) -> dict[str, Any]:
    """Return all measurements as a JSON document."""
    runs = evidence.runs.values()
    answers = [answer for answer in story.answers if answer.run_id is not None]
    times = [answer.seconds for answer in answers]
    return {
        "passed": all(check.passed for check in checks) and not story.problems,
        "options": asdict(options),
        "settings": settings,
        "clicks": {
            "decisions": options.clicks,
            "forms": len(story.answers),
            "answered": len(answers),
            "repeated": sum(1 for answer in answers if answer.failures),
            "given_up": len(story.answers) - len(answers),
            "failures": dict(Counter(f for a in story.answers for f in a.failures)),
            "seconds": _spread(times),
        },
        "runs": len(runs),
        "states": dict(sorted(Counter(run.state for run in runs).items())),
        "outcomes": dict(sorted(Counter(run.outcome or "none" for run in runs).items())),
        "evidence": dict(sorted(Counter(run.evidence for run in runs if run.job_id).items())),
        "corrected": dict(
            sorted(Counter(run.corrected_from for run in runs if run.corrected_from).items())
        ),
        "passed_through_unknown": sum(run.passed_through("unknown") for run in runs),
        "troubles": story.diary.counts(),
        "faults": struck,
        "cards": story.cards,
        "settled_seconds": round(story.settled_seconds, 1),
        "checks": [
            {**asdict(check), "number": number, "passed": check.passed}
            for number, check in enumerate(checks, 1)
        ],
        "recovery": [
            {
                "title": each.title,
                "target": each.target,
                "samples": len(each.samples),
                "undisturbed": _spread(each.undisturbed()),
                "all": _spread([sample.gross for sample in each.samples]),
                "less_other_outages": _spread([sample.net for sample in each.samples]),
                "each": [asdict(sample) for sample in each.samples],
            }
            for each in distributions
        ],
        "problems": story.problems,
        "stories": [_story(evidence, run_id) for run_id in _offending(checks, evidence)],
    }


def _offending(checks: Sequence[Check], evidence: Findings) -> list[int]:
    """The runs named in violations, and the other runs of their clusters."""
    named = {int(n) for c in checks for text in c.offences for n in RUN_IDS.findall(text)}
    clusters = {evidence.runs[n].cluster for n in named if n in evidence.runs}
    return [run.id for run in evidence.runs.values() if run.cluster in clusters]


def _story(evidence: Findings, run_id: int) -> dict[str, Any]:
    """A run with the product's data, and its requests and jobs in the simulator."""
    run = evidence.runs[run_id]
    return {
        **asdict(run),
        "requests": [asdict(entry) for entry in evidence.requests_of(run)],
        "jobs": [asdict(job) for job in evidence.jobs_of(run)],
    }


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    """Count, minimum, median, 95th percentile and maximum; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    p95 = ordered[round(0.95 * (len(ordered) - 1))]
    numbers = {"min": ordered[0], "median": median(ordered), "p95": p95, "max": ordered[-1]}
    return {"count": len(ordered), **{name: round(each, 2) for name, each in numbers.items()}}


def table(report: dict[str, Any]) -> str:
    """Format the report for the terminal and for docs/reliability.md."""
    options, clicks = report["options"], report["clicks"]
    lines = [
        _row("database, seed, seconds", f"{options['database']}, {options['seed']}, "
             f"{options['seconds']:g}"),
        _row("decisions / forms sent", f"{clicks['decisions']} / {clicks['forms']} "
             f"on {options['clusters']} clusters"),
        _row("forms answered", f"{clicks['answered']}, {clicks['repeated']} of them after "
             f"repeating; {clicks['given_up']} given up"),
        _row("answered within", _words(clicks["seconds"])),
        _row("runs by state", _counts(report["states"])),
        _row("runs by outcome", _counts(report["outcomes"])),
        _row("evidence of their jobs", _counts(report["evidence"])),
        _row("corrected, by what they had said", _counts(report["corrected"])),
        _row("runs that were UNKNOWN", str(report["passed_through_unknown"])),
        _row("troubles", _counts(report["troubles"])),
        _row("simulator's faults", f"{sum(report['faults'].values())}: "
             f"{_counts(report['faults'])}"),
        _row("ended after the trouble", f"{report['settled_seconds']} s"),
    ]  # fmt: skip
    for each in report["recovery"]:
        lines.append(_row(f"{each['title']} (target {each['target']:.0f} s)", ""))
        lines.append(_row("  nothing else away", _words(each["undisturbed"])))
        lines.append(_row("  all", _words(each["all"])))
        lines.append(_row("  all, less other outages", _words(each["less_other_outages"])))
    for check in report["checks"]:
        lines.append(_row(f"{check['number']} {'PASS' if check['passed'] else 'FAIL'}",
                          check["title"]))  # fmt: skip
        lines += [_row("", fact) for fact in check["facts"]]
        lines += [_row("  violation", text) for text in check["offences"][:SHOWN]]
        if len(check["offences"]) > SHOWN:
            lines.append(_row("", f"… and {len(check['offences']) - SHOWN} more"))
    lines += [_row("the run itself failed", text) for text in report["problems"]]
    return "\n".join(lines)


def _row(title: str, text: str) -> str:
    return f"{title:<44} {text}".rstrip()


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _words(numbers: dict[str, float] | None) -> str:
    if numbers is None:
        return "no sample"
    spread = ", ".join(f"{name} {numbers[name]:.2f}" for name in ("min", "median", "p95", "max"))
    return f"{spread} s ({numbers['count']:.0f})"
