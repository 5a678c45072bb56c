"""docker-compose.yml without Docker: its own commands and environments, as local processes.

PostgreSQL is the local one, Redis a private one on a TCP port; host names, ports and folders of the
containers are mapped to those of here. The rest is what the file says, health checks included.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from compose_file import ROOT, Service, env_file, load
from psycopg import sql

from dashboard.local_run.redis import find_server
from tests.visitor import Visitor

pytestmark = pytest.mark.e2e

SERVER = os.environ.get("DATABASE_URL") or "postgres://postgres@127.0.0.1:5432/postgres"
READY_SECONDS = 90.0
BETWEEN = "\0"  # words of a command line, joined for the mapping
OURS = ("migrate", "web", "worker", "sync", "simulator")


def test_nothing_but_web_is_published_and_that_on_loopback_only() -> None:
    published = {name: each.document.get("ports") for name, each in load({}).items()}
    assert {name: ports for name, ports in published.items() if ports} == {
        "web": ["127.0.0.1:8000:8000"]
    }


def test_secrets_are_files_and_no_password_is_in_an_environment() -> None:
    for service in load({}).values():
        for name, value in service.environment.items():
            if "PASSWORD" in name or "SECRET" in name:
                assert name.endswith("_FILE"), name
                assert value.startswith("/run/secrets/"), value
        assert not urlsplit(service.environment.get("DATABASE_URL", "")).password


def test_services_run_unprivileged_on_a_file_system_they_cannot_write() -> None:
    services = load({})
    for name in OURS:
        assert services[name].document["read_only"] is True, name
        assert services[name].document["cap_drop"] == ["ALL"], name
    assert re.search(r"^USER dashboard$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert services["worker"].document["stop_grace_period"] == "60s"


def test_migrations_run_once_and_before_whatever_uses_the_database() -> None:
    services = load({})
    for name in ("web", "worker", "sync"):
        assert services[name].depends_on["migrate"] == "service_completed_successfully"
    assert services["migrate"].document["restart"] == "no"


def test_the_simulator_is_in_the_demo_only() -> None:
    demo, real = load(env_file("demo.env")), load({})
    assert demo["simulator"].document["profiles"] == ["demo"]
    assert env_file("demo.env")["COMPOSE_PROFILES"] == "demo"
    assert demo["web"].environment["DEMO_CLOUD"] == "1"
    assert demo["web"].environment["OS_CLIENT_CONFIG_FILE"] == "/demo/clouds.yaml"
    assert real["web"].environment["DEMO_CLOUD"] == "0"
    assert real["web"].environment["OS_CLIENT_CONFIG_FILE"] == ""
    assert real["web"].environment["DEPLOYMENT"] == "production"


def _https(url: str) -> str:
    return url.replace("http://", "https://")


class Composed:
    """The file's services on this machine."""

    def __init__(self, folder: Path, mapping: dict[str, str], variables: dict[str, str]) -> None:
        self._folder = folder
        self._mapping = mapping
        self._services = load(variables)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def _here(self, text: str) -> str:
        for there, here in self._mapping.items():
            text = text.replace(there, here)
        return text

    def _environment(self, service: Service) -> dict[str, str]:
        data = self._folder / "data" / service.name
        data.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(self._folder),
            "DATA_DIR": str(data),
            "STATIC_ROOT": str(self._folder / "staticfiles"),
            **{name: self._here(value) for name, value in service.environment.items()},
        }

    def run(self, name: str, *arguments: str, **environ: str) -> None:
        """`docker compose run --rm NAME python manage.py …`."""
        service = self._services[name]
        subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**self._environment(service), **environ},
            check=True,
            timeout=120,
        )

    def up(self, name: str) -> None:
        """Start a service and wait for what the file says others may wait for."""
        if name in self._processes or name not in OURS:
            return
        service = self._services[name]
        for other in service.depends_on:
            self.up(other)
        with (self._folder / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                self._here(BETWEEN.join(service.command)).split(BETWEEN),
                cwd=ROOT,
                env=self._environment(service),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if name in ("migrate", "sync"):
            assert self._processes[name].wait(READY_SECONDS) == 0, self.logs()
        elif service.healthcheck:
            self._wait_healthy(service)

    def _wait_healthy(self, service: Service) -> None:
        kind, *words = [self._here(word) for word in service.healthcheck]
        command = ["sh", "-c", words[0]] if kind == "CMD-SHELL" else words
        deadline = time.monotonic() + READY_SECONDS
        while subprocess.run(
            command, cwd=ROOT, env=self._environment(service), capture_output=True, check=False
        ).returncode:
            assert time.monotonic() < deadline, f"{service.name} is not healthy\n{self.logs()}"
            time.sleep(0.2)

    def down(self) -> None:
        """Stop everything, the way `docker compose down` does."""
        for process in reversed(self._processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for name, process in self._processes.items():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise AssertionError(f"{name} did not stop within 60 s\n{self.logs()}") from None

    def logs(self) -> str:
        return "\n".join(
            f"--- {name}\n{(self._folder / f'{name}.log').read_text(errors='replace')[-4000:]}"
            for name in self._processes
        )


@contextmanager
def _role_and_database(password: str) -> Iterator[str]:
    """A PostgreSQL role with a database of its own; gives "ROLE@HOST:PORT/NAME"."""
    name = f"css_log_backup_compose_{secrets.token_hex(6)}"
    role = sql.Identifier(name)
    try:
        connection = psycopg.connect(SERVER, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL is reachable: {str(error).partition(chr(10))[0]}")
    with connection:
        create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password))
        connection.execute(create)
        connection.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(role))
        try:
            yield f"{name}@{connection.info.host}:{connection.info.port}/{name}"
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(role))
            connection.execute(sql.SQL("DROP ROLE {}").format(role))


