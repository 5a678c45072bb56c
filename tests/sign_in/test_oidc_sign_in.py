"""Sign-in through an OpenID Connect provider: accounts, roles, second factors; all over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount, SocialToken
from django.test import Client
from django.urls import reverse

from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.grants import give
from tests.sign_in.conftest import (
    MakeClient,
    code_of,
    events,
    is_signed_in,
    set_up_app,
    sign_in,
    text_of,
)
from tests.sign_in.provider import CLIENT_ID, CLIENT_SECRET, Provider
from tests.sign_in.provider_walk import at_the_provider, begin, roles_of, sent_to, walk


def test_who_is_in_a_mapped_group_comes_in(client: Client, provider: Provider) -> None:
    provider.user["groups"] = ["ops", "others"]
    answer = walk(client, next="/history/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/history/")
    assert is_signed_in(client)
    user = User.objects.get(username="anna")
    assert not user.has_usable_password()
    assert not user.is_staff
    assert roles_of("anna") == {("operator", None, True)}
    made, granted, signed = events("account_made", "grant_added", "sign_in")
    assert (made.target_label, made.details) == ("anna", {"issuer": provider.issuer})
    assert granted.actor_name == "Example login (OpenID Connect)"
    assert (signed.actor_name, signed.details) == ("anna", {"by": ["socialaccount"]})


def test_the_second_time_it_is_the_same_account(client: Client, provider: Provider) -> None:
    provider.user["groups"] = ["ops"]
    walk(client)
    provider.user["preferred_username"] = "anna-married"
    other = Client()
    walk(other)
    assert is_signed_in(other)
    assert User.objects.count() == SocialAccount.objects.count() == 1
    assert len(events("account_made")) == 1


def test_state_nonce_and_pkce_are_sent_and_are_new_each_time(
    client: Client, provider: Provider
) -> None:
    first, second = sent_to(begin(client)), sent_to(begin(client))
    assert first["redirect_uri"] == "http://testserver/sign-in/provider/callback/"
    assert first["code_challenge_method"] == "S256"
    assert set(first["scope"].split()) == {"openid", "profile"}
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) >= 16, name
        assert first[name] != second[name], name
    assert CLIENT_SECRET not in str(first)


def test_nothing_of_the_requests_own_query_goes_to_the_provider(
    client: Client, provider: Provider
) -> None:
    path = reverse("oidc-start") + "?prompt=none&nonce=planted&state=planted&scope=everything"
    page = text_of(client.post(path))
    for word in ("planted", "prompt", "everything"):
        assert word not in page


def test_the_code_is_redeemed_with_the_verifier_and_the_secret(
    client: Client, provider: Provider
) -> None:
    provider.user["groups"] = ["ops"]
    walk(client)
    ((_method, _path, sent),) = [each for each in provider.asked if each[1] == "/token"]
    assert (sent["client_id"], sent["client_secret"]) == (CLIENT_ID, CLIENT_SECRET)
    assert len(sent["code_verifier"]) >= 43


def test_a_get_begins_nothing(client: Client, provider: Provider) -> None:
    answer = client.get(reverse("oidc-start"))
    assert answer.headers["Location"] == reverse("login")
    assert not provider.asked


def test_the_button_is_there_only_with_a_provider(
    client: Client, provider: Provider, settings: Any
) -> None:
    assert "Example login" in text_of(client.get(reverse("login")))
    settings.OIDC_ISSUER = ""
    assert reverse("oidc-start") not in text_of(client.get(reverse("login")))
    for path in (reverse("oidc-start"), reverse("oidc-callback")):
        assert client.post(path).status_code in (302, 405)
        assert client.get(path).headers["Location"] == reverse("login")


@pytest.mark.parametrize(
    "wanted", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_next_leads_to_a_page_of_this_host_only(
    client: Client, provider: Provider, wanted: str
) -> None:
    provider.user["groups"] = ["ops"]
    assert walk(client, next=wanted).headers["Location"] == "/"


def test_no_token_of_the_provider_is_kept(client: Client, provider: Provider) -> None:
    provider.user["groups"] = ["ops"]
    walk(client)
    assert not SocialToken.objects.exists()
    assert "an-access-token" not in str(dict(client.session))
    account = SocialAccount.objects.get()
    assert (account.provider, account.uid) == (provider.issuer, "s-1")
    assert account.extra_data == {"username": "anna"}


def test_who_is_in_no_mapped_group_gets_no_account(client: Client, provider: Provider) -> None:
    provider.user["groups"] = ["others"]
    answer = client.get(at_the_provider(begin(client)), follow=True)
    assert "none of your groups has a role" in text_of(answer)
    assert not User.objects.exists()
    assert events("sign_in_failed")[0].details == {
        "by": "OpenID Connect",
        "why": "no account and no mapped group",
    }


def test_unless_accounts_are_made_for_everybody(
    client: Client, provider: Provider, settings: Any
) -> None:
    settings.OIDC_CREATE_ACCOUNTS = True
    walk(client)
    assert is_signed_in(client)
    assert roles_of("anna") == set()


@pytest.mark.parametrize("name", ["anna", "ANNA", "\uff41nna"])
def test_a_name_that_is_taken_is_never_linked(
    client: Client, anna: User, provider: Provider, name: str
) -> None:
    """Neither by name, nor by mail address, nor by look-alike letters."""
    User.objects.filter(pk=anna.pk).update(email="anna@example.com")
    give(anna, Role.ADMIN)
    provider.user |= {
        "preferred_username": name,
        "email": "anna@example.com",
        "email_verified": True,
        "groups": ["ops"],
    }
    walk(client)
    assert is_signed_in(client)
    signed_in = User.objects.get(pk=client.session["_auth_user_id"])
    assert signed_in.pk != anna.pk
    assert signed_in.username.lower() == "anna-2"
    assert not SocialAccount.objects.filter(user=anna).exists()
    assert roles_of("anna") == {("admin", None, False)}
    assert sign_in(Client()).status_code == 302, "anna herself signs in as before"


def test_another_subject_is_another_account(client: Client, provider: Provider) -> None:
    provider.user["groups"] = ["ops"]
    walk(client)
    provider.user["sub"] = "s-2"
    walk(Client())
    assert sorted(User.objects.values_list("username", flat=True)) == ["anna", "anna-2"]


def test_another_issuer_is_another_account(
    client: Client, provider: Provider, settings: Any
) -> None:
    provider.user["groups"] = ["ops"]
    walk(client)
    other = Provider()
    other.user = provider.user
    settings.OIDC_ISSUER = other.issuer
    try:
        walk(Client())
    finally:
        other.stop()
    assert User.objects.count() == 2


@pytest.mark.parametrize(
    ("name", "becomes"),
    [("", "user"), ("<script>alert(1)</script>", "scriptalert1script"), ("x" * 400, "x" * 140)],
)
def test_an_odd_name_becomes_one_that_django_takes(
    client: Client, provider: Provider, name: str, becomes: str
) -> None:
    provider.user |= {"preferred_username": name, "groups": ["ops"]}
    walk(client)
    assert User.objects.get().username == becomes


@pytest.mark.parametrize("claim", [7, ["x"], {"a": 1}, None])
def test_claims_of_another_kind_break_nothing(
    client: Client, provider: Provider, claim: object
) -> None:
    provider.user |= {"preferred_username": claim, "given_name": claim, "name": claim, "amr": claim}
    provider.user |= {"groups": ["ops"], "acr": claim}
    assert walk(client).status_code == 302
    assert is_signed_in(client)


def test_an_account_that_is_switched_off_stays_out(client: Client, provider: Provider) -> None:
    provider.user["groups"] = ["ops"]
    walk(client)
    User.objects.update(is_active=False)
    other = Client()
    answer = other.get(at_the_provider(begin(other)), follow=True)
    assert "account is deactivated" in text_of(answer)
    assert not is_signed_in(other)
    assert events("sign_in_failed")[-1].details == {"account_active": False}


def test_a_second_factor_here_is_asked_for_as_well(client: Client, provider: Provider) -> None:
    provider.user["groups"] = ["ops"]
    walk(client)
    secret = set_up_app(client)
    other = Client()
    answer = walk(other)
    assert answer.headers["Location"].startswith(reverse("mfa_authenticate"))
    assert not is_signed_in(other)
    other.post(reverse("mfa_authenticate"), {"code": code_of(secret, 1)})
    assert is_signed_in(other)


def test_who_is_signed_in_already_is_not_made_somebody_else(
    anna: User, client_of: MakeClient, provider: Provider
) -> None:
    """Login CSRF: nobody can sign a victim in to another account."""
    attacker = Client()
    back = at_the_provider(begin(attacker))
    victim = client_of(anna)
    victim.get(back)
    assert victim.session["_auth_user_id"] == str(anna.pk)
