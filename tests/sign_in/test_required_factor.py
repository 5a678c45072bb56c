"""Roles that require a second factor: nothing else is accessible without one."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from backups.models import Cluster, Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import Grant, User
from dashboard.audit.models import AuditEvent
from dashboard.sign_in.second_factor import BY_PROVIDER
from tests.grants import give
from tests.sign_in.conftest import (
    MakeClient,
    code_of,
    is_signed_in,
    set_up_app,
    sign_in,
    text_of,
)

OVERVIEW = reverse("mfa_index")


@pytest.fixture(autouse=True)
def _required(settings: Any) -> None:
    settings.MFA_REQUIRED_ROLES = ["admin", "operator"]


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(cloud="otc", region="eu-de", project_id="p" * 32, name="shop")


def leads_to_set_up(client: Client, path: str = "/clusters/") -> bool:
    answer = client.get(path)
    return answer.status_code == 302 and answer.headers["Location"] == OVERVIEW


def test_pages_lead_to_the_set_up(anna: User, client_of: MakeClient) -> None:
    client = client_of(give(anna, Role.OPERATOR))
    for path in ("/", "/clusters/", "/history/", "/protection/", reverse("account"), "/audit/"):
        assert leads_to_set_up(client, path), path
    assert "Your role needs a second factor." in text_of(client.get(OVERVIEW))


def test_it_opens_once_there_is_a_factor(anna: User, client_of: MakeClient) -> None:
    client = client_of(give(anna, Role.OPERATOR))
    secret = set_up_app(client)
    assert client.get("/clusters/").status_code == 200
    assert "needs a second factor" not in text_of(client.get(OVERVIEW))
    other = Client()
    sign_in(other)
    other.post(reverse("mfa_authenticate"), {"code": code_of(secret, 1)})
    assert other.get("/clusters/").status_code == 200


def test_it_closes_again_when_the_factor_is_removed(anna: User, client_of: MakeClient) -> None:
    client = client_of(give(anna, Role.OPERATOR))
    set_up_app(client)
    client.post(reverse("mfa_deactivate_totp"))
    assert leads_to_set_up(client)


def test_recovery_codes_alone_are_no_factor(anna: User, client_of: MakeClient) -> None:
    client = client_of(give(anna, Role.OPERATOR))
    set_up_app(client)
    anna.authenticator_set.exclude(type="recovery_codes").delete()  # type: ignore[attr-defined]
    assert leads_to_set_up(client)


def test_a_form_does_nothing_and_says_so(
    anna: User, client_of: MakeClient, project: Project
) -> None:
    cluster = Cluster.objects.create(project=project, cluster_id="c1", name="orders")
    client = client_of(give(anna, Role.ADMIN))
    events = AuditEvent.objects.count()
    answer = client.post(reverse("backups:cluster-archive", args=[cluster.pk]), follow=True)
    assert answer.redirect_chain == [(OVERVIEW, 302)]
    assert "Nothing was changed" in text_of(answer)
    cluster.refresh_from_db()
    assert cluster.archived_at is None
    assert AuditEvent.objects.count() == events


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/clusters/", {"HX-Request": "true"}),
        ("/live/", {}),
        ("/runs/1.json", {}),
        ("/clusters/", {"Accept": "application/json"}),
    ],
)
def test_a_program_gets_a_403_that_says_why(
    anna: User, client_of: MakeClient, path: str, headers: dict[str, str]
) -> None:
    client = client_of(give(anna, Role.OPERATOR))
    path = reverse("backups:home-live") if path == "/live/" else path
    answer = client.get(path, headers=headers)
    assert answer.status_code == 403
    assert text_of(answer) == (
        f"Your role requires a second factor. Set one up at http://testserver{OVERVIEW}."
    )


@pytest.mark.parametrize("role", [Role.VIEWER, Role.AUDITOR, None])
def test_other_roles_need_none(anna: User, client_of: MakeClient, role: Role | None) -> None:
    client = client_of(give(anna, role) if role else anna)
    assert client.get("/clusters/").status_code == 200


def test_a_role_for_one_project_counts(anna: User, client_of: MakeClient, project: Project) -> None:
    assert leads_to_set_up(client_of(give(anna, Role.OPERATOR, project=project)))


def test_a_role_of_a_group_counts(anna: User, client_of: MakeClient) -> None:
    group = Group.objects.create(name="on-call")
    Grant.objects.create(group=group, role=Role.OPERATOR, granted_by_name="a test")
    client = client_of(anna)
    assert client.get("/clusters/").status_code == 200
    anna.groups.add(group)
    assert leads_to_set_up(client), "from the next request on"


def test_a_superuser_counts_as_admin(root: User, client_of: MakeClient) -> None:
    client = client_of(root)
    for path in ("/", "/settings/access/", "/settings/access/accounts/"):
        assert leads_to_set_up(client, path), path


def test_signing_out_stays_possible(anna: User, client_of: MakeClient) -> None:
    client = client_of(give(anna, Role.OPERATOR))
    client.post(reverse("logout"))
    assert not is_signed_in(client)


def test_what_the_provider_vouched_for_counts_in_that_session(
    anna: User, root: User, client_of: MakeClient
) -> None:
    client, other = client_of(give(anna, Role.OPERATOR)), client_of(anna)
    session = client.session
    session[BY_PROVIDER] = anna.pk
    session.save()
    assert client.get("/clusters/").status_code == 200
    assert leads_to_set_up(other)
    session[BY_PROVIDER] = root.pk
    session.save()
    assert leads_to_set_up(client), "for nobody else"


def test_without_the_setting_nobody_needs_one(
    root: User, client_of: MakeClient, settings: Any
) -> None:
    settings.MFA_REQUIRED_ROLES = []
    assert client_of(root).get("/clusters/").status_code == 200
