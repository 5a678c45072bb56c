"""The sealer: puts the pending seals of ended runs into the audit trail, many in one event.

A run's transaction only inserts its pending seal (seals.py). Were each run to append to the hash
chain itself, all of them would queue behind the chain's lock. Pending seals are found by their
missing batch and not by a range of ids, because transactions do not commit in the order of ids.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef

from backups.choices import TERMINAL
from backups.models import BackupRun, RunSeal, SealBatch
from dashboard.audit import merkle
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record
from dashboard.audit.values import canonical
from dashboard.db.concurrency import advisory_lock

from . import files, seals

logger = logging.getLogger(__name__)

MOST = 200  # runs in a batch: an event has room for that many ids (dashboard.audit.values)
BATCHES = 10  # in one call, so that the ticker's other work goes on
SEALER = Actor.process("sealer")


def seal_pending(batches: int = BATCHES) -> int:
    """Seal what is pending, the oldest first. Processes that do so at once take turns.

    Args:
        batches: at most so many.

    Returns:
        The number of seals.
    """
    done = 0
    for _turn in range(batches):
        # even an empty transaction waits for SQLite's write lock
        if not RunSeal.objects.filter(batch=None).exists():
            break
        with transaction.atomic():
            advisory_lock("seal runs")
            pending = list(RunSeal.objects.filter(batch=None).order_by("id")[:MOST])
            if pending:
                _seal(pending)
        done += len(pending)
        if len(pending) < MOST:
            break
    return done


def seal_all() -> None:
    """Seal everything that is pending now."""
    while seal_pending():
        pass


def leaf_of(seal: RunSeal) -> dict[str, Any]:
    """The leaf of a sealed run in the Merkle tree of its batch."""
    return {
        "form": seals.FORM,
        "run": seal.run_id,
        "kind": str(seal.kind),
        "facts": json.loads(seal.facts),
        "digest": seal.digest,
        "altered": seal.altered,
    }


def _seal(pending: Sequence[RunSeal]) -> None:
    found = seals.read({seal.run_id for seal in pending})
    for place, seal in enumerate(pending):
        seal.place = place
        _fill(seal, found.get(seal.run_id))
    root = merkle.root_of([merkle.leaf_hash(leaf_of(seal)) for seal in pending])
    batch = SealBatch.objects.create(root=root, runs=len(pending))
    _store(batch, pending)
    new = [seal.run_id for seal in pending if seal.kind != RunSeal.Kind.EXISTING]
    files.plan(new)
    details: dict[str, Any] = {"root": root, "runs": [seal.run_id for seal in pending]}
    if existing := sum(seal.kind == RunSeal.Kind.EXISTING for seal in pending):
        details["existing"] = existing
    # Last, because everybody who records an event waits from here on.
    event = record(Action.RUNS_SEALED, actor=SEALER, details=details)
    SealBatch.objects.filter(pk=batch.pk).update(event=event.sequence)


def _fill(seal: RunSeal, run: seals.Sealed | None) -> None:
    """Complete a pending seal with what its run says now."""
    if run is None:  # deleted before the sealer came to it; the check of the seals says so
        seal.altered = "row"
        return
    stated = json.loads(seal.facts)
    corrected = seal.kind != RunSeal.Kind.CORRECTION and run.facts["corrected_from"]
    changed = [name for name, value in stated.items() if run.facts.get(name) != value]
    seal.altered = "" if corrected else ", ".join(changed)[:300]
    seal.facts = canonical(run.facts).decode("ascii")
    seal.covers = canonical(run.covers).decode("ascii")
    seal.digest = run.digest


_COLUMNS = ("id", "place", "facts", "digest", "covers", "altered")


def _store(batch: SealBatch, sealed: Sequence[RunSeal]) -> None:
    """Write the seals in one statement; Django's bulk_update takes far longer."""
    # both databases name the columns of VALUES column1, column2, …
    sets = ", ".join(f"{name} = v.column{at}" for at, name in enumerate(_COLUMNS[1:], start=2))
    one = f"({', '.join(['%s'] * len(_COLUMNS))})"
    sql = (
        f"UPDATE backups_run_seal SET batch_id = %s, {sets} "  # noqa: S608 - names of our own
        f"FROM (VALUES {', '.join([one] * len(sealed))}) AS v "
        "WHERE backups_run_seal.id = v.column1 AND backups_run_seal.batch_id IS NULL"
    )
    values = [getattr(seal, name) for seal in sealed for name in _COLUMNS]
    with connection.cursor() as cursor:
        cursor.execute(sql, [batch.pk, *values])
        if cursor.rowcount != len(sealed):
            raise RuntimeError(f"{cursor.rowcount} of {len(sealed)} seals were pending")


def unsealed() -> Any:
    """Ended runs that have no seal, not even a pending one."""
    mine = RunSeal.objects.filter(run_id=OuterRef("pk"))
    return BackupRun.objects.filter(~Exists(mine), state__in=TERMINAL)


def pend_existing() -> int:
    """Give every ended run without a seal a pending one that is marked as such.

    Returns:
        The number of runs.
    """
    done = 0
    while True:
        with transaction.atomic():
            advisory_lock("seal runs")
            runs = list(unsealed().order_by("pk")[:MOST])
            seals.pend_all(runs, RunSeal.Kind.EXISTING)
        done += len(runs)
        if len(runs) < MOST:
            return done
