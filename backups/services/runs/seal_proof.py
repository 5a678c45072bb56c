"""The seal of one run: where it stands in the audit trail, and a proof for readers elsewhere."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import OuterRef, QuerySet, Subquery

from backups.models import BackupRun, RunSeal
from backups.models.run import BackupRunQuerySet
from dashboard.audit import merkle
from dashboard.audit.export import public_base64, signing_key
from dashboard.audit.models import AuditEvent
from dashboard.audit.values import canonical

from . import seals
from .sealing import leaf_of

logger = logging.getLogger(__name__)

FORMAT = "css-log-backup-run/1"


@dataclass(frozen=True, slots=True)
class SealStatus:
    """The seal of a run.

    Attributes:
        kind: what was sealed: the end, a correction, or a run that existed already.
        event: sequence of the audit event; None: pending.
    """

    kind: str
    event: int | None

    @property
    def is_existing(self) -> bool:
        """Whether the run had ended without a seal and was sealed later."""
        return self.kind == RunSeal.Kind.EXISTING


def with_seal(runs: BackupRunQuerySet) -> BackupRunQuerySet:
    """Have a query of runs load what `status_of` needs."""
    latest = _latest(OuterRef("pk"))
    return runs.annotate(
        seal_kind=Subquery(latest.values("kind")[:1]),
        seal_event=Subquery(latest.values("batch__event")[:1]),
    )


def status_of(run: BackupRun) -> SealStatus | None:
    """Return the seal of a run of `with_seal`; None if it has not ended, or ended without one."""
    kind: str | None = getattr(run, "seal_kind", None)
    return (
        None
        if kind is None or run.is_active
        else SealStatus(kind, getattr(run, "seal_event", None))
    )


def _latest(run_id: OuterRef | int) -> QuerySet[RunSeal]:
    """The seals of a run, first the one that describes it as it is: a correction, then the end."""
    return RunSeal.objects.filter(run_id=run_id).order_by("kind")


def document(run: BackupRun, *, with_proof: bool) -> dict[str, Any] | None:
    """Return the seal of a run as JSON, for `serialize.run_document`.

    Args:
        run: the run.
        with_proof: add the proof, which contains an event of the audit trail.

    Returns:
        `kind`, `event` (None: pending) and `proof` (None: pending, not asked for, or retention has
        deleted the event); None if there is no seal.
    """
    seal = _latest(run.pk).select_related("batch").first()
    if seal is None or run.is_active:
        return None
    event = seal.batch.event if seal.batch is not None else None
    proof = _proof(seal) if with_proof and event is not None else None
    return {"kind": str(seal.kind), "event": event, "proof": proof}


def _proof(seal: RunSeal) -> dict[str, Any] | None:
    batch = seal.batch
    number = batch.event if batch is not None else None
    event = AuditEvent.objects.filter(sequence=number or 0).first()
    run = seals.read([seal.run_id], {seal.run_id: json.loads(seal.covers or "null")}).get(
        seal.run_id
    )
    if batch is None or event is None or run is None:
        return None
    leaves = [merkle.leaf_hash(leaf_of(each)) for each in batch.seals.order_by("place")]
    proof = {
        "format": FORMAT,
        "content": run.content,
        "leaf": leaf_of(seal),
        "path": merkle.path_of(leaves, seal.place),
        "event": event.content(),
        "event_hash": event.hash,
    }
    try:
        key = signing_key()
    except (ImproperlyConfigured, OSError) as error:
        logger.warning("a run's proof is not signed: %s", error)
        return {**proof, "public_key": None, "signature": None}
    proof["public_key"] = public_base64(key)
    signature = key.sign(FORMAT.encode() + b"\n" + canonical(proof))
    return {**proof, "signature": base64.b64encode(signature).decode("ascii")}
