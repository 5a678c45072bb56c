"""The database triggers that keep the audit trail append-only; their SQL is in `sql/`.

They refuse every change of an event except two: emptying its personal part, and deleting events up
to an anchor. A new event is accepted only as the next link of the chain. The owner of the database
can drop them; docs/audit.md says what protection remains then.
"""

from __future__ import annotations

from pathlib import Path

from dashboard.db.triggers import Guards

GUARDS = Guards("audit", Path(__file__).with_name("sql"))
