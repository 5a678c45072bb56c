"""How fast the product recovers, measured from its events and the diary of troubles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from .checks import Check
from .evidence import Findings, Run, RunStep
from .trouble import AWAY, Diary, Interval, intersection, overlap, union

RESUME_TARGET = 15.0  # seconds until queued work is sent again
SETTLE_TARGET = 30.0  # seconds until a dead worker's run is settled
OPEN_ENDS = ("sending", "unknown")


@dataclass(frozen=True, slots=True)
class Sample:
    """One recovery, in seconds.

    Attributes:
        run: id of the run.
        gross: elapsed time.
        net: elapsed time without other outages of services that the recovery needs.
    """

    run: int
    gross: float
    net: float

    @property
    def disturbed(self) -> bool:
        """Whether there was another outage at the same time."""
        return self.gross - self.net > 0.001


@dataclass(slots=True)
class Distribution:
    """Samples of one kind; `target` bounds their net time."""

    title: str
    target: float
    samples: list[Sample] = field(default_factory=list)

    def undisturbed(self) -> list[float]:
        """The recoveries without another outage at the same time, in seconds."""
        return [sample.gross for sample in self.samples if not sample.disturbed]

    def late(self) -> list[Sample]:
        """Samples beyond the target."""
        return [sample for sample in self.samples if sample.net > self.target]


def no_workers(diary: Diary, workers: Sequence[str]) -> list[Interval]:
    """The intervals without any worker."""
    lives: dict[str, list[Interval]] = {name: [] for name in workers}
    for entry in diary.entries("worker SIGKILL", AWAY):
        lives[entry.detail].append((entry.began, entry.ended))
    return intersection(lives.values())


def measure(evidence: Findings, diary: Diary, workers: Sequence[str]) -> list[Distribution]:
    """The distributions that the report prints."""
    outages = {
        "the broker": diary.intervals("redis restarted empty"),
        "a worker": no_workers(diary, workers),
        "the database": diary.intervals("database away"),
    }
    needed = union([one for each in outages.values() for one in each])
    cloud = ("records unreadable", "listener closed", "identity trouble")
    answers = union([*needed, *diary.intervals(*cloud)])
    result = []
    for name, intervals in outages.items():
        resumed = Distribution(f"{name} is back → first queued run sent", RESUME_TARGET)
        for _, back in union(intervals):
            if sample := _resumed(evidence, back, needed):
                resumed.samples.append(sample)
        result.append(resumed)
    settled = Distribution("worker killed → its run settled", SETTLE_TARGET)
    settled.samples = _settled(evidence, diary, answers)
    return [*result, settled]


def _resumed(evidence: Findings, back: float, needed: list[Interval]) -> Sample | None:
    """The first run sent after `back`, of those that waited for nothing else at that time."""
    first: tuple[float, int] | None = None
    for run in evidence.runs.values():
        moves = _moves(run)
        for queued, after in pairwise(moves):
            # A retry, whose event has an outcome, waits for its time, not for broker or worker.
            due = queued.to_state == "queued" and not queued.outcome
            if not (due and queued.at <= back < after.at):
                continue
            if after.to_state == "sending" and (first is None or after.at < first[0]):
                first = (after.at, run.id)
    if first is None:
        return None
    gross = first[0] - back
    return Sample(first[1], gross, gross - overlap(needed, back, first[0]))


def _settled(evidence: Findings, diary: Diary, answers: list[Interval]) -> list[Sample]:
    deaths: dict[int, list[float]] = defaultdict(list)
    for entry in diary.entries("worker SIGKILL"):
        deaths[entry.pid].append(entry.began)
    samples = []
    for run in evidence.runs.values():
        for claim, end in _claims(run):
            for death in deaths.get(_pid(claim.actor), []):
                if claim.at <= death and (end is None or end.at > death):
                    settled = _settled_at(run, death)
                    if settled is not None:
                        gross = settled - death
                        net = gross - overlap(answers, death, settled)
                        samples.append(Sample(run.id, gross, net))
    return samples


def _moves(run: Run) -> list[RunStep]:
    """Events that changed the state, without joins and notes."""
    return [step for step in run.steps if step.from_state != step.to_state]


def _claims(run: Run) -> list[tuple[RunStep, RunStep | None]]:
    """Each claim with the transition that ended it."""
    moves = _moves(run)
    following = [*moves[1:], None]
    return [(a, b) for a, b in zip(moves, following, strict=True) if a.to_state == "sending"]


def _settled_at(run: Run, death: float) -> float | None:
    for step in _moves(run):
        if step.at > death and step.to_state not in OPEN_ENDS:
            return step.at
    return None


def _pid(actor: str) -> int:
    """The process id in "host:pid:random", 0 for a person's name."""
    parts = actor.rsplit(":", 2)
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else 0


def check_recovery(
    evidence: Findings, diary: Diary, distributions: Sequence[Distribution], dark: set[str]
) -> Check:
    """Check 4: no dead worker keeps a claim, and recoveries meet their targets."""
    check = Check("nothing stays claimed by the dead; recovery within its target")
    for run in evidence.runs.values():
        if run.state == "sending" or run.claimed_by:
            check.offences.append(f"run {run.id} is {run.state}, claimed by {run.claimed_by}")
    away = diary.intervals("database away")
    for entry in diary.entries("worker SIGTERM"):
        for run in evidence.runs.values():
            for claim, end in _claims(run):
                left = _pid(claim.actor) == entry.pid and (end is None or end.at > entry.ended)
                if left and not overlap(away, entry.began, entry.ended):
                    check.offences.append(f"run {run.id} was left in SENDING by a worker's SIGTERM")
    for distribution in distributions:
        for sample in distribution.late():
            if evidence.runs[sample.run].cluster not in dark:
                check.offences.append(
                    f"run {sample.run}: {distribution.title}: {sample.net:.1f} s "
                    f"(target {distribution.target:.0f} s)"
                )
    return check
