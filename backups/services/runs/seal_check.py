"""Hold the runs against their seals: part of every verification of the audit trail.

It names runs that were changed, runs that have no seal although they ended, and runs that are
missing although no retention run deleted them. dashboard.audit.verification calls it by way of the
setting AUDIT_RECORD_CHECKS.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import Exists, Max, OuterRef, Subquery
from django.utils import timezone

from backups.choices import RunState
from backups.models import BackupRun, RetentionKind, RetentionRun, RunSeal, SealBatch
from dashboard.audit import merkle, trail
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.values import instant
from dashboard.audit.verification import RecordsReport

from . import seals
from .sealing import leaf_of, unsealed

CHUNK = 20  # events of the sealer, each with up to 200 runs, that are read together
NAMED = 20  # problems that are described; the others are counted
LATE = timedelta(minutes=1)


def check(after: int | None) -> RecordsReport:
    """Hold the runs against their seals.

    Args:
        after: sequence of the last verified event: only what was sealed later is digested. None:
            everything. Missing and unsealed runs are looked for among all runs in any case.
    """
    reading = _Reading()
    for batches, events in _sealings(after or 0, trail.head().sequence):
        reading.batches(batches, events)
    for pk, facts in _lost():
        if not reading.may_be_deleted(facts):
            reading.say(f"run {pk} is missing, and no retention run has deleted it")
    for pk in unsealed().order_by("pk").values_list("pk", flat=True).iterator():
        reading.say(f"run {pk} has ended and has no seal")
    if SealBatch.objects.filter(event=None).exists():
        reading.say("a batch of seals has no event")
    late = RunSeal.objects.filter(batch=None, made_at__lt=timezone.now() - LATE)
    return RecordsReport(reading.runs, reading.problems, reading.more, late.count())


def _sealings(after: int, until: int) -> Iterator[tuple[list[SealBatch], dict[int, AuditEvent]]]:
    """Yield batches, and the sealer's events, of the same stretches of the chain.

    Args:
        after, until: numbers of events; what is sealed meanwhile is left to the next verification.
    """
    sealed = AuditEvent.objects.filter(action=Action.RUNS_SEALED, sequence__lte=until)
    while after < until:
        events = list(sealed.filter(sequence__gt=after).order_by("sequence")[:CHUNK])
        known = SealBatch.objects.filter(event__gt=after, event__lte=until)
        batches = list(known.order_by("event")[:CHUNK])
        end = until
        if len(events) == CHUNK:
            end = min(end, events[-1].sequence)
        if len(batches) == CHUNK:
            end = min(end, batches[-1].event or end)
        yield (
            [batch for batch in batches if (batch.event or 0) <= end],
            {event.sequence: event for event in events if event.sequence <= end},
        )
        after = end


def _lost() -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield runs that have seals and do not exist, with their last sealed facts."""
    run = BackupRun.objects.filter(pk=OuterRef("run_id"))
    corrected = RunSeal.objects.filter(
        run_id=OuterRef("run_id"), kind=RunSeal.Kind.CORRECTION, batch__isnull=False
    )
    found = RunSeal.objects.filter(~Exists(run), batch__isnull=False)
    found = found.exclude(kind=RunSeal.Kind.CORRECTION).order_by("pk")
    facts = Subquery(corrected.values("facts")[:1])
    for pk, first, last in found.values_list("run_id", "facts", facts).iterator():
        # a correction whose run was gone before its seal says only what it changed
        yield pk, _object(first) | _object(last or "{}")


