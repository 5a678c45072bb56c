"""`python -m simulator` as a process: readiness, files, signals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml

from simulator.client import SimulatorControl

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_the_demo_starts_says_where_and_ends_on_a_signal(
    tmp_path: Path, name: signal.Signals
) -> None:
    clouds, ready = tmp_path / "new" / "clouds.yaml", tmp_path / "ready.json"
    command = [sys.executable, "-m", "simulator", "--demo", "--clusters", "5"]
    files = ["--clouds-file", str(clouds), "--ready-file", str(ready)]
    with subprocess.Popen(
        [*command, *files], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("simulator ready http://127.0.0.1:")
        url = line.split()[-1]
        assert json.loads(ready.read_text()) == {"url": url, "pid": process.pid}
        assert clouds.stat().st_mode & 0o777 == 0o600
        cloud = yaml.safe_load(clouds.read_text())["clouds"]["demo"]
        assert cloud["auth"]["auth_url"] == f"{url}/v3"
        assert requests.get(cloud["auth"]["auth_url"], timeout=5).status_code == 200
        assert len(SimulatorControl(url).clusters()) > 20
        process.send_signal(name)
        assert process.wait(5) == 0
        assert process.stdout.read() == ""


@pytest.mark.parametrize(("host", "allowed"), [("simulator", True), ("127.0.0.1", None)])
def test_plain_http_is_allowed_where_the_host_is_another(
    tmp_path: Path, host: str, allowed: bool | None
) -> None:
    """As in docker-compose.yml: without the switch no password would be sent there."""
    clouds = tmp_path / "clouds.yaml"
    command = [sys.executable, "-m", "simulator", "--demo", "--clouds-file", str(clouds)]
    with subprocess.Popen(
        [*command, "--public-host", host], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("simulator ready")
        entries = yaml.safe_load(clouds.read_text())["clouds"]
        process.terminate()
    assert [entry.get("plain_http") for entry in entries.values()] == [allowed] * len(entries)
    assert len(entries) > 1


def test_a_taken_port_is_a_clear_error(simulator: object) -> None:
    port = simulator.listeners["eu-de"].port
    done = subprocess.run(
        [sys.executable, "-m", "simulator", "--port", str(port)],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
