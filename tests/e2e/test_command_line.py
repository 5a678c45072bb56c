"""The command line as processes: exit statuses, pipes that close, Ctrl-C, terminals, `doctor`."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.instances import ROOT
from tests.stack import Stack

pytestmark = pytest.mark.e2e
SECONDS = 120.0


def start(stack: Stack, *arguments: str, **options: object) -> subprocess.Popen[str]:
    environ: dict[str, str] = options.pop("environ", {})  # type: ignore[assignment]
    return subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        cwd=stack.instance.data_dir.parent,
        env={**stack.instance.environ, **environ},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # a suite that runs in the background of a shell has it ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,  # type: ignore[call-overload]
    )


def doctor(stack: Stack, **environ: str) -> tuple[int, dict[str, list[dict[str, str]]], float]:
    """Its status, its findings by check, and how long it took."""
    begun = time.monotonic()
    process = start(stack, "doctor", "--json", environ=environ, stdout=subprocess.PIPE)
    out, err = process.communicate(timeout=SECONDS)
    assert "Traceback" not in err
    found: dict[str, list[dict[str, str]]] = {}
    for line in out.splitlines():
        each = json.loads(line)
        found.setdefault(each["check"], []).append(each)
    return process.returncode, found, time.monotonic() - begun


def wrong(found: dict[str, list[dict[str, str]]]) -> set[str]:
    return {name for name, some in found.items() for each in some if each["state"] == "problem"}


def test_doctor_finds_nothing_wrong_with_a_product_that_runs(stack: Stack) -> None:
    status, found, _seconds = doctor(stack)
    assert wrong(found) == set(), found
    assert status == 0
    names = {"database", "migrations", "guards", "broker", "worker", "sweep", "instance"}
    assert names | {"disk", "tls", "settings", "cloud / demo / eu-de"} <= set(found)


def test_doctor_survives_what_it_looks_for(stack: Stack, tmp_path: Path) -> None:
    """Nobody listens on port 1: neither a database, nor Redis, nor a cloud."""
    auth = "auth_url: 'http://127.0.0.1:1/v3', username: u, password: p, project_name: x"
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text(f"clouds: {{a: {{region_name: r, auth: {{{auth}, user_domain_name: d}}}}}}")
    elsewhere = {"DEMO_CLOUD": "0", "OS_CLIENT_CONFIG_FILE": str(clouds)}
    status, found, seconds = doctor(stack, REDIS_URL="redis://127.0.0.1:1/0", **elsewhere)
    assert (status, wrong(found)) == (1, {"broker", "cloud / a / r"}), found
    assert seconds < SECONDS / 2
    away = "postgres://nobody:n0t-shown@127.0.0.1:1/none"
    status, found, seconds = doctor(stack, DATABASE_URL=away, **elsewhere)
    assert (status, wrong(found)) == (4, {"database", "cloud / a / r"}), found
    assert "n0t-shown" not in str(found)
    assert found["guards"][0]["state"] == "skipped"
    assert seconds < SECONDS / 2


@pytest.mark.parametrize(
    ("status", "arguments", "environ"),
    [
        (2, ("backup", "orders-prod", "--timeout", "-1"), {}),
        (2, ("runs", "list", "--state", "bogus"), {}),
        (4, ("runs", "list"), {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"}),
    ],
)
def test_a_status_tells_usage_from_a_database_that_is_away(
    stack: Stack, status: int, arguments: tuple[str, ...], environ: dict[str, str]
) -> None:
    process = start(stack, *arguments, environ=environ, stdout=subprocess.PIPE)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == status, err
    assert out == ""
    assert "Traceback" not in err


def test_a_reader_that_leaves_ends_a_command_without_a_traceback(stack: Stack) -> None:
    commands = [
        ("clusters", "list"),
        ("clusters", "list", "--json"),
        ("report", "--csv"),
        ("audit_export",),
        ("outcomes_guide",),
        ("doctor", "--json"),
    ]
    for arguments in commands:
        process = start(stack, *arguments, stdout=subprocess.PIPE)
        assert process.stdout
        assert process.stderr
        process.stdout.close()  # as `head` does when it has its lines
        process.stdout = None
        _out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 141, (arguments, err)
        assert "Traceback" not in err
        assert "Exception" not in err


def test_what_a_terminal_cannot_show_is_no_traceback(stack: Stack) -> None:
    q = ("--q", stack.simulator.add_cluster("протоколы", region="eu-de"))
    stack.commands.run("sync_clusters", "--cloud", "demo")
    for encoding in ("latin-1", "ascii"):
        environ = {"PYTHONIOENCODING": encoding, "REDIS_URL": "redis://127.0.0.1:1/0"}
        process = start(stack, "doctor", environ=environ, stdout=subprocess.PIPE)
        out, err = process.communicate(timeout=SECONDS)
        assert (process.returncode, "Traceback" in err) == (1, False), err
        assert "Redis is unreachable" in out
        process = start(stack, "clusters", "list", *q, environ=environ, stdout=subprocess.PIPE)
        out, err = process.communicate(timeout=SECONDS)
        assert (process.returncode, err) == (0, "")
        assert "?????????" in out


def test_a_closed_output_is_no_traceback(stack: Stack) -> None:
    arguments = [sys.executable, str(ROOT / "manage.py"), "protection"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *arguments],
        cwd=stack.instance.data_dir.parent,
        env=stack.instance.environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_below_the_output_is_a_sentence(stack: Stack) -> None:
    with Path("/dev/full").open("w") as full:
        process = start(stack, "clusters", "list", stdout=full)
        _out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (1, "Nothing can be written: No space left on device.\n")


def test_ctrl_c_ends_with_130_and_what_was_requested_continues(stack: Stack) -> None:
    stack.add_cluster("interrupted", job_seconds=20)
    process = start(stack, "backup", "interrupted", "--wait", stdout=subprocess.PIPE)
    assert process.stderr
    while "run requested" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "continues in the background" in err
    assert "Traceback" not in err


def test_tables_fit_a_terminal_and_colours_stay_out_of_pipes(stack: Stack) -> None:
    leader, follower = pty.openpty()
    environ = {"COLUMNS": "50"}
    process = start(stack, "clusters", "list", environ=environ, stdout=follower)
    os.close(follower)
    _out, err = process.communicate(timeout=SECONDS)
    with os.fdopen(leader, "rb", buffering=0) as terminal:
        drawn = terminal.read(65_536).decode().replace("\r\n", "\n")
    assert process.returncode == 0, err
    lines = drawn.splitlines()
    assert lines[0].startswith("CLUSTER")
    assert max(map(len, lines)) <= 50
    piped = stack.instance.manage("clusters", "list")
    assert "\x1b" not in piped.stdout + piped.stderr
    assert max(map(len, piped.stdout.splitlines())) > 50
