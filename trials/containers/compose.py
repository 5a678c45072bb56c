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
        port: published port of web.
        env_file: as for `docker compose --env-file`; "" for the defaults of docker-compose.yml.
    """

    def __init__(self, work: Path, checkout: Path, port: int, env_file: str = "") -> None:
        self.checkout = checkout
        self.url = f"http://127.0.0.1:{port}"
        self.name = f"{checkout.name}-demo" if env_file else checkout.name
        self._command = [sys.executable, str(work / "compose" / "podman_compose.py")]
        self._command += ["--in-pod=false", *(["--env-file", env_file] if env_file else [])]
        self._environ = {**os.environ, "PYTHONPATH": str(work / "compose"), "PORT": str(port)}

    def compose(self, *arguments: str) -> None:
        """Run `docker compose …` and print its error messages."""
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
        """Run commands from the documentation; `docker compose` in them uses this project."""
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
        """Name of the service's container."""
        return f"{self.name}_{service}_1"

    def run(
        self, service: str, *command: str, environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the service's container, as `docker compose exec -T SERVICE …`."""
        variables = [f"--env={name}={value}" for name, value in (environ or {}).items()]
        return podman("exec", *variables, self.container(service), *command)

    def manage(self, service: str, *arguments: str, **environ: str) -> str:
        """Run one of the product's commands; return its output, including errors."""
        done = self.run(service, "python", "manage.py", *arguments, environ=environ)
        return (done.stdout + done.stderr).strip()

    def logs(self, service: str) -> str:
        """Output of the service."""
        done = podman("logs", self.container(service))
        return done.stdout + done.stderr

    def inspect(self, service: str, form: str) -> str:
        """A property of the service's container, selected by a Go template."""
        return podman("inspect", "--format", form, self.container(service)).stdout.strip()

    def is_healthy(self, service: str) -> bool:
        """Run the service's health check once; without systemd podman does not run it."""
        return podman("healthcheck", "run", self.container(service)).returncode == 0

    def services(self) -> list[str]:
        """Names of the services that have a container."""
        label = f"label=io.podman.compose.project={self.name}"
        names = podman("ps", "-a", "--filter", label, "--format", "{{.Names}}").stdout.split()
        return sorted(name.removeprefix(f"{self.name}_").removesuffix("_1") for name in names)

    def down(self) -> None:
        """Remove containers, volumes and the network."""
        self.compose("down", "-v", "-t", "10")
        label = f"label=io.podman.compose.project={self.name}"
        if left := podman("ps", "-aq", "--filter", label).stdout.split():
            podman("rm", "-f", "-t", "5", *left)
        podman("volume", "rm", "-a", "-f")
        podman("network", "rm", "-f", f"{self.name}_default")


def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run podman; the caller checks the exit status."""
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False)


def wait_for(true: Callable[[], object], seconds: float) -> bool:
    """Wait for a condition; return whether it became true within `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def checks_of(text: str) -> dict[str, str]:
    """The checks in an answer of /readyz; empty if it has none."""
    try:
        return dict(json.loads(text)["checks"])
    except (ValueError, KeyError):
        return {}