def _object(text: str) -> dict[str, Any]:
    """Parse a column of a seal; {} for what is no object, which then differs from everything."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _covers(seal: RunSeal) -> dict[str, list[int]]:
    return {"events": [], "calls": [], "open": []} | _object(seal.covers)


@dataclass
class _Reading:
    runs: int = 0
    problems: list[str] = field(default_factory=list)
    more: int = 0
    anchor: int = field(default_factory=lambda: trail.beginning().sequence)
    _cutoffs: dict[str, str] = field(default_factory=dict)

    def say(self, problem: str) -> None:
        if len(self.problems) < NAMED:
            self.problems.append(problem)
        else:
            self.more += 1

    def batches(self, batches: Sequence[SealBatch], events: dict[int, AuditEvent]) -> None:
        by_batch: dict[int, list[RunSeal]] = {batch.pk: [] for batch in batches}
        for seal in RunSeal.objects.filter(batch__in=by_batch).order_by("batch", "place"):
            by_batch[int(seal.batch_id or 0)].append(seal)
        told = {int(batch.event or 0) for batch in batches}
        for event in events.values():
            if event.sequence not in told:
                self.say(f"the seals of event {event.sequence} are missing")
        for batch in batches:
            self._root(batch, by_batch[batch.pk], events.get(int(batch.event or 0)))
        self._digests([seal for each in by_batch.values() for seal in each])

    def _root(self, batch: SealBatch, found: list[RunSeal], event: AuditEvent | None) -> None:
        """Compare a batch with its event."""
        if event is None:
            # retention has deleted older events; then only the digests can be compared
            if int(batch.event or 0) > self.anchor:
                self.say(f"event {batch.event} has not sealed the runs that refer to it")
            return
        details = event.details or {}
        gone = set(details.get("runs", [])) - {seal.run_id for seal in found}
        for pk in sorted(gone):
            self.say(f"run {pk}: its seal in event {event.sequence} is missing")
        try:
            leaves = [merkle.leaf_hash(leaf_of(seal)) for seal in found]
        except ValueError:  # facts that are no JSON
            leaves = []
        root = merkle.root_of(leaves) if leaves else ""
        if not gone and root != details.get("root"):
            self.say(f"the seals of event {event.sequence} do not match its root")

    def _digests(self, sealed: list[RunSeal]) -> None:
        """Compare runs with their digests."""
        kinds = _kinds(sealed)
        covered = {}
        for seal in sealed:
            if seal.altered:
                self.say(
                    f"run {seal.run_id} was changed between its end and its seal: {seal.altered}"
                )
            if not _superseded(seal, kinds[seal.run_id]):
                covered[seal.run_id] = _covers(seal)
            if seal.kind == RunSeal.Kind.EXISTING and len(kinds[seal.run_id]) > 1:
                self.say(f"run {seal.run_id} was sealed a second time")
        found = seals.read(covered, covered)
        for seal in sealed:
            run = found.get(seal.run_id)
            if run is None or _superseded(seal, kinds[seal.run_id]):
                continue
            self.runs += 1
            if run.digest != seal.digest:
                self._second_look(seal)
        self._corrections(
            {
                seal.run_id: found[seal.run_id].content["run"]["corrected_by"]
                for seal in sealed
                if seal.kind == RunSeal.Kind.CORRECTION and seal.run_id in found
            }
        )

    def _second_look(self, seal: RunSeal) -> None:
        """Name a run that differs, unless it was corrected or deleted while it was read."""
        kinds = _kinds([seal])[seal.run_id]
        found = seals.read([seal.run_id], {seal.run_id: _covers(seal)})
        run = found.get(seal.run_id)
        if run is not None and run.digest != seal.digest and not _superseded(seal, kinds):
            self.say(f"run {seal.run_id} {_difference(seal, run)}")

    def _corrections(self, corrected: dict[int, int | None]) -> None:
        """Each corrected run needs its event in the trail."""
        told = AuditEvent.objects.filter(
            sequence__in=[number for number in corrected.values() if number is not None],
            action=Action.RUN_CORRECTED,
        )
        about = {event.sequence: event.target_id for event in told}
        for pk, number in corrected.items():
            if (number or 0) <= self.anchor and number is not None:
                continue
            if about.get(number or 0) != str(pk):
                self.say(f"run {pk} was corrected, and no event says so")

    def may_be_deleted(self, facts: dict[str, Any]) -> bool:
        """Whether a retention run was announced that deletes such a run."""
        well = facts.get("state") == RunState.SUCCEEDED
        kind = RetentionKind.SUCCESSES if well else RetentionKind.FAILURES
        finished_at = str(facts.get("finished_at") or "~")
        if finished_at >= self._cutoffs.get(kind, ""):  # one may have been announced meanwhile
            newest = RetentionRun.objects.values_list("kind").annotate(Max("cutoff")).order_by()
            self._cutoffs = {name: instant(cutoff) for name, cutoff in newest}
        return finished_at < self._cutoffs.get(kind, "")


def _kinds(sealed: Sequence[RunSeal]) -> dict[int, set[str]]:
    """All kinds of seals, pending ones too, of the runs of some seals."""
    kinds: dict[int, set[str]] = {seal.run_id: set() for seal in sealed}
    rows = RunSeal.objects.filter(run_id__in=kinds).order_by()
    for run_id, kind in rows.values_list("run_id", "kind"):
        kinds[run_id].add(kind)
    return kinds


def _superseded(seal: RunSeal, kinds: set[str]) -> bool:
    """Whether the run was corrected after this seal, which then no longer describes it."""
    return seal.kind != RunSeal.Kind.CORRECTION and RunSeal.Kind.CORRECTION in kinds


def _difference(seal: RunSeal, run: seals.Sealed) -> str:
    """Say what differs, as far as the facts in the seal tell."""
    facts = _object(seal.facts)
    changed = [name for name, value in facts.items() if run.facts.get(name) != value]
    if changed:
        return f"differs from its seal: {', '.join(changed)}"
    covers = _covers(seal)
    if any(run.covers[name] != covers[name] for name in covers):
        return "lacks events or calls that its seal covers"
    return "differs from its seal: a column, an event or a call"
