"""Invalid responses of a provider or an impostor, each rejected with an event."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from joserfc.jwk import RSAKey

from tests.sign_in.conftest import events, is_signed_in, text_of
from tests.sign_in.provider import CLIENT_SECRET, Claims, Provider, plain
from tests.sign_in.provider_walk import assert_refused, at_the_provider, begin, begun_in_vain, walk

CALLBACK = reverse("oidc-callback")
DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture(autouse=True)
def _in_a_mapped_group(provider: Provider) -> None:
    provider.user["groups"] = ["ops"]


def without(name: str) -> Callable[[Claims], Claims]:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


NOW = int(time.time())
AHEAD = NOW + 86_400  # the test may run long after this module was imported
WRONG_CLAIMS: dict[str, tuple[Claims, str]] = {
    "a nonce of another sign-in": ({"nonce": "another"}, "its nonce does not match"),
    "an empty nonce": ({"nonce": ""}, "its nonce does not match"),
    "a nonce that is no text": ({"nonce": 7}, "its nonce does not match"),
    "another audience": ({"aud": "another-client"}, "it is for another client"),
    "an audience that begins the same": ({"aud": "css-log-backup-2"}, "it is for another client"),
    "two audiences and no party": (
        {"aud": ["css-log-backup", "another"]},
        "it was issued to another client",
    ),
    "another party": ({"azp": "another-client"}, "it was issued to another client"),
    "expired": ({"exp": NOW - 120}, "it has expired"),
    "an odd time": ({"exp": "tomorrow"}, ""),
    "not valid yet": ({"nbf": AHEAD}, "it is not valid yet"),
    "issued in the future": ({"iat": AHEAD}, "it is not valid yet"),
    "another issuer": ({"iss": "https://evil.example"}, "it is from another issuer"),
    "an issuer with a slash more": ({"iss": "SLASH"}, "it is from another issuer"),
    "a subject that is no text": ({"sub": 7}, ""),
    "an empty subject": ({"sub": ""}, "its subject is invalid"),
    "an end of time": ({"exp": float("inf")}, ""),
    "a beginning without a number": ({"nbf": float("nan")}, ""),
    "a subject that no database stores": ({"sub": "a\x00b"}, "its subject is invalid"),
    "a subject without end": ({"sub": "x" * 300}, "its subject is invalid"),
}


@pytest.mark.parametrize("name", WRONG_CLAIMS)
def test_a_wrong_claim_is_refused(client: Client, provider: Provider, name: str) -> None:
    change, why = WRONG_CLAIMS[name]
    if change.get("iss") == "SLASH":
        change = {"iss": provider.issuer + "/"}
    provider.change = lambda claims: {**claims, **change}
    assert_refused(client, f"ID token rejected: {why}")


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp", "iat", "nonce"])
def test_a_missing_claim_is_refused(client: Client, provider: Provider, name: str) -> None:
    provider.change = without(name)
    assert_refused(client, "ID token rejected: a claim is missing")


@pytest.mark.parametrize("seconds", [-30, 30])
def test_clocks_may_differ_by_a_little(client: Client, provider: Provider, seconds: int) -> None:
    now = int(time.time()) + seconds
    provider.change = lambda claims: {
        **claims,
        "iat": now,
        "exp": now + (10 if seconds < 0 else 300),
    }
    walk(client)
    assert is_signed_in(client)


def test_a_signature_of_another_key_is_refused(client: Client, provider: Provider) -> None:
    other = RSAKey.generate_key(2048)
    provider.sign = lambda claims: provider.signed(claims, other)
    assert_refused(client, "its signature is wrong")


def test_a_key_that_the_provider_does_not_have_is_refused(
    client: Client, provider: Provider
) -> None:
    provider.sign = lambda claims: provider.signed(claims, kid="second")
    assert_refused(client, "the provider has no matching key")


def test_no_signature_is_refused(client: Client, provider: Provider) -> None:
    provider.sign = provider.unsigned
    assert_refused(client, "its algorithm is not accepted")


def test_the_public_key_as_a_secret_is_refused(client: Client, provider: Provider) -> None:
    provider.sign = provider.signed_with_the_public_key
    assert_refused(client, "its algorithm is not accepted")


def test_claims_changed_after_signing_are_refused(client: Client, provider: Provider) -> None:
    def changed(claims: Claims) -> str:
        head, _body, signature = provider.signed(claims).split(".")
        _head, body, _signature = provider.signed({**claims, "sub": "the-admin"}).split(".")
        return f"{head}.{body}.{signature}"

    provider.sign = changed
    assert_refused(client, "its signature is wrong")


@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c", "e30.e30.", "\u00fc.\u00fc.\u00fc", "." * 50_000]
)
def test_what_is_no_token_is_refused(client: Client, provider: Provider, token: str) -> None:
    provider.sign = lambda _claims: token
    assert_refused(client, "ID token rejected")


# --- the callback -----------------------------------------------------------------------------


def assert_not_begun(client: Client, answer: Any) -> None:
    assert answer.headers["Location"] == reverse("login")
    assert not is_signed_in(client)
    assert events("sign_in_failed")[-1].details == {
        "by": "OpenID Connect",
        "why": "not begun here, or too long ago",
    }
    assert "not started here" in text_of(client.get(reverse("login")))


@pytest.mark.parametrize("query", ["", "?code=x", "?state=", "?code=x&state=made-up", "?error=x"])
def test_a_callback_without_its_state_is_refused(
    client: Client, provider: Provider, query: str
) -> None:
    begin(client)
    assert_not_begun(client, client.get(CALLBACK + query))
    assert not [each for each in provider.asked if each[1] == "/token"]


def test_a_callback_counts_once(client: Client, provider: Provider) -> None:
    back = at_the_provider(begin(client))
    client.get(back)
    assert is_signed_in(client)
    client.post(reverse("logout"))
    assert_not_begun(client, client.get(back))


def test_a_callback_of_another_browser_is_refused(client: Client, provider: Provider) -> None:
    back = at_the_provider(begin(Client()))
    begin(client)
    assert_not_begun(client, client.get(back))


def test_a_code_of_another_sign_in_is_refused(client: Client, provider: Provider) -> None:
    """A stolen code has the PKCE challenge of another session."""
    stolen = at_the_provider(begin(Client())).partition("code=")[2].partition("&")[0]
    own = at_the_provider(begin(client))
    code = own.partition("code=")[2].partition("&")[0]
    answer = client.get(own.replace(code, stolen))
    assert_refused(client, "the token endpoint rejected the request: invalid_grant", answer)


def test_a_flood_of_callbacks_is_one_event_a_minute(client: Client, provider: Provider) -> None:
    for _ in range(20):
        client.get(CALLBACK + "?state=x")
    assert len(events("sign_in_failed")) == 1


def test_a_sign_in_that_is_cancelled_there_is_no_failure(
    client: Client, provider: Provider
) -> None:
    state = at_the_provider(begin(client)).partition("state=")[2]
    answer = client.get(f"{CALLBACK}?error=access_denied&state={state}")
    assert answer.headers["Location"] == reverse("login")
    assert "cancelled at the provider" in text_of(client.get(reverse("login")))
    assert not events("sign_in_failed")


def test_an_error_of_the_provider_is_on_record_and_is_no_markup(
    client: Client, provider: Provider
) -> None:
    state = at_the_provider(begin(client)).partition("state=")[2]
    query = f"?error=<script>alert(7)</script>&error_description=x&state={state}"
    assert_refused(client, r"alert\(7\)", client.get(CALLBACK + query))


def test_neither_log_nor_trail_has_a_secret_of_the_exchange(
    client: Client, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider.answers["/token"] = plain(
        400, b'{"error": "invalid_client", "hint": "' + CLIENT_SECRET.encode() + b'"}'
    )
    back = at_the_provider(begin(client))
    assert_refused(
        client, "the token endpoint rejected the request: invalid_client", client.get(back)
    )
    written = caplog.text + str([vars(event) for event in events()])
    code = back.partition("code=")[2].partition("&")[0]
    for secret in (CLIENT_SECRET, code):
        assert secret not in written


def test_the_way_to_the_provider_is_limited(client: Client, provider: Provider) -> None:
    answers = [begun_in_vain(Client()).status_code for _ in range(31)]
    assert answers == [200] * 30 + [429]
    assert len(events("sign_in_limited")) == 1
