"""Check 6: whether the audit trail alone, as `audit_verify` reads it, vouches for every run."""

from __future__ import annotations

from .checks import Check
from .stack import until

SECONDS = 10.0  # to seal what ended last; a worker does it once a second


def check_seals() -> Check:
    """Check 6: every run that ended is sealed, matches its seal, and none is missing."""
    # These need Django, which is set up when this is called.
    from backups.models import RunSeal
    from dashboard.audit.verification import verify_chain, verify_records

    check = Check("audit_verify vouches for every ended run")
    if not until(lambda: not RunSeal.objects.filter(batch=None).exists(), SECONDS):
        left = RunSeal.objects.filter(batch=None).values_list("run_id", flat=True)
        check.offences += [f"run {pk} is not sealed" for pk in left[:20]]
    chain, records = verify_chain(), verify_records()
    if chain.broken_at is not None:
        check.offences.append(f"the chain is broken at event {chain.broken_at}: {chain.problem}")
    check.offences += records.problems
    check.facts = [f"{chain.events} events of the chain, {records.records} runs and their seals"]
    return check
