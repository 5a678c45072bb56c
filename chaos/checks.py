"""The checks of clicks, requests, outcomes and ownership: pure functions of the evidence."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from backups.choices import TERMINAL

from .clicks import BatchResult, ClickResult
from .evidence import Call, Findings, Run, StoredPost
from .trouble import Diary, overlap

# Answers after which the same run may send again: refused by the cloud or by its gateway. Repeated
# here instead of imported from the product, which is under test.
REFUSALS = {401, 409, 429, 503}
REFUSAL_CODES = {"CSS.0011", "CSS.3004", "CSS.0029", "CSS.0077", "CSS.6013", "CSS.5090"}
GAVE_UP = {"unverified", "not_started"}
# An answer that reads like a refusal but behind which the simulator can start a job.
LYING = 503
SENT_NOWHERE = {"not_started", "rejected", "cancelled", "failed"}


@dataclass(slots=True)
class Check:
    """Result of one check.

    Attributes:
        title: the promise that is checked.
        offences: violations of the promise, with run ids; the check passed if there are none.
        facts: figures for the report.
    """

    title: str
    offences: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.offences


def check_clicks(evidence: Findings, answers: Iterable[ClickResult], dark: set[str]) -> Check:
    """Check 1: every answered click has exactly one run, and every run ends or stays UNKNOWN.

    Args:
        evidence: from `gather`.
        answers: results of the clicks.
        dark: cloud ids of the clusters whose records stay unreadable; only there may a run stay
            UNKNOWN, and it must have a note.
    """
    check = Check("every answered click has exactly one run; every run ends, or says why not")
    runs = evidence.runs
    named: dict[tuple[str, str], set[int]] = defaultdict(set)
    first_sent: dict[str, float] = {}
    answered, open_clusters = 0, set()
    for answer in answers:
        if answer.failures or answer.run_id is None:
            open_clusters.add(answer.cluster)
        first_sent[answer.key] = min(answer.at, first_sent.get(answer.key, answer.at))
        if answer.run_id is None:
            continue
        answered += 1
        named[answer.person, answer.key].add(answer.run_id)
        run = runs.get(answer.run_id)
        if run is None:
            check.offences.append(f"run {answer.run_id} was promised and is not stored")
        elif run.cluster_pk != answer.cluster:
            check.offences.append(f"run {run.id} is of another cluster than the one clicked")
    joined_first = 0
    for (person, key), ids in named.items():
        if len(ids) < 2:
            continue
        made = [n for n in ids if n in runs and _made_by(runs[n], person, first_sent[key])]
        if len(made) < len(ids) and min(ids) not in made:
            joined_first += 1
        else:
            check.offences.append(f"runs {sorted(ids)}: one form of {person} ({key}) became two")
    told = {run_id for ids in named.values() for run_id in ids}
    told |= {item.run for items in evidence.batches.values() for item in items if item.run}
    unasked = [
        r.id for r in runs.values() if r.id not in told and r.cluster_pk not in open_clusters
    ]
    check.offences += [f"run {run_id}: nobody asked for it" for run_id in unasked]
    unknown = 0
    for run in runs.values():
        if run.state in TERMINAL:
            continue
        if run.state == "unknown" and run.note and run.cluster in dark:
            unknown += 1
        else:
            check.offences.append(f"run {run.id} is still {run.state} ({run.note or 'no reason'})")
    if joined_first:
        check.facts.append(
            f"{joined_first} forms joined somebody else's run and, sent again after its end, "
            "began a new one"
        )
    check.facts += [
        f"{answered} forms answered, {len(told)} runs told, {len(runs)} stored",
        f"{unknown} UNKNOWN with their reason, on {len(dark)} clusters that stay unreadable",
    ]
    return check


def check_batches(evidence: Findings, answers: Iterable[BatchResult], clusters: int) -> Check:
    """Check 7: an answered batch is stored once, and each of its clusters has one result.

    Args:
        evidence: from `gather`.
        answers: results of the forms.
        clusters: how many there are.
    """
    check = Check(
        "every answered batch is stored once; each of its clusters has exactly one result"
    )
    for answer in answers:
        if len(answer.batches) > 1:
            check.offences.append(f"batches {sorted(answer.batches)}: one form became several")
        for number in answer.batches - evidence.batches.keys():
            check.offences.append(f"batch {number} was promised and is not stored")
    owner: dict[int, int] = {}
    for number, items in evidence.batches.items():
        if len({item.cluster for item in items}) != clusters:
            check.offences.append(f"batch {number} has {len(items)} of {clusters} clusters")
        for item in items:
            run = evidence.runs.get(item.run or 0)
            if item.state != "skipped" and run is None:
                check.offences.append(
                    f"batch {number}: cluster {item.cluster} is {item.state}, without a run"
                )
            elif run is not None and run.cluster_pk != item.cluster:
                check.offences.append(f"batch {number}: run {run.id} is of another cluster")
            elif run is not None and item.made and owner.setdefault(run.id, number) != number:
                check.offences.append(f"run {run.id} was made by two batches")
    made = sum(item.made for items in evidence.batches.values() for item in items)
    every = sum(map(len, evidence.batches.values()))
    if evidence.batches and not made:
        check.offences.append("no run was made by a batch: nothing was tried")
    check.facts.append(f"{len(evidence.batches)} batches, {every} items, {made} runs of their own")
    return check


def _made_by(run: Run, person: str, first_sent: float) -> bool:
    """Whether the run was created for a form of this person that was first sent at that time."""
    return run.requester == person and run.requested >= first_sent


def check_requests(evidence: Findings, diary: Diary) -> Check:
    """Check 2: requests match stored attempts; no run repeats one that may have been accepted."""
    check = Check("requests received = attempts stored; no decision sends what may be taken twice")
    tally: Counter[str] = Counter()
    closed = diary.intervals("listener closed")
    for entry in evidence.requests:
        if entry.seq not in evidence.call_of:
            check.offences.append(
                f"request {entry.request_id} to cluster {entry.cluster_id} has no stored attempt"
            )
    for run in evidence.runs.values():
        for call in run.calls:
            if call.id in evidence.request_of:
                tally["received"] += 1
            else:
                reason = _why_not_received(run, call, closed)
                tally[reason or "unexplained"] += 1
                if not reason:
                    check.offences.append(
                        f"run {run.id}: attempt {call.attempt} says it was sent "
                        f"(HTTP {call.status} {call.transport_error}); the cloud has not seen it"
                    )
        _no_blind_repeat(evidence, run, check)
    stored = sum(tally.values())
    less = ", ".join(f"{count} {why}" for why, count in sorted(tally.items()) if why != "received")
    check.facts = [
        f"{len(evidence.requests)} requests received = {stored} attempts stored"
        + (f" less {less}" if less else ""),
    ]
    hidden = [c for c in evidence.call_of.values() if c.status == LYING and _has_job(evidence, c)]
    if hidden:
        check.facts.append(f"{len(hidden)} jobs started behind a 503")
    return check


def _has_job(evidence: Findings, call: Call) -> bool:
    return bool(evidence.request_of[call.id].job_id)


def _why_not_received(run: Run, call: Call, closed: list[tuple[float, float]]) -> str:
    """Why a stored attempt is not in the ledger; "" if nothing explains it."""
    if not call.sent:
        return "known as not sent"
    if call.finished is None and run.passed_through("unknown"):
        return "whose worker died between storing and sending"
    cut = call.transport_error and call.finished and overlap(closed, call.started, call.finished)
    if cut and run.passed_through("unknown"):
        return "cut off in the queue of a listener that closed"
    return ""


def _no_blind_repeat(evidence: Findings, run: Run, check: Check) -> None:
    made = [(c, evidence.request_of[c.id]) for c in run.calls if c.id in evidence.request_of]
    jobs = [call for call, entry in made if entry.job_id and call.status != LYING]
    if len(jobs) > 1:
        check.offences.append(f"run {run.id} started {len(jobs)} jobs")
    for call in run.calls[:-1]:
        refused = call.status in REFUSALS or call.error_code in REFUSAL_CODES
        if call.sent and not refused:
            check.offences.append(
                f"run {run.id}: sent again after attempt {call.attempt} had come to "
                f"HTTP {call.status} {call.error_code}{call.transport_error}"
            )
        entry = evidence.request_of.get(call.id)
        if entry is not None and entry.job_id and call.status != LYING:
            check.offences.append(f"run {run.id}: sent again after its job had been started")


def check_outcomes(evidence: Findings) -> Check:
    """Check 3: succeeded and failed match the job's end, and no other state hides a listed job.

    Check 5 verifies that the job is the run's own. All late records are listed by now: a run that
    ended without its job and was not corrected is wrong, unless the job could not be distinguished
    from others. Then the history must contain it as one that may be the run's.
    """
    check = Check("succeeded means SUCCESS in the cloud; no other end hides a listed job")
    without_record: list[int] = []
    untold: list[int] = []
    ends = 0
    for run in evidence.runs.values():
        if run.state in ("succeeded", "failed"):
            wanted = "SUCCESS" if run.state == "succeeded" else "FAIL"
            job = evidence.jobs.get(run.job_id)
            if job is None or job.status != wanted:
                status = job.status if job else "no such job"
                check.offences.append(f"run {run.id} says {run.state}, the cloud: {status}")
            else:
                ends += 1
        if run.job_id or run.state not in SENT_NOWHERE | GAVE_UP:  # check 5 verifies the job
            continue
        for own in evidence.jobs_of(run):
            if not own.listed:
                without_record.append(run.id)
            elif run.state in GAVE_UP and names(evidence.imported.get(own.job_id, ""), run):
                untold.append(run.id)
            else:
                check.offences.append(f"run {run.id} says {run.state}; its job: {own.status}")
    corrected = Counter(r.corrected_from for r in evidence.runs.values() if r.corrected_from)
    check.facts = [
        f"{ends} ends that the job's own end bears out",
        f"{corrected.total()} corrected by a job that was listed late"
        + "".join(f", {count} from {state}" for state, count in sorted(corrected.items())),
    ]
    if untold:
        check.facts.append(
            f"{len(untold)} whose job could not be told from others; it is in the history as one "
            f"that may be theirs: {untold}"
        )
    if without_record:
        check.facts.append(
            f"{len(without_record)} whose job the cloud never listed: {without_record}"
        )
    return check


def names(requested_by: str, run: Run) -> bool:
    """Whether an imported row says that the run may have created its job."""
    return bool(re.search(rf"\brun {run.id}\b", requested_by))


PROVEN, INFERRED = "proven", "inferred"
ROUNDING = 2.0  # seconds: `Date` and times of whole seconds are each rounded down


@dataclass(frozen=True, slots=True)
class Limits:
    """How far around a POST its job may be, in seconds; from the product's settings.

    Attributes:
        tolerance: maximum difference between the clocks behind `Date` and behind jobs' times.
        late: how long an unanswered POST may still be processed.
        skew: tolerance if the cloud's answers had no `Date`.
        longest: how long a request whose sender died may have been under way.
    """

    tolerance: float
    late: float
    skew: float
    longest: float


@dataclass(slots=True)
class _Judge:
    evidence: Findings
    moves: list[tuple[float, float]]
    limits: Limits
    check: Check
    tally: Counter[str] = field(default_factory=Counter)
    displaced: set[int] = field(default_factory=set)


def check_ownership(evidence: Findings, diary: Diary, limits: Limits) -> Check:
    """Check 5: no run has a job that another POST created.

    The simulator knows which request created which job. A "proven" job must be the run's own. An
    "inferred" job may also be one that somebody outside started within the POST's window, or, if
    the POST was accepted and no record fits, within the skew around the window
    (docs/run-states.md). It must never be the job of another POST. And no job of our POSTs may be
    imported as somebody else's.

    Args:
        evidence: from `gather`.
        diary: the injected troubles; a cloud clock that moves widens a window.
        limits: from the product's settings.
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


def _carries(run: Run, post: StoredPost) -> bool:
    """Whether this POST is the one that the run's job is credited to.

    The row of an undated POST does not store an inferred job, because the POST continues to
    compete for other records (docs/run-states.md, rule 4).
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
    """Seconds by which the start of a run's job lies outside its POST's window; 0 if within.

    All times are on this machine's clock, like the ledger and the stored calls.
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
        # The baseline is read before the call is stored, so its `Date` may be that much older.
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
