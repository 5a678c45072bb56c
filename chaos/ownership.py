"""Check 5: whose job a run carries; pure, over the evidence that was gathered."""

from __future__ import annotations

from collections import Counter

from .evidence import Evidence, Run
from .verify import Check, names

PROVEN, INFERRED = "proven", "inferred"


def check_ownership(evidence: Evidence) -> Check:
    """5: no run carries a job that another POST made.

    The simulator knows which request made which job. "Proven" must be right. "Inferred" may be
    wrong only by a job that somebody outside started; another POST's is as wrong as ever. And no
    job of a POST of ours is told as somebody else's.
    """
    check = Check("no run carries a job that another POST made")
    tally: Counter[str] = Counter()
    for run in evidence.runs.values():
        if run.job_id:
            _carried(evidence, run, check, tally)
    _imported(evidence, check, tally)
    received = len(evidence.requests)
    check.facts = [
        f"{tally[PROVEN]} proven, {tally[INFERRED]} inferred, "
        f"{tally['outsider']} of these an outsider's job",
        f"{tally['imported']} jobs of others imported, {tally['ours']} of ours that could not be "
        "told, with the run's name",
        f"{received} requests tied to their attempt, {len(evidence.guessed)} of them to the last "
        "of several unanswered ones",
    ]
    return check


def _carried(evidence: Evidence, run: Run, check: Check, tally: Counter[str]) -> None:
    tally[run.evidence] += 1
    if run.evidence not in (PROVEN, INFERRED):
        check.offences.append(f"run {run.id} carries job {run.job_id} and does not say how well")
    if run.job_id not in evidence.jobs:
        check.offences.append(f"run {run.id} carries job {run.job_id}, which the cloud never had")
        return
    entry = evidence.maker(run.job_id)
    if entry is None:
        tally["outsider"] += 1
        if run.evidence != INFERRED:
            check.offences.append(f"run {run.id}: {run.evidence} by an outsider's job {run.job_id}")
        return
    call = evidence.call_of.get(entry.seq)
    if call is None:
        check.offences.append(f"run {run.id} carries the job of a request without an attempt")
    elif call.run != run.id:
        check.offences.append(
            f"run {run.id}: {run.evidence} by job {run.job_id}, which run {call.run} "
            f"(attempt {call.attempt}) made"
        )
    elif run.credited.get(call.attempt) != run.job_id:
        check.offences.append(
            f"run {run.id}: {run.evidence} by job {run.job_id} of its attempt {call.attempt}, "
            f"credited: {run.credited or 'none'}"
        )


def _imported(evidence: Evidence, check: Check, tally: Counter[str]) -> None:
    for job_id, requested_by in evidence.imported.items():
        if job_id not in evidence.jobs:
            check.offences.append(f"job {job_id} was imported, and the cloud never had it")
            continue
        entry = evidence.maker(job_id)
        call = evidence.call_of.get(entry.seq) if entry else None
        if entry is None or call is None:
            tally["imported"] += 1
        elif names(requested_by, evidence.runs[call.run]):
            tally["ours"] += 1
        else:
            check.offences.append(
                f"run {call.run} (attempt {call.attempt}) made job {job_id}, "
                f'which was imported as of "{requested_by}"'
            )
