"""Real proxies, configured as deploy/ has them, in front of the whole product below a path."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from requests.adapters import HTTPAdapter

from tests.instances import ROOT, Instance
from tests.sign_in.provider import CLIENT_ID, CLIENT_SECRET, Provider
from tests.visitor import Visitor

PREFIX = "/css-logs"
DEPLOY = ROOT / "deploy"
START_SECONDS = 20.0
NGINX = """daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
{user}events {{ worker_connections 256; }}
http {{
  access_log off; include /etc/nginx/mime.types;
  client_body_temp_path {folder}/t; proxy_temp_path {folder}/t; fastcgi_temp_path {folder}/t;
  uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;
  {server}
}}
"""


class Browser(Visitor):
    """A visitor who really speaks TLS with the proxy, and trusts its certificate.

    Args:
        base_url: of the product, with the path.
        certificate: file of the proxy's.
    """

    def __init__(self, base_url: str, certificate: Path) -> None:
        super().__init__(base_url)
        self.mount("https://", HTTPAdapter())
        self.verify = str(certificate)

    def _csrf_token(self) -> str:
        return self.cookies.get("csrftoken_css-logs", "") or ""


class Front:
    """A running proxy.

    Attributes:
        url: of the dashboard behind it, without a slash at the end.
        certificate: file of its certificate.
    """

    def __init__(self, port: int, certificate: Path) -> None:
        self.origin = f"https://localhost:{port}"
        self.url, self.certificate = f"{self.origin}{PREFIX}", certificate

    def browser(self) -> Browser:
        return Browser(self.url, self.certificate)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file with key and certificate of localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "localhost.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return path


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    started = Provider()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Instance]:
    """The product with the environment that the samples in deploy/ name."""
    settings = dict(
        line.split("=", 1)
        for line in " ".join(
            text.lstrip("# ")
            for text in (DEPLOY / "nginx.conf").read_text().splitlines()
            if text.startswith("#   ")
        ).split()
    )
    assert settings["URL_PREFIX"] == PREFIX
    started = Instance(
        tmp_path_factory.mktemp("below-a-path"),
        **settings | {"ALLOWED_HOSTS": "localhost"},
        COOKIE_SUFFIX="",  # `manage.py run` would name the port
        DEMO_CLOUD="1",
        OIDC_ISSUER=provider.issuer,
        OIDC_CLIENT_ID=CLIENT_ID,
        OIDC_CLIENT_SECRET=CLIENT_SECRET,
        OIDC_CREATE_ACCOUNTS="1",
    )
    try:
        started.wait_ready()
        started.wait_for_text("clusters registered")
        yield started
    finally:
        started.stop()


def missing(program: str) -> None:
    """Leave a test out where a proxy is not installed; where it counts, that is a failure."""
    if shutil.which(program) is None:
        why = f"no {program} on this machine (Debian: apt-get install {program})"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def proxy(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """Run a proxy until the end of the block, from when it speaks TLS on a port."""
    environ = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    environ["XDG_DATA_HOME"] = str(folder)
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _speaks(port):
            said = (folder / "output").read_text()
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _speaks(port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as made:
            context.wrap_socket(made, server_hostname="localhost").close()
    except OSError:
        return False
    return True


def replaced(text: str, **changes: str) -> str:
    """A sample with what a test has other values for; each has to be in it."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def nginx(
    folder: Path, backend: str, certificate: Path, *, strips: bool = False
) -> Iterator[Front]:
    """nginx by deploy/nginx.conf; `strips`: it takes the prefix off before it passes a path on."""
    missing("nginx")
    port, plain = free_port(), free_port()
    server = replaced(
        (DEPLOY / "nginx.conf").read_text(),
        **{
            "listen 80;": f"listen 127.0.0.1:{plain};",
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "server_name tools.example.com;": "server_name localhost;",
            "/etc/ssl/certs/tools.example.com.pem": str(certificate),
            "/etc/ssl/private/tools.example.com.key": str(certificate),
            "proxy_pass http://127.0.0.1:8000;": f"proxy_pass {backend}{'/' if strips else ''};",
        },
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "t").mkdir()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, server=server, user=user))
    with proxy(["nginx", "-c", str(config), "-e", str(folder / "error.log")], port, folder):
        yield Front(port, certificate)


@contextmanager
def caddy(folder: Path, backend: str, certificate: Path) -> Iterator[Front]:
    """Caddy by deploy/Caddyfile."""
    missing("caddy")
    port = free_port()
    site = replaced(
        (DEPLOY / "Caddyfile").read_text(),
        **{
            "\ntools.example.com {": f"\nhttps://localhost:{port} {{\n"
            f"\tbind 127.0.0.1\n\ttls {certificate} {certificate}",
            "127.0.0.1:8000": backend.removeprefix("http://"),
        },
    )
    config = folder / "Caddyfile"
    config.write_text("{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + site)
    command = ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"]
    with proxy(command, port, folder):
        yield Front(port, certificate)


FRONTS: dict[str, Callable[..., object]] = {
    "nginx": nginx,
    "nginx that takes the prefix off": lambda *given: nginx(*given, strips=True),
    "caddy": caddy,
}


@pytest.fixture(scope="module", params=FRONTS)
def front(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    instance: Instance,
    certificate: Path,
) -> Iterator[Front]:
    """Each proxy in turn."""
    backend = instance.url.removesuffix(PREFIX)
    folder = tmp_path_factory.mktemp("proxy")
    with FRONTS[request.param](folder, backend, certificate) as started:  # type: ignore[attr-defined]
        yield started


def direct(url: str) -> requests.Response:
    """An answer without any proxy."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=30, allow_redirects=False)
