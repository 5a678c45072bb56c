"""A provider that is unavailable, slow or broken: nobody is signed in, and nobody waits."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import pytest
from django.test import Client

from dashboard.http.wire import Timeouts
from dashboard.sign_in import oidc
from tests.sign_in.provider import Claims, Provider, plain
from tests.sign_in.provider_walk import assert_refused, at_the_provider, begin, begun_in_vain

DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture(autouse=True)
def _in_a_mapped_group(provider: Provider) -> None:
    provider.user["groups"] = ["ops"]


def test_a_provider_that_is_down_is_said_to_be(client: Client, provider: Provider) -> None:
    provider.stop()
    assert_refused(client, "the request to the provider failed", begun_in_vain(client))


def test_a_provider_that_goes_down_on_the_way_is_said_to_be(
    client: Client, provider: Provider
) -> None:
    back = at_the_provider(begin(client))
    provider.stop()
    assert_refused(client, "the request to the provider failed", client.get(back))


def drip(handler: BaseHTTPRequestHandler) -> None:
    """One byte every tenth of a second, without end."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.1)


def silence(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(5)


@pytest.mark.parametrize("path", [DISCOVERY, "/token", "/keys"])
@pytest.mark.parametrize("slow", [drip, silence])
def test_a_provider_that_drips_or_is_silent_is_given_up(
    client: Client,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    slow: Callable[..., None],
) -> None:
    monkeypatch.setattr(oidc, "TIMEOUTS", Timeouts(connect=1, read=1, total=1))
    back = at_the_provider(begin(client))
    provider.answers[path] = slow
    began = time.monotonic()
    assert_refused(client, "the request to the (provider|token endpoint) failed", client.get(back))
    assert time.monotonic() - began < 4


LARGE = b'{"issuer": "' + b"x" * 10_000_000 + b'"}'
BOMB = gzip.compress(b" " * 100_000_000)
MAD = {
    "ten megabytes": plain(200, LARGE),
    "a bomb": plain(200, BOMB, Content_Encoding="gzip"),
    "no JSON": plain(200, b"<html>"),
    "no text": plain(200, b"\xff\xfe\x00"),
    "a list": plain(200, b"[]"),
    "a number": plain(200, b"7"),
    "nothing": plain(200),
    "too deep": plain(200, b"[" * 500_000),
    "an error": plain(500, b"{}"),
    "a redirect": plain(302, b"", Location="http://127.0.0.1:1/"),
}


REFUSALS = {
    DISCOVERY: "the request to the provider failed|the discovery document",
    "/token": "the token endpoint",
    "/keys": (
        "the request to the provider failed|ID token rejected: the provider has no matching key"
    ),
}


@pytest.mark.parametrize("path", REFUSALS)
@pytest.mark.parametrize("name", MAD)
def test_an_answer_that_makes_no_sense_is_refused(
    client: Client, provider: Provider, name: str, path: str
) -> None:
    back = at_the_provider(begin(client))
    provider.answers[path] = MAD[name]
    assert_refused(client, REFUSALS[path], client.get(back))


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://169.254.169.254/latest/meta-data/"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": None},
        {"token_endpoint": ["x"]},
        {"userinfo_endpoint": "ftp://x"},
        {"jwks_uri": "http://[::1"},
    ],
)
def test_a_discovery_document_of_another_or_without_https_is_refused(
    client: Client, provider: Provider, change: Claims
) -> None:
    body = json.dumps({**provider.discovery(), **change}).encode()
    provider.answers[DISCOVERY] = plain(200, body)
    assert_refused(client, "the discovery document", begun_in_vain(client))


@pytest.mark.parametrize(
    "keys",
    [{}, {"keys": []}, {"keys": [7]}, {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "first"}]}],
)
def test_keys_that_are_none_are_refused(client: Client, provider: Provider, keys: Claims) -> None:
    provider.answers["/keys"] = plain(200, json.dumps(keys).encode())
    assert_refused(client, "ID token rejected")
