"""Security keys on the server; tests/browser tests the browser."""

from __future__ import annotations

import json
from typing import Any

import hypothesis
import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from fido2.utils import websafe_encode
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from dashboard.accounts.models import User
from tests.security_keys import SoftwareKey
from tests.sign_in.conftest import MakeClient, events, is_signed_in, sign_in

ADD, SECOND_STEP = reverse("mfa_add_webauthn"), reverse("mfa_authenticate")
AGAIN = reverse("mfa_reauthenticate_webauthn")


def asked(answer: Any, kind: str) -> dict[str, Any]:
    """The options that a page passes to the browser."""
    return dict(answer.context["js_data"][kind]["publicKey"])


def add(client: Client, key: SoftwareKey, name: str = "blue") -> Any:
    options = asked(client.get(ADD), "creation_options")
    credential = json.dumps(key.made(options["challenge"]))
    return client.post(ADD, {"name": name, "credential": credential})


def use(client: Client, key: SoftwareKey, path: str = SECOND_STEP) -> Any:
    options = asked(client.get(path), "request_options")
    return client.post(path, {"credential": json.dumps(key.used(options["challenge"]))})


@pytest.fixture
def key() -> SoftwareKey:
    return SoftwareKey()


def test_a_key_is_added_and_signs_in(anna: User, client_of: MakeClient, key: SoftwareKey) -> None:
    client = client_of(anna)
    assert add(client, key).headers["Location"] == reverse("mfa_view_recovery_codes")
    (event,) = events("second_factor_added")
    assert event.details == {"kind": "webauthn", "name": "blue"}
    other = Client()
    assert sign_in(other).headers["Location"].startswith(SECOND_STEP)
    assert not is_signed_in(other)
    assert use(other, key).headers["Location"] == "/"
    assert is_signed_in(other)
    assert events("sign_in")[-1].details == {"by": ["password", "webauthn"]}


def test_another_key_does_not(anna: User, client_of: MakeClient, key: SoftwareKey) -> None:
    add(client_of(anna), key)
    impostor = SoftwareKey()
    impostor.credential_id = key.credential_id  # claims to be the key, but signs with another one
    for wrong in (SoftwareKey(), impostor):
        client = Client()
        sign_in(client)
        assert use(client, wrong).status_code == 200
        assert not is_signed_in(client)
    assert [event.details for event in events("sign_in_failed")] == [{"step": "second factor"}] * 2


def test_a_key_of_somebody_else_does_not(
    anna: User, root: User, client_of: MakeClient, key: SoftwareKey
) -> None:
    add(client_of(anna), SoftwareKey())
    add(client_of(root), key)
    client = Client()
    sign_in(client)
    assert use(client, key).status_code == 200
    assert not is_signed_in(client)


def test_what_a_key_signed_for_another_site_does_not(
    anna: User, client_of: MakeClient, key: SoftwareKey
) -> None:
    """A phishing page that relays the response."""
    add(client_of(anna), key)
    client = Client()
    sign_in(client)
    key.origin = "https://testserver.evil.example"
    assert use(client, key).status_code == 200
    key.host, key.origin = "evil.example", "https://testserver"
    assert use(client, key).status_code == 200
    assert not is_signed_in(client)


def test_an_answer_counts_once(anna: User, client_of: MakeClient, key: SoftwareKey) -> None:
    add(client_of(anna), key)
    client = Client()
    sign_in(client)
    options = asked(client.get(SECOND_STEP), "request_options")
    said = json.dumps(key.used(options["challenge"]))
    other = Client()
    sign_in(other)
    other.get(SECOND_STEP)
    assert other.post(SECOND_STEP, {"credential": said}).status_code == 200
    assert not is_signed_in(other), "the challenge was another browser's"
    assert client.post(SECOND_STEP, {"credential": said}).status_code == 302
    client.post(reverse("logout"))
    sign_in(client)
    assert client.post(SECOND_STEP, {"credential": said}).status_code == 200
    assert not is_signed_in(client)


@pytest.mark.parametrize(
    "said", ["", "{}", "[]", "null", "7", '"x"', '{"id":"x"}', "{", '{"response":{}}', "[" * 5_000]
)
def test_what_is_no_answer_of_a_key_is_refused(
    anna: User, client_of: MakeClient, key: SoftwareKey, said: str
) -> None:
    client = client_of(anna)
    client.get(ADD)
    assert client.post(ADD, {"name": "x", "credential": said}).status_code == 200
    assert not Authenticator.objects.exists()
    add(client, key)
    other = Client()
    sign_in(other)
    other.get(SECOND_STEP)
    assert other.post(SECOND_STEP, {"credential": said}).status_code == 200
    assert not is_signed_in(other)


