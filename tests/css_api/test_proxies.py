"""Clouds are reached through the proxy that the environment names; this machine never is."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.css_api.client import CssClient
from backups.css_api.errors import NotSent, TransportError, TransportKind
from backups.css_api.session import connect
from dashboard.http.transport import RawAnswer, new_session, send
from tests.certificates import Certificates, make_certificates
from tests.forward_proxy import ForwardProxy

from .conftest import QUICK, WriteClouds, entry
from .servers import Cloud, Request, Server, always, serving, whole

HOST = "css.cloud.example"


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"), HOST)


@pytest.fixture
def far(files: Certificates) -> Iterator[Server]:
    """A cloud with TLS that only the proxy knows a way to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    with serving(always(whole(200, b"{}")), context) as server:
        yield server


def get(url: str, authority: Path | bool = True) -> RawAnswer:
    verify = authority if isinstance(authority, bool) else str(authority)
    return send(
        new_session("test/1"), "GET", url, headers={}, timeouts=QUICK, cap=1000, verify=verify
    )


def set_proxies(patch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        patch.setenv(name, url)
        patch.setenv(name.lower(), url)


def test_a_cloud_is_reached_through_the_proxy(
    far: Server, files: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ForwardProxy({HOST: far.port}) as proxy:
        set_proxies(monkeypatch, proxy.url.replace("//", "//user:pass%23word@"))
        assert get(f"https://{HOST}/v1.0", files.authority).status == 200
        assert [line.rpartition(" ")[0] for line in proxy.seen] == [f"CONNECT {HOST}:443"]
        assert proxy.credentials == ["Basic " + base64.b64encode(b"user:pass#word").decode()]
    (request,) = far.requests
    assert "proxy-authorization" not in request.headers


def test_the_certificate_behind_the_proxy_counts(
    far: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ForwardProxy({HOST: far.port}) as proxy:
        set_proxies(monkeypatch, proxy.url)
        with pytest.raises(NotSent) as caught:
            get(f"https://{HOST}/v1.0")
    assert caught.value.kind is TransportKind.TLS
    assert far.requests == []


def test_no_proxy_leaves_a_host_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with ForwardProxy({}) as proxy:
        set_proxies(monkeypatch, proxy.url)
        monkeypatch.setenv("NO_PROXY", ".invalid")
        with pytest.raises(NotSent) as caught:
            get("https://css.invalid")
        assert proxy.seen == []
    assert caught.value.kind is TransportKind.DNS


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_never_reached_through_a_proxy(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_proxies(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    with serving(always(whole(200, b"{}"))) as here:
        assert get(f"http://{host}:{here.port}").status == 200


def test_signing_in_and_asking_css_go_the_same_way(
    cloud: Cloud, write_clouds: WriteClouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """plain_http, so that the proxy sees whole requests, with addresses that it alone knows."""
    cloud.endpoint = "http://css.cloud.example/v1.0/$(tenant_id)s"
    asked: list[str] = []

    def css(request: Request) -> bytes:
        asked.append(request.path)
        return whole(200, {"clusters": [], "totalSize": 0})

    cloud.css = css
    with ForwardProxy(dict.fromkeys((HOST, "iam.cloud.example"), cloud.server.port)) as proxy:
        set_proxies(monkeypatch, proxy.url)
        made = entry(cloud, plain_http=True)
        made["auth"]["auth_url"] = "http://iam.cloud.example/v3"  # type: ignore[index]
        write_clouds(far=made)
        assert list(CssClient(connect("far", "eu-test", timeouts=QUICK)).list_clusters()) == []
    assert asked
    assert any("http://iam.cloud.example/v3" in line for line in proxy.seen)
    assert any(f"http://{HOST}/v1.0" in line for line in proxy.seen)


@pytest.mark.parametrize(
    "address",
    [
        "http://u:hidden[word@127.0.0.1:1",
        "http://u:hidden#word@127.0.0.1:1",
        "http://u:hidden/word@127.0.0.1:1",
        "http://u:7?hidden@127.0.0.1:1",
        "socks5://u:hidden@127.0.0.1:1",
        "ftp://u:hidden@127.0.0.1:1",
        "http://u:hidden@127.0.0.1:1",
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_proxies(monkeypatch, address)
    with pytest.raises(TransportError) as caught:
        get("https://css.invalid")
    assert caught.value.kind is TransportKind.PROXY
    assert "hidden" not in str(caught.value)
