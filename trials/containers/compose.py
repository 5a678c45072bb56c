"""A project of docker-compose.yml, run by podman-compose."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

QUIET = ("systemd", "healthcheck", "syslog", "support healthy")  # podman 4.3 without systemd


class ComposeProject:
    """The services of one checkout, started with one settings file.

    Args:
        work: the trial's folder.
        checkout: the folder with docker-compose.yml.
        port: where web is published.
        env_file: as after `docker compose --env-file`; "" for the file's own defaults.
    """

    def __init__(self, work: Path, checkout: Path, port: int, env_file: str = "") -> None:
        self.checkout = checkout
        self.url = f"http://127.0.0.1:{port}"
        self.name = f"{checkout.name}-demo" if env_file else checkout.name
        self._command = [sys.executable, str(work / "compose" / "podman_compose.py")]
        self._command += ["--in-pod=false", *(["--env-file", env_file] if env_file else [])]
        self._environ = {**os.environ, "PYTHONPATH": str(work / "compose"), "PORT": str(port)}

    def compose(self, *arguments: str) -> None:
        """`docker compose …`; what it says about errors is shown."""
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=self.checkout,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        for line in done.stderr.decode(errors="replace").splitlines():
            if "error" in line.lower() and not any(word in line for word in QUIET):
                print(f"    {line[:300]}", flush=True)

    def script(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run commands of the documentation, where `docker compose` is this project's."""
        environ = {**self._environ, "CONTAINER_TRIAL_COMPOSE": shlex.join(self._command)}
        return subprocess.run(
            ["bash", "-eo", "pipefail", "-c", text],
            cwd=self.checkout,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def container(self, service: str) -> str:
        """Its container's name."""
        return f"{self.name}_{service}_1"

    def run(
        self, service: str, *command: str, environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`docker compose exec -T SERVICE …`."""
        variables = [f"--env={name}={value}" for name, value in (environ or {}).items()]
        return podman("exec", *variables, self.container(service), *command)

    def manage(self, service: str, *arguments: str, **environ: str) -> str:
        """Run one of the product's commands; returns its output, errors included."""
        done = self.run(service, "python", "manage.py", *arguments, environ=environ)
        return (done.stdout + done.stderr).strip()

    def logs(self, service: str) -> str:
        """What the service has written."""
        done = podman("logs", self.container(service))
        return done.stdout + done.stderr

    def inspect(self, service: str, form: str) -> str:
        """One fact about its container, as a Go template names it."""
        return podman("inspect", "--format", form, self.container(service)).stdout.strip()

    def is_healthy(self, service: str) -> bool:
        """Run the service's health check once; without systemd nobody else does."""
        return podman("healthcheck", "run", self.container(service)).returncode == 0

    def services(self) -> list[str]:
        """Which services have a container."""
        label = f"label=io.podman.compose.project={self.name}"
        names = podman("ps", "-a", "--filter", label, "--format", "{{.Names}}").stdout.split()
        return sorted(name.removeprefix(f"{self.name}_").removesuffix("_1") for name in names)

    def down(self) -> None:
        """Remove containers, volumes and network."""
        self.compose("down", "-v", "-t", "10")
        label = f"label=io.podman.compose.project={self.name}"
        if left := podman("ps", "-aq", "--filter", label).stdout.split():
            podman("rm", "-f", "-t", "5", *left)
        podman("volume", "rm", "-a", "-f")
        podman("network", "rm", "-f", f"{self.name}_default")


def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run podman; the caller looks at the exit status."""
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False)


def wait_for(true: Callable[[], object], seconds: float) -> bool:
    """Whether a condition comes true within that time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def checks_of(text: str) -> dict[str, str]:
    """The checks in an answer of /readyz; empty where it is none."""
    try:
        return dict(json.loads(text)["checks"])
    except (ValueError, KeyError):
        return {}