JUNK = st.none() | st.text(max_size=20) | st.binary(max_size=80).map(websafe_encode) | st.integers()


@hypothesis.settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_answers_that_are_almost_right_are_refused_without_an_error(
    anna: User, client_of: MakeClient, key: SoftwareKey, data: st.DataObject
) -> None:
    # first, since an example can also end in the middle
    Authenticator.objects.all().delete()
    cache.clear()
    client = client_of(anna)
    challenge = asked(client.get(ADD), "creation_options")["challenge"]
    said = key.made(challenge)
    deep = data.draw(st.booleans())
    spoil(said["response"] if deep else said, data)
    answer = client.post(ADD, {"name": "x", "credential": json.dumps(said)})
    assert answer.status_code in (200, 302)
    if deep:
        assert answer.status_code == 200
    client.get(AGAIN)
    used = key.used(challenge)
    spoil(used["response"] if data.draw(st.booleans()) else used, data)
    assert client.post(AGAIN, {"credential": json.dumps(used)}).status_code in (302, 429)


def spoil(answer: dict[str, Any], data: st.DataObject) -> None:
    """Replace one value."""
    answer[data.draw(st.sampled_from(sorted(answer)))] = data.draw(JUNK)


@pytest.mark.parametrize("text", ["\x00", "\ud800"])
def test_no_text_that_a_database_cannot_store_is_kept(
    anna: User, client_of: MakeClient, key: SoftwareKey, text: str
) -> None:
    client = client_of(anna)
    said = key.made(asked(client.get(ADD), "creation_options")["challenge"])
    said["clientExtensionResults"] = {"x": text}
    answer = client.post(ADD, {"name": "x", "credential": json.dumps(said)})
    assert answer.status_code == 200
    assert not Authenticator.objects.exists()


@pytest.mark.parametrize("name", ["attestationObject", "clientDataJSON"])
def test_a_number_in_place_of_a_text_takes_no_memory(
    anna: User, client_of: MakeClient, key: SoftwareKey, name: str
) -> None:
    client = client_of(anna)
    said = key.made(asked(client.get(ADD), "creation_options")["challenge"])
    said["response"][name] = 10**15  # bytes, more than any machine has
    answer = client.post(ADD, {"name": "x", "credential": json.dumps(said)})
    assert answer.status_code == 200
    assert not Authenticator.objects.exists()


def test_a_key_confirms_what_matters(anna: User, client_of: MakeClient, key: SoftwareKey) -> None:
    from tests.sign_in.test_authenticator_app import later

    client = client_of(anna)
    add(client, key)
    later(client)
    removal = reverse("mfa_remove_webauthn", args=[Authenticator.objects.get(type="webauthn").pk])
    assert client.get(removal).status_code == 302
    address = f"{AGAIN}?next={removal}"
    assert use(client, SoftwareKey(), address).headers["Location"] == address
    assert client.get(removal).status_code == 302
    assert use(client, key, address).headers["Location"] == removal
    assert client.post(removal).headers["Location"] == reverse("mfa_index")
    assert not Authenticator.objects.exists(), "the recovery codes went with it"
    assert events("second_factor_removed")[0].details == {"kind": "webauthn", "name": "blue"}


def test_a_key_of_somebody_else_cannot_be_removed(
    anna: User, root: User, client_of: MakeClient, key: SoftwareKey
) -> None:
    add(client_of(root), key)
    removal = reverse("mfa_remove_webauthn", args=[Authenticator.objects.get(type="webauthn").pk])
    client = client_of(anna)
    assert client.get(removal).status_code == 404
    assert client.post(removal).status_code == 404
    assert Authenticator.objects.filter(type="webauthn").exists()


def test_several_keys_have_names(anna: User, client_of: MakeClient) -> None:
    client = client_of(anna)
    one, two = SoftwareKey(), SoftwareKey()
    add(client, one, "<b>one</b>")
    add(client, two, "two")
    page = client.get(reverse("mfa_index")).content.decode()
    assert "&lt;b&gt;one&lt;/b&gt;" in page
    assert "<b>one</b>" not in page
    for each in (one, two):
        other = Client()
        sign_in(other)
        assert use(other, each).status_code == 302
