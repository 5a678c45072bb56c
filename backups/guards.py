"""The database triggers that keep ended runs as they are; their SQL is in `sql/`.

Once a run has ended, its row, its events, its POSTs and its finished calls stay, with three
exceptions. Each of them needs an audit event that records it: masking empties names and addresses;
a correction gives a run that ended without its job this job and the state that follows, once; a
retention run deletes what ended before its cutoff. docs/retention.md and docs/run-states.md say
more.
"""

from __future__ import annotations

from pathlib import Path

from dashboard.db.triggers import Guards

GUARDS = Guards("backups", Path(__file__).with_name("sql"))
# refuses runs that begin with their end; tests and benchmarks, which make such runs, lift it
BEGINNINGS = Guards("backups", Path(__file__).with_name("sql") / "beginnings")
# writes ScopeChange and ObjectiveChange, whoever changes a cluster or a project
CHANGES = Guards("backups", Path(__file__).with_name("sql") / "changes")
