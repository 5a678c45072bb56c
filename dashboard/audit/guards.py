"""Database triggers that keep the audit trail append-only, on PostgreSQL and SQLite.

They allow two changes of stored events: emptying the personal data once an event records it, and
deleting events up to an anchor. A new event must be the next link of the chain. The owner of the
database can drop the triggers; docs/audit.md describes what still holds then.
"""

from __future__ import annotations

from dashboard.db.triggers import Guards, RowGuard

from .values import GENESIS

EVENTS, ANCHORS = "audit_event", "audit_anchor"
# Columns that masking empties; those of a target only if the target is a person.
EMPTIED = ("actor_name", "ip", "user_agent", "salt")
NULLED = ("actor_user_id",)
EMPTIED_OF_PERSONS = ("target_id", "target_label")
CHANGED_BY_MASKING = (*EMPTIED, *NULLED, *EMPTIED_OF_PERSONS, "masked_by")

_NEXT = (
    f"1 + COALESCE((SELECT MAX(sequence) FROM {EVENTS}), (SELECT MAX(sequence) FROM {ANCHORS}), 0)"
)
_PREVIOUS = (
    f"COALESCE((SELECT hash FROM {EVENTS} WHERE sequence = NEW.sequence - 1), "
    f"(SELECT hash FROM {ANCHORS} WHERE sequence = NEW.sequence - 1), '{GENESIS}')"
)
_ANCHORED = f"COALESCE((SELECT MAX(sequence) FROM {ANCHORS}), 0)"
_MASKED = " AND ".join(
    [
        "OLD.masked_by IS NULL",
        *(f"NEW.{column} = ''" for column in EMPTIED),
        *(f"NEW.{column} IS NULL" for column in NULLED),
        *(
            f"(NEW.{column} = OLD.{column} AND NOT OLD.target_is_person "
            f"OR NEW.{column} = '' AND OLD.target_is_person)"
            for column in EMPTIED_OF_PERSONS
        ),
        f"EXISTS (SELECT 1 FROM {EVENTS} AS told WHERE told.sequence = NEW.masked_by "
        "AND told.sequence > OLD.sequence AND told.action = 'personal_data_masked')",
    ]
)
_RIGHT_ANCHOR = (
    f"NEW.sequence > {_ANCHORED} "
    f"AND EXISTS (SELECT 1 FROM {EVENTS} AS gone WHERE gone.sequence = NEW.sequence "
    "AND gone.hash = NEW.hash AND gone.at = NEW.at) "
    f"AND EXISTS (SELECT 1 FROM {EVENTS} AS told WHERE told.sequence = NEW.recorded_by "
    "AND told.sequence > NEW.sequence AND told.action = 'retention_run')"
)

_NEXT_LINK = f"NEW.sequence = {_NEXT} AND NEW.previous_hash = {_PREVIOUS} AND NEW.masked_by IS NULL"

GUARDS = Guards(
    rows={
        "audit_event_append": RowGuard(EVENTS, "INSERT", _NEXT_LINK),
        "audit_event_mask": RowGuard(
            EVENTS, "UPDATE", f"{{same}} AND {_MASKED}", changing=CHANGED_BY_MASKING
        ),
        "audit_event_prune": RowGuard(EVENTS, "DELETE", f"OLD.sequence <= {_ANCHORED}"),
        "audit_anchor_append": RowGuard(ANCHORS, "INSERT", _RIGHT_ANCHOR),
        "audit_anchor_update": RowGuard(ANCHORS, "UPDATE", "1 = 0"),
        "audit_anchor_delete": RowGuard(ANCHORS, "DELETE", "1 = 0"),
    },
    truncates={"audit_event_truncate": EVENTS, "audit_anchor_truncate": ANCHORS},
    refusal="The audit trail is append-only: %s of %s refused",
    refuse="audit_refuse",
    migration=("audit", "0002_guards"),
)
install, remove, missing = GUARDS.install, GUARDS.remove, GUARDS.missing
