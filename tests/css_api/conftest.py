from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from backups.css_api import config
from backups.css_api.session import CloudConnection, connect
from dashboard.http.wire import Timeouts

from .servers import Cloud

QUICK = Timeouts(connect=2, read=2, total=4)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, cloud or configuration of the machine reaches a test."""
    for name in list(os.environ):
        if name.startswith("OS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setattr("openstack.config.loader.CONFIG_FILES", [])
    monkeypatch.setattr("openstack.config.loader.SECURE_FILES", [])
    monkeypatch.setattr(config, "_loaded", None)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    made = Cloud()
    yield made
    made.server.stop()


WriteClouds = Callable[..., Path]


@pytest.fixture
def write_clouds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteClouds:
    """Write a clouds.yaml and point openstacksdk at it."""

    def write(text: str | None = None, **entries: object) -> Path:
        path = tmp_path / "clouds.yaml"
        path.write_text(text if text is not None else yaml.safe_dump({"clouds": entries}))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
        return path

    return write


def entry(cloud: Cloud, **more: object) -> dict[str, object]:
    """A clouds.yaml entry that signs in with a password."""
    auth = {
        "auth_url": f"{cloud.url}/v3",
        "username": "operator",
        "password": cloud.secret,
        "user_domain_name": "d",
        "project_name": "eu-test_logs",
        "project_domain_name": "d",
    }
    return {"auth": auth, "region_name": cloud.region, **more}


@pytest.fixture
def connection(cloud: Cloud, write_clouds: WriteClouds) -> CloudConnection:
    write_clouds(demo=entry(cloud))
    return connect("demo", "eu-test", timeouts=QUICK)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