@contextmanager
def _redis() -> Iterator[str]:
    """A Redis on a TCP port, with the arguments of the file; gives "HOST:PORT"."""
    port = _free_port()
    arguments = load({})["redis"].command[1:]
    server = subprocess.Popen(
        [str(find_server()), *arguments, "--bind", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[tuple[Composed, str]]:
    """The file's services in production's settings, and web's address."""
    password = secrets.token_urlsafe(12)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "secret_key").write_text(secrets.token_urlsafe(48) + "\n")
    (tmp_path / "secrets" / "database_password").write_text(password + "\n")
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    (tmp_path / "secrets" / "audit_signing_key").write_text(key + "\n")
    (tmp_path / "secrets" / "channel_key").write_text(secrets.token_urlsafe(48) + "\n")
    web, cloud = _free_port(), _free_port()
    with _role_and_database(password) as database, _redis() as broker:
        mapping = {
            "dashboard@postgres:5432/dashboard": database,
            "redis:6379": broker,
            "0.0.0.0:8000": f"127.0.0.1:{web}",
            "127.0.0.1:8000": f"127.0.0.1:{web}",
            "0.0.0.0": "127.0.0.1",
            "127.0.0.1:9000": f"127.0.0.1:{cloud}",
            "9000": str(cloud),
            "/run/secrets/": f"{tmp_path}/secrets/",
            "/demo/": f"{tmp_path}/demo/",
            f"--public-host{BETWEEN}simulator": f"--public-host{BETWEEN}127.0.0.1",
        }
        variables = {"OS_CLIENT_CONFIG_FILE": "/demo/clouds.yaml", "ALLOWED_HOSTS": "127.0.0.1"}
        services = Composed(tmp_path, mapping, variables)
        try:
            yield services, f"http://127.0.0.1:{web}"
        finally:
            services.down()


def test_the_main_job_runs_through_the_services_of_the_file(
    composed: tuple[Composed, str],
) -> None:
    services, url = composed
    services.run("migrate", "collectstatic", "--noinput", "-v", "0")  # the Dockerfile does it
    for name in OURS:
        services.up(name)
    admin = {"DJANGO_SUPERUSER_PASSWORD": "a password of the test"}
    services.run("web", "createsuperuser", "--noinput", "--username=anna", "--email=", **admin)
    anna = Visitor(_https(url))
    anna.sign_in("anna", admin["DJANGO_SUPERUSER_PASSWORD"])
    run = anna.wait_for_run(anna.back_up("orders-prod", reason="before the upgrade"))
    assert (run["state"], run["outcome"]) == ("succeeded", "accepted"), services.logs()
    assert run["requested_by"] == "anna"
    assert "orders-prod" in anna.get("/history/").text
    refused = anna.wait_for_run(anna.back_up("payments-logs", anyway="1"))
    assert (refused["state"], refused["http_status"]) == ("rejected", 412)


def test_plain_http_is_sent_to_https_and_probes_are_not(composed: tuple[Composed, str]) -> None:
    services, url = composed
    services.run("migrate", "collectstatic", "--noinput", "-v", "0")
    services.up("web")
    visitor = Visitor(url)
    page = visitor.get("/sign-in/", allow_redirects=False)
    assert (page.status_code, page.headers["Location"][:8]) == (301, "https://")
    assert visitor.get("/healthz").status_code == 200
    cookies = Visitor(_https(url)).get("/sign-in/").headers["Set-Cookie"]
    assert "Secure" in cookies
