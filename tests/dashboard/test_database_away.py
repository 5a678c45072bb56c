"""Commands without a database: one line and a status of their own, never one that means more."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.instances import ROOT, clean_environment

COMMANDS = {
    "audit_verify": (),
    "audit_export": (),
    "backup": ("--all",),
    "retention": (),
    "runs": ("list",),
    "report": (),
    "tokens": ("revoke", "1"),
    "sync_clusters": (),
    "grant": ("anna", "viewer"),
    "remove_second_factor": ("anna",),
}


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


def run(folder: Path, database: str, name: str) -> subprocess.CompletedProcess[str]:
    (folder / "data").mkdir(exist_ok=True)
    clouds = folder / "clouds.yaml"
    clouds.write_text(
        "clouds: {a: {auth_type: password, auth: {auth_url: 'http://127.0.0.1:1/v3',"
        " username: u, password: p, project_name: x, user_domain_name: d}}}\n"
    )
    environ = clean_environment(
        folder, DATABASE_URL=database, OS_CLIENT_CONFIG_FILE=str(clouds), DEBUG="1"
    )
    return subprocess.run(
        [sys.executable, "manage.py", name, *COMMANDS[name]],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_without_a_database_ends_with_4_and_one_line(tmp_path: Path, name: str) -> None:
    answer = run(tmp_path, f"postgres://nobody@127.0.0.1:{free_port()}/none", name)
    assert answer.returncode == 4, answer.stderr
    assert answer.stderr.startswith("CommandError: the database is not usable: ")
    assert answer.stderr.count("\n") == 1
    assert answer.stdout == ""


def test_the_same_holds_for_a_database_that_has_no_tables(tmp_path: Path) -> None:
    answer = run(tmp_path, f"sqlite:///{tmp_path}/empty.sqlite3", "audit_verify")
    assert answer.returncode == 4, answer.stderr
    assert answer.stderr.startswith("CommandError: the database is not usable: no such table")
    assert "Traceback" not in answer.stderr
