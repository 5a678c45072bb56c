"""Check 5: whose job a run carries; pure, over the evidence that was gathered."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .evidence import Evidence, Run, Sent
from .log import Diary, overlap
from .verify import Check, names

PROVEN, INFERRED = "proven", "inferred"
ROUNDING = 2.0  # seconds: `Date` and stamps of whole seconds, each rounded down


@dataclass(frozen=True, slots=True)
class Limits:
    """How far around a POST its job may be looked for, in seconds; the product's own settings.

    Attributes:
        tolerance: between the clocks behind `Date` and behind jobs' times.
        late: an unanswered POST may be processed for so long afterwards.
        skew: around everything where the cloud's answers had no `Date`.
        longest: a request whose sender died may have been under way for so long.
    """

    tolerance: float
    late: float
    skew: float
    longest: float


@dataclass(slots=True)
class _Judge:
    evidence: Evidence
    moves: list[tuple[float, float]]
    limits: Limits
    check: Check
    tally: Counter[str] = field(default_factory=Counter)
    displaced: set[int] = field(default_factory=set)


def check_ownership(evidence: Evidence, diary: Diary, limits: Limits) -> Check:
    """5: no run carries a job that another POST made.

    The simulator knows which request made which job. "Proven" must be right. "Inferred" may be
    wrong only by a job that somebody outside started within the POST's window, or, of an accepted
    POST that nothing fits, within the skew around it (docs/run-states.md); another POST's is as
    wrong as ever. And no job of a POST of ours is told as somebody else's.

    Args:
        evidence: from `gather`.
        diary: of the trouble: a cloud clock that moves meanwhile widens a window.
        limits: the product's.
    """
    check = Check("no run carries a job that another POST made")
    judge = _Judge(evidence, diary.intervals("cloud clock moved"), limits, check)
    for run in evidence.runs.values():
        if run.job_id:
            _carried(judge, run)
    _imported(judge)
    tally = judge.tally
    check.facts = [
        f"{tally[PROVEN]} proven, {tally[INFERRED]} inferred, "
        f"{tally['outsider']} of these an outsider's job in the window, "
        f"{tally['around']} an outsider's in the skew around it",
        f"{tally['imported']} jobs of others imported, {tally['ours']} of ours that could not be "
        "told, with the run's name",
        f"{len(evidence.requests)} requests tied to their attempt, {len(evidence.guessed)} of them "
        "to the last of several unanswered ones",
    ]
    return check


def _carried(judge: _Judge, run: Run) -> None:
    evidence, check = judge.evidence, judge.check
    judge.tally[run.evidence] += 1
    what = f"run {run.id}: {run.evidence or 'without evidence'} by job {run.job_id}"
    if run.evidence not in (PROVEN, INFERRED):
        check.offences.append(f"run {run.id} carries job {run.job_id} and does not say how well")
    if run.job_id not in evidence.jobs:
        check.offences.append(f"{what}, which the cloud never had")
        return
    entry = evidence.maker(run.job_id)
    if entry is None:
        _outsider(judge, run, what)
        return
    call = evidence.call_of.get(entry.seq)
    if call is None:
        check.offences.append(f"{what}, made by a request without an attempt")
    elif call.run != run.id:
        check.offences.append(f"{what}, which run {call.run} (attempt {call.attempt}) made")
    elif (made := run.posts.get(call.attempt)) is None or not _carries(run, made):
        check.offences.append(f"{what} of its attempt {call.attempt}, and credits another")


def _carries(run: Run, post: Sent) -> bool:
    """Whether the run has its job by this POST.

    The row of a POST without any `Date` names no job that was only inferred: it goes on competing
    for others (docs/run-states.md, rule 4).
    """
    if any(other.job_id == run.job_id for other in run.posts.values()):
        return post.job_id == run.job_id
    return run.evidence == INFERRED and not post.dated and not post.job_id


def _outsider(judge: _Judge, run: Run, what: str) -> None:
    judge.displaced.add(run.id)
    if run.evidence != INFERRED:
        judge.check.offences.append(f"{what}, which an outsider started")
        return
    beyond = _outside_the_window(judge, run)
    accepted = any(post.accepted for post in run.posts.values() if _carries(run, post))
    if beyond == 0:
        judge.tally["outsider"] += 1
    elif accepted and beyond <= judge.limits.skew:
        judge.tally["around"] += 1
    else:
        judge.check.offences.append(
            f"{what}, which an outsider started {beyond:.1f} s outside the POST's window"
        )


def _outside_the_window(judge: _Judge, run: Run) -> float:
    """How far the job that a run carries was started from what its POST can have made; 0: within.

    All in this machine's time, in which both the ledger and the stored calls are.
    """
    limits = judge.limits
    started = judge.evidence.jobs[run.job_id].started_at
    nearest = float("inf")
    for call in run.calls:
        post = run.posts.get(call.attempt)
        if post is None or not _carries(run, post):
            continue
        first, last = call.started, call.finished or call.started + limits.longest
        last += 0 if post.accepted else limits.late
        moved = overlap(
            [(at - 1, at + 1) for at, _ in judge.moves], first - ROUNDING, last + ROUNDING
        )
        slack = limits.tolerance + ROUNDING if post.dated and not moved else limits.skew
        # the baseline is read before the call is stored, and its answer's `Date` may be that old
        early = first - limits.longest - slack - started
        nearest = min(nearest, max(0.0, early, started - last - slack))
    return nearest


def _imported(judge: _Judge) -> None:
    evidence = judge.evidence
    for job_id, requested_by in evidence.imported.items():
        if job_id not in evidence.jobs:
            judge.check.offences.append(f"job {job_id} was imported, and the cloud never had it")
            continue
        entry = evidence.maker(job_id)
        call = evidence.call_of.get(entry.seq) if entry else None
        if call is None:
            judge.tally["imported"] += 1
        elif names(requested_by, evidence.runs[call.run]) or call.run in judge.displaced:
            judge.tally["ours"] += 1
        else:
            judge.check.offences.append(
                f"run {call.run} (attempt {call.attempt}) made job {job_id}, "
                f'which was imported as of "{requested_by}"'
            )
