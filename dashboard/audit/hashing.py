"""The hashes of many events, without a model object for each.

`AuditEvent.content_hash` and `personal_digest` say what is hashed; a test holds this against them.
A verification reads every event, and here one takes a fraction of the time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django.db import connection

# the columns of a row, in the order in which `RowHashes.of` unpacks them
COLUMNS = (
    *("sequence", "form", "at", "action", "request_id", "actor_name", "actor_user_id", "ip"),
    *("user_agent", "salt", "personal", "masked_by", "target_type", "target_is_person"),
    *("target_id", "target_label", "project_id", "project_label", "reason", "before", "after"),
    *("details", "previous_hash", "hash"),
)
# as `canonical`; json.dumps would make an encoder for each call
_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False, check_circular=False
)
_text = json.encoder.encode_basestring_ascii
_value = _ENCODER.encode
# The time as it is hashed, to the millisecond. On SQLite a time is text with a fraction if it has
# one, as in 2026-01-31 12:00:00.123000.
_TIME = {
    "postgresql": """to_char("at" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""",
    "sqlite": """substr("at", 1, 10) || 'T' || substr("at", 12, 8) || '.' ||
        CASE length("at") WHEN 19 THEN '000' ELSE substr("at", 21, 3) END || 'Z'""",
}


@dataclass(slots=True)
class RowHashes:
    """What verification needs of an event.

    Attributes:
        sequence, previous_hash, hash, masked_by, personal: as stored.
        content_hash: computed from the stored content.
        personal_digest: computed from the stored personal data; "" if the event is masked.
        has_personal: whether personal data or a salt is stored.
    """

    sequence: int
    previous_hash: str
    hash: str
    masked_by: int | None
    personal: str
    content_hash: str
    personal_digest: str
    has_personal: bool

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> RowHashes:
        """Compute the hashes of a row of COLUMNS, with `at` as it is hashed and JSON as text."""
        # fmt: off
        (
            sequence, form, at, action, request_id, actor, user_id, ip, user_agent, salt, personal,
            masked_by, target_type, person, target_id, target_label, project_id, project_label,
            reason, before, after, details, previous_hash, digest,
        ) = row
        # fmt: on
        content = (
            f'{{"action":{_text(action)},"after":{_json(after)},"at":"{at}",'
            f'"before":{_json(before)},"details":{_json(details)},"form":{form},'
            f'"personal":{_text(personal)},"previous_hash":{_text(previous_hash)},'
            f'"project":{{"id":{_number(project_id)},"label":{_text(project_label)}}},'
            f'"reason":{_text(reason)},"request_id":{_text(request_id)},"sequence":{sequence},'
            f'"target":{{"id":{"null" if person else _text(target_id)},'
            f'"is_person":{"true" if person else "false"},'
            f'"label":{"null" if person else _text(target_label)},"type":{_text(target_type)}}}}}'
        )
        about = (
            f'"target_id":{_text(target_id)},"target_label":{_text(target_label)},'
            if person
            else ""
        )
        digested = ""
        if masked_by is None:
            digested = sha256(
                (
                    f'{{"personal":{{"actor":{_text(actor)},"ip":{_text(ip)},{about}'
                    f'"user_agent":{_text(user_agent)},"user_id":{_number(user_id)}}},'
                    f'"salt":{_text(salt)}}}'
                ).encode("ascii")
            ).hexdigest()
        held = bool(actor or user_id or ip or user_agent or salt)
        return cls(
            sequence,
            previous_hash,
            digest,
            masked_by,
            personal,
            sha256(content.encode("ascii")).hexdigest(),
            digested,
            held or bool(person and (target_id or target_label)),
        )


def read_rows(after: int, until: int, limit: int) -> list[RowHashes]:
    """Read events without Django's conversions, which take most of the time otherwise.

    Args:
        after: number of the event before the first.
        until: number of the last event at most.
        limit: maximum number of events.
    """
    time = _TIME[connection.vendor]
    columns = ", ".join(time if name == "at" else f'"{name}"' for name in COLUMNS)
    sql = (
        f"SELECT {columns} FROM audit_event "  # noqa: S608 - names of our own
        "WHERE sequence > %s AND sequence <= %s ORDER BY sequence LIMIT %s"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [after, until, limit])
        return [RowHashes.of(row) for row in cursor.fetchall()]


def _json(value: str | None) -> str:
    return "null" if value is None else _value(json.loads(value))


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)
