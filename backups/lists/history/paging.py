"""The order of the history: newest request first."""

from __future__ import annotations

from django.db.models import QuerySet

from backups.models import BackupRun
from dashboard.db.keyset import Keyset

Runs = QuerySet[BackupRun]
RUN_KEYSET = Keyset(BackupRun, "requested_at")
