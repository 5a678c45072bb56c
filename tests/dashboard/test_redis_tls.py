"""A Redis with TLS has to show a certificate that counts, unless the URL says otherwise."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from kombu import Connection

from dashboard.checks import check_everywhere
from dashboard.local_run.redis import find_server
from dashboard.service_urls import broker_url
from tests.certificates import Certificates, make_certificates
from tests.instances import ROOT, clean_environment

PASSWORD = "p#w/o@r:d%[x;&"


@dataclass(frozen=True)
class Server:
    """A Redis that speaks TLS alone, at 127.0.0.1, and the files of its certificate."""

    port: int
    files: Certificates

    def url(self, host: str = "127.0.0.1", **options: str) -> str:
        """REDIS_URL as somebody writes it."""
        query = "&".join(f"{name}={quote(value)}" for name, value in options.items())
        address = f"rediss://:{quote(PASSWORD, safe='')}@{host}:{self.port}/0"
        return f"{address}?{query}" if query else address


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("a redis with tls")
    files = make_certificates(folder, "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = folder / "redis.log"
    command = [str(find_server()), "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1"]
    command += ["--tls-cert-file", str(files.certificate), "--tls-key-file", str(files.key)]
    command += ["--tls-ca-cert-file", str(files.authority), "--tls-auth-clients", "no"]
    command += ["--save", "", "--dir", str(folder), "--requirepass", PASSWORD]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 10
        while "Ready to accept" not in (text := log.read_text()):
            if process.poll() is not None and "tls" in text.lower():
                pytest.skip(f"{command[0]} was built without TLS: {text.splitlines()[-1]}")
            assert process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.02)
        yield Server(port, files)
    finally:
        process.kill()
        process.wait()


def reach(url: str) -> None:
    """Ask Redis as the processes do over kombu, and as a program does with redis-py alone."""
    secured, problem = broker_url(url)
    assert problem == ""
    with redis.Redis.from_url(secured, socket_timeout=5) as client:
        plain = _outcome(client.ping)
    with Connection(secured, transport_options={"max_retries": 1, "socket_timeout": 5}) as broker:
        queued = _outcome(lambda: broker.default_channel.client.ping())
    assert (plain is None) == (queued is None), (plain, queued)
    if queued is not None:
        raise queued


def _outcome(call: Any) -> Exception | None:
    try:
        assert call()
    except Exception as error:  # whatever the two make of a refused handshake
        return error
    return None


def test_a_certificate_of_a_known_authority_counts(server: Server) -> None:
    reach(server.url(ssl_ca_certs=str(server.files.authority)))
    reach(server.url(ssl_ca_certs=str(server.files.authority), ssl_cert_reqs="required"))
    reach(server.url(ssl_ca_certs=str(server.files.authority), ssl_cert_reqs="CERT_REQUIRED"))


def test_one_of_an_unknown_authority_is_refused(server: Server) -> None:
    with pytest.raises(Exception, match="certificate verify failed"):
        reach(server.url())


def test_one_for_another_host_is_refused(server: Server) -> None:
    with pytest.raises(Exception, match="certificate verify failed"):
        reach(server.url("localhost", ssl_ca_certs=str(server.files.authority)))


@pytest.mark.parametrize(
    "options",
    [
        {"ssl_cert_reqs": "none"},
        {"ssl_cert_reqs": "CERT_NONE"},
        {"ssl_check_hostname": "false", "ssl_ca_certs": "authority"},
    ],
)
def test_the_check_is_off_only_where_it_is_written_and_that_is_warned_of(
    server: Server, settings: Any, options: dict[str, str]
) -> None:
    if "ssl_ca_certs" in options:
        options = {**options, "ssl_ca_certs": str(server.files.authority)}
    url = server.url("localhost", **options)
    reach(url)
    settings.REDIS_URL = broker_url(url)[0]
    assert [each.id for each in check_everywhere()] == ["css.W002"]
    settings.REDIS_URL = broker_url(server.url())[0]
    assert check_everywhere() == []


@pytest.mark.parametrize(("verified", "wanted"), [(True, "ready."), (False, "verify failed")])
def test_a_worker_takes_messages_only_over_a_verified_connection(
    server: Server, tmp_path: Path, verified: bool, wanted: str
) -> None:
    options = {"ssl_ca_certs": str(server.files.authority)} if verified else {}
    environ = clean_environment(tmp_path, REDIS_URL=server.url(**options))
    migrate = [sys.executable, str(ROOT / "manage.py"), "migrate", "-v0", "--noinput"]
    subprocess.run(migrate, env=environ, cwd=tmp_path, check=True)
    log = tmp_path / "worker.log"
    command = [sys.executable, "-m", "celery", "-A", "dashboard", "worker", "--pool", "threads"]
    command += ["-c", "1", "--without-gossip", "--without-mingle", "--loglevel", "INFO"]
    with log.open("wb") as output:
        worker = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while wanted not in log.read_text():
            assert worker.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
    finally:
        worker.send_signal(signal.SIGQUIT)
        worker.wait(30)
    text = log.read_text()
    assert verified or "ready." not in text
    assert not any(secret in text for secret in (PASSWORD, quote(PASSWORD, safe=""), "p#w", "p%23"))
