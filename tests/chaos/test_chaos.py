"""A small chaos run, as `make chaos` does it large: the product under fire keeps its promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.stack import StackError, find_binaries

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 24
# A run ends sooner where it waits less; what is promised does not change with these.
BRISK = {
    "HEARTBEAT_INTERVAL": "1",
    "HEARTBEAT_STALE_AFTER": "5",
    "BACKUP_SETTLE_GRACE": "14",
    "BACKUP_RECORD_GRACE": "12",
    "BACKUP_REDISPATCH_AFTER": "4",
}


def databases() -> list[str]:
    """The database that the suite runs on; a run on PostgreSQL makes a cluster of its own."""
    return ["postgres"] if os.environ.get("DATABASE_URL") else ["sqlite"]


@pytest.mark.e2e
@pytest.mark.parametrize("database", databases())
def test_no_run_is_lost_none_sent_twice_and_none_left_running_under_fire(
    database: str, tmp_path: Path
) -> None:
    if database == "postgres":
        try:
            find_binaries()
        except StackError as error:
            pytest.skip(str(error))
    report_file = tmp_path / "report.json"
    options = ["--clicks", "50", "--clusters", "20", "--seconds", str(SECONDS), "--seed", "5"]
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "chaos", *options),
            *("--database", database, "--json", str(report_file)),
        ],
        cwd=ROOT,
        env={**os.environ, **BRISK},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert finished.returncode == 0, f"{finished.stdout}\n{finished.stderr}"
    report = json.loads(report_file.read_text())
    assert [check["passed"] for check in report["checks"]] == [True] * 7
    # and there was fire
    troubles = report["troubles"]
    assert {"worker SIGKILL", "redis restarted empty", "database away"} <= set(troubles), troubles
    assert sum(report["faults"].values()) > 10
    assert any("2 batches" in fact for check in report["checks"] for fact in check["facts"])
    assert report["clicks"]["answered"] == report["clicks"]["forms"] >= 50
    assert report["states"]["succeeded"] > 0
    assert report["passed_through_unknown"] > 0
    # and jobs were listed when their runs had ended without them
    assert report["evidence"].get("proven", 0) > 0
    assert any("listed too late" in name for name in report["cards"]), report["cards"]
    assert sum(report["corrected"].values()) > 0
