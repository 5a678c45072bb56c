"""Groups and second factors from the provider, and their effect."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from backups.models import Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.grants import give
from tests.sign_in.conftest import PASSWORD, events, is_signed_in, sign_in, text_of
from tests.sign_in.provider import Provider
from tests.sign_in.provider_walk import at_the_provider, begin, roles_of, walk


def test_a_role_goes_with_the_group(client: Client, provider: Provider, settings: Any) -> None:
    settings.OIDC_ROLE_MAP = ["ops=operator:all", "lead=admin:all"]
    provider.user["groups"] = ["ops", "lead"]
    walk(client)
    assert roles_of("anna") == {("operator", None, True), ("admin", None, True)}
    provider.user["groups"] = ["ops"]
    walk(Client())
    assert roles_of("anna") == {("operator", None, True)}, "though it was the last admin"
    (removed,) = events("grant_removed")
    assert removed.actor_name == "Example login (OpenID Connect)"
    provider.user["groups"] = []
    other = Client()
    walk(other)
    assert roles_of("anna") == set()
    assert is_signed_in(other), "the account is there, and may do nothing"


def test_what_was_granted_by_hand_stays(client: Client, provider: Provider) -> None:
    provider.user["groups"] = ["ops"]
    walk(client)
    give(User.objects.get(username="anna"), Role.VIEWER, Role.OPERATOR)
    provider.user["groups"] = []
    walk(Client())
    assert roles_of("anna") == {("viewer", None, False), ("operator", None, False)}


def test_a_role_can_be_for_one_project(client: Client, provider: Provider, settings: Any) -> None:
    Project.objects.create(cloud="otc", region="eu-de", project_id="p" * 32, name="shop")
    settings.OIDC_ROLE_MAP = ["team=viewer:otc/eu-de/shop", "team=operator:no-such-project"]
    provider.user["groups"] = ["team"]
    walk(client)
    assert roles_of("anna") == {("viewer", "shop", True)}


def test_groups_can_be_inside_an_object(client: Client, provider: Provider, settings: Any) -> None:
    settings.OIDC_GROUPS_CLAIM = "realm_access.roles"
    provider.user["realm_access"] = {"roles": ["ops"]}
    walk(client)
    assert roles_of("anna") == {("operator", None, True)}


def test_groups_can_come_from_userinfo(client: Client, provider: Provider) -> None:
    del provider.user["groups"]
    provider.userinfo = {"sub": "s-1", "groups": ["ops"]}
    walk(client)
    assert roles_of("anna") == {("operator", None, True)}


def test_userinfo_of_somebody_else_counts_for_nothing(client: Client, provider: Provider) -> None:
    del provider.user["groups"]
    provider.userinfo = {"sub": "s-2", "groups": ["ops"]}
    walk(client)
    assert not User.objects.exists()
    assert "another subject" in events("sign_in_failed")[0].details["why"]


def test_groups_that_the_provider_left_out_are_said_to_be_missing(
    client: Client, provider: Provider
) -> None:
    """For more than 200 groups, Entra ID sends a reference instead."""
    del provider.user["groups"]
    provider.user |= {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {}}}
    answer = client.get(at_the_provider(begin(client)), follow=True)
    assert "there are too many" in text_of(answer)
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("trusted", "said", "opens"),
    [
        (["otp"], {"amr": ["pwd", "otp"]}, True),
        (["otp"], {"amr": ["pwd"]}, False),
        (["otp"], {}, False),
        (["otp"], {"amr": "otp"}, False),
        (["urn:loa:2"], {"acr": "urn:loa:2"}, True),
        ([], {"amr": ["otp"]}, False),
        (["*"], {}, True),
    ],
)
def test_a_factor_that_the_provider_asked_for_counts_where_it_is_trusted(
    client: Client,
    provider: Provider,
    settings: Any,
    trusted: list[str],
    said: dict[str, Any],
    opens: bool,
) -> None:
    settings.MFA_REQUIRED_ROLES = ["operator"]
    settings.OIDC_TRUSTED_FACTORS = trusted
    provider.user |= {"groups": ["ops"], **said}
    walk(client)
    answer = client.get("/clusters/")
    assert answer.status_code == (200 if opens else 302)
    if not opens:
        assert answer.headers["Location"] == reverse("mfa_index")


def test_it_is_not_carried_over_to_a_sign_in_with_a_password(
    client: Client, provider: Provider, settings: Any
) -> None:
    settings.MFA_REQUIRED_ROLES = ["operator"]
    settings.OIDC_TRUSTED_FACTORS = ["*"]
    provider.user["groups"] = ["ops"]
    walk(client)
    user = User.objects.get()
    user.set_password(PASSWORD)
    user.save()
    other = Client()
    sign_in(other)
    assert other.get("/clusters/").headers["Location"] == reverse("mfa_index")
