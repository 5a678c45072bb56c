"""Pages for users without a role or without the required role."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from backups.models import BackupRun, Cluster, Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from tests.grants import give

PAGES = ("/", "/clusters/", "/history/", "/protection/", "/history/exports/")


@pytest.fixture
def anna(db: None) -> User:
    return User.objects.create_user("anna", password="a-password")


@pytest.fixture
def web(client: Client, anna: User) -> Client:
    client.force_login(anna)
    return client


@pytest.fixture
def run(project: Project) -> BackupRun:
    cluster = Cluster.objects.create(
        project=project, cluster_id="1", name="orders", status="200", engine="OpenSearch"
    )
    return BackupRun.objects.create(
        cluster=cluster,
        project=project,
        cluster_name="orders",
        requested_by_name="ben",
        trigger="button",
    )


def text_of(web: Client, path: str) -> str:
    answer = web.get(path)
    assert answer.status_code == 200, path
    return answer.content.decode()


def forms_of(page: str) -> set[str]:
    """The URLs of the page's forms."""
    return set(re.findall(r'<form method="post" action="([^"]*)"', page))


def test_without_a_role_the_sign_in_leads_to_a_page_that_says_who_grants_one(
    client: Client, anna: User, run: BackupRun
) -> None:
    give(User.objects.create_user("boss"), Role.ADMIN)
    answer = client.post("/sign-in/", {"username": "anna", "password": "a-password"}, follow=True)
    assert [code for _url, code in answer.redirect_chain] == [302]
    page = answer.content.decode()
    assert "Your account has no role yet" in page
    assert "Who can grant one: boss." in page


@pytest.mark.parametrize("path", PAGES)
def test_without_a_role_every_page_is_empty_and_says_why(
    path: str, web: Client, run: BackupRun
) -> None:
    page = text_of(web, path)
    assert "Your account has no role yet" in page
    assert "python manage.py grant" in page, "nobody here could grant it from a page"
    assert "orders" not in page
    assert "Connect a project" not in page


@pytest.mark.parametrize("path", PAGES)
def test_with_a_role_nothing_is_said_about_it(path: str, web: Client, anna: User) -> None:
    give(anna, Role.VIEWER)
    assert "has no role yet" not in text_of(web, path)


def test_who_cannot_connect_a_project_is_not_told_to(web: Client, anna: User) -> None:
    give(anna, Role.OPERATOR)
    for path in ("/", "/clusters/", "/protection/"):
        page = text_of(web, path)
        assert "An admin can connect a project" in page
        assert "Connect a project" not in page
    give(anna, Role.ADMIN)
    for path in ("/", "/clusters/", "/protection/"):
        assert "Connect a project" in text_of(web, path)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.AUDITOR])
def test_who_changes_nothing_is_offered_nothing(
    role: Role, web: Client, anna: User, run: BackupRun
) -> None:
    give(anna, role)
    own = {"/sign-out/", "/history/views/", "/settings/list/"}  # one's own settings
    if role is Role.AUDITOR:
        own |= {"/history/exports/", "/audit/verify/"}
    states = ("queued", "succeeded")
    for state in states:
        BackupRun.objects.update(state=state)
        paths = ["/", "/clusters/", "/history/", "/protection/", "/settings/connections/"]
        paths += [run.get_absolute_url(), run.cluster.get_absolute_url()]
        paths += [f"{run.cluster.get_absolute_url()}log-backup/"]
        for path in paths:
            page = text_of(web, path)
            assert forms_of(page) <= own, path
            assert "/settings/access/" not in page


def test_an_operator_is_offered_runs_and_no_settings(
    web: Client, anna: User, run: BackupRun
) -> None:
    give(anna, Role.OPERATOR)
    head = run.cluster.get_absolute_url()
    assert f"/runs/{run.pk}/cancel/" in forms_of(text_of(web, run.get_absolute_url()))
    BackupRun.objects.update(state="succeeded")
    assert f"{head}backup/" in forms_of(text_of(web, run.get_absolute_url()))
    offered = forms_of(text_of(web, head))
    assert f"{head}backup/" in offered
    assert not offered & {f"{head}archive/", f"{head}labels/", f"{head}objective/"}


def test_a_refusal_says_what_is_missing_who_grants_it_and_is_audited(
    web: Client, anna: User, run: BackupRun
) -> None:
    give(anna, Role.VIEWER)
    give(User.objects.create_user("<b>boss</b>"), Role.ADMIN)
    before = AuditEvent.objects.count()
    answer = web.post(f"/runs/{run.pk}/cancel/")
    page = answer.content.decode()
    assert answer.status_code == 403
    assert "requires the role Operator or Admin for otc / eu-de / shop" in page
    assert "Who can grant it: <bdi>&lt;b&gt;boss&lt;/b&gt;</bdi>." in page
    run.refresh_from_db()
    assert run.state == "queued"
    (event,) = AuditEvent.objects.order_by("sequence")[before:]
    assert (event.action, event.actor_name) == ("access_denied", "anna")
    assert event.details["path"] == f"/runs/{run.pk}/cancel/"
    assert "boss" not in str(event.details), "names of people can be masked elsewhere only"


def test_an_export_holds_what_one_may_export_not_all_one_sees(
    web: Client, anna: User, run: BackupRun, other_project: Project
) -> None:
    give(anna, Role.VIEWER)
    give(anna, Role.OPERATOR, project=other_project)
    cluster = Cluster.objects.create(project=other_project, cluster_id="2", name="ledger")
    BackupRun.objects.create(
        cluster=cluster,
        project=other_project,
        cluster_name="ledger",
        requested_by_name="ben",
        trigger="button",
    )
    assert "orders" in text_of(web, "/history/?window=all")
    answer = web.post("/history/exports/", {"format": "csv", "query": "window=all"})
    rows = b"".join(answer).decode()  # type: ignore[arg-type]
    assert "ledger" in rows
    assert "orders" not in rows
