"""Granting and withdrawing roles: the page, the command, and the events of both."""

from __future__ import annotations

import io

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.test import Client

from backups.models import Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import Grant, User
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Actor
from dashboard.members import granting
from tests.grants import give

URL = "/settings/access/"


@pytest.fixture
def anna(db: None) -> User:
    return User.objects.create_user("anna")


@pytest.fixture
def ben(db: None) -> User:
    return User.objects.create_user("ben")


@pytest.fixture
def web(client: Client, anna: User) -> Client:
    client.force_login(anna)
    return client


def form(name: str = "ben", role: str = "operator", **more: object) -> dict[str, object]:
    return {"kind": "user", "name": name, "role": role, "project": "all", **more}


def facts_of_last_event() -> tuple[object, ...]:
    event = AuditEvent.objects.order_by("sequence").last()
    assert event is not None
    return event.action, event.actor_name, event.target_label, event.project_id


# --- the page


def test_an_admin_grants_a_role_and_it_is_listed_and_audited(
    web: Client, anna: User, ben: User, project: Project
) -> None:
    give(anna, Role.ADMIN)
    answer = web.post(f"{URL}grant/", form(project=project.pk), follow=True)
    page = answer.content.decode()
    assert "Granted: Operator: ben, otc / eu-de / shop." in page
    made = ben.grants.get()
    assert (made.role, made.project, made.granted_by_name) == ("operator", project, "anna")
    assert facts_of_last_event() == ("grant_added", "anna", "ben", project.pk)
    event = AuditEvent.objects.order_by("sequence").last()
    assert event is not None
    assert event.after == {"role": "operator", "project": "otc / eu-de / shop"}
    assert event.target_is_person


def test_a_role_for_all_projects_has_to_be_chosen(web: Client, anna: User, ben: User) -> None:
    give(anna, Role.ADMIN)
    for left_out in ({"project": ""}, {"project": "0"}, {"project": "²"}, {"project": "9" * 18}):
        answer = web.post(f"{URL}grant/", form(**left_out))
        assert answer.status_code == 422, left_out
    assert not ben.grants.exists()
    web.post(f"{URL}grant/", form(project="all"))
    assert ben.grants.get().project is None


def test_a_group_is_granted_a_role(web: Client, anna: User, ben: User) -> None:
    give(anna, Role.ADMIN)
    team = Group.objects.create(name="team")
    web.post(f"{URL}grant/", form("team", "viewer", kind="group"))
    assert team.grants.get().role == Role.VIEWER
    assert facts_of_last_event() == ("grant_added", "anna", "team", None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "nobody"},
        {"name": ""},
        {"name": "ben\x00"},
        {"name": "b" * 151},
        {"kind": "group"},
        {"kind": "robot"},
        {"role": "owner"},
        {"role": ""},
    ],
)
def test_what_cannot_be_granted_is_said_and_kept_in_the_form(
    wrong: dict[str, str], web: Client, anna: User, ben: User
) -> None:
    give(anna, Role.ADMIN)
    answer = web.post(f"{URL}grant/", form(**wrong))
    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()
    assert not Grant.objects.exclude(user=anna).exists()


def test_a_deactivated_account_is_granted_nothing(web: Client, anna: User, ben: User) -> None:
    give(anna, Role.ADMIN)
    User.objects.filter(pk=ben.pk).update(is_active=False)
    assert web.post(f"{URL}grant/", form()).status_code == 422


def test_a_role_is_not_granted_twice(web: Client, anna: User, ben: User) -> None:
    give(anna, Role.ADMIN)
    web.post(f"{URL}grant/", form())
    events = AuditEvent.objects.count()
    answer = web.post(f"{URL}grant/", form())
    assert answer.status_code == 409
    assert "ben already has this role." in answer.content.decode()
    assert (ben.grants.count(), AuditEvent.objects.count()) == (1, events)


def test_names_are_shown_as_they_are(web: Client, anna: User) -> None:
    give(anna, Role.ADMIN)
    give(User.objects.create_user("<img src=x>"), Role.VIEWER)
    page = web.get(URL).content.decode()
    assert "&lt;img src=x&gt;" in page
    assert "<img src=x>" not in page


def test_withdrawing_asks_first(web: Client, anna: User, ben: User) -> None:
    give(anna, Role.ADMIN)
    made = give(ben, Role.OPERATOR).grants.get()
    answer = web.post(f"{URL}{made.pk}/withdraw/")
    assert "Withdraw a role?" in answer.content.decode()
    assert ben.grants.exists()
    web.post(f"{URL}{made.pk}/withdraw/", {"confirmed": "1"})
    assert not ben.grants.exists()
    assert facts_of_last_event() == ("grant_removed", "anna", "ben", None)
    assert web.post(f"{URL}{made.pk}/withdraw/", {"confirmed": "1"}).status_code == 404


def test_a_role_that_is_gone_already_is_withdrawn_once(anna: User, ben: User) -> None:
    made = give(ben, Role.OPERATOR).grants.get()
    assert granting.withdraw(made, Actor("anna"))
    events = AuditEvent.objects.count()
    assert not granting.withdraw(made, Actor("anna"))
    assert AuditEvent.objects.count() == events


def test_the_last_admin_of_all_stays(web: Client, anna: User, ben: User) -> None:
    own = give(anna, Role.ADMIN).grants.get()
    answer = web.post(f"{URL}{own.pk}/withdraw/", {"confirmed": "1"})
    assert answer.status_code == 409
    assert "Add another admin first" in answer.content.decode()
    assert anna.grants.exists()
    give(ben, Role.ADMIN)
    assert web.post(f"{URL}{own.pk}/withdraw/", {"confirmed": "1"}).status_code == 302
    assert not anna.grants.exists()


# --- an admin of one project


def test_an_admin_of_a_project_grants_there_and_nowhere_else(
    web: Client, anna: User, ben: User, project: Project, other_project: Project
) -> None:
    give(anna, Role.ADMIN, project=project)
    for beyond in ("all", other_project.pk):
        assert web.post(f"{URL}grant/", form(project=beyond)).status_code == 422
    assert not ben.grants.exists()
    assert web.post(f"{URL}grant/", form(project=project.pk)).status_code == 302
    assert ben.grants.get().project == project


def test_an_admin_of_a_project_sees_and_withdraws_its_roles_only(
    web: Client, anna: User, ben: User, project: Project, other_project: Project
) -> None:
    give(anna, Role.ADMIN, project=project)
    give(ben, Role.VIEWER, project=other_project)
    carla = give(User.objects.create_user("carla"), Role.ADMIN)
    page = web.get(URL).content.decode()
    assert "shop" in page
    for hidden in ("ben", "carla", "bank", "All projects"):
        assert hidden not in page
    for made in Grant.objects.filter(user__in=[ben, carla]):
        assert web.post(f"{URL}{made.pk}/withdraw/", {"confirmed": "1"}).status_code == 404
        assert Grant.objects.filter(pk=made.pk).exists()


def test_grants_are_found_by_name_and_come_in_pages(web: Client, anna: User) -> None:
    give(anna, Role.ADMIN)
    for number in range(101):
        give(User.objects.create_user(f"user-{number:03}"), Role.VIEWER)
    page = web.get(URL).content.decode()
    assert "Page 1 of 2" in page
    assert "user-100" not in page
    assert "user-100" in web.get(f"{URL}?page=2").content.decode()
    found = web.get(f"{URL}?q=USER-1").content.decode()
    assert "user-100" in found
    assert "user-001" not in found
    for odd in ("page=x", "page=99", "q=%00", "q=" + "x" * 5000):
        assert web.get(f"{URL}?{odd}").status_code == 200


# --- the command


def grant(*args: str, **options: object) -> str:
    out = io.StringIO()
    call_command("grant", *args, stdout=out, **options)
    return out.getvalue()


def test_the_command_grants_and_withdraws(ben: User, project: Project) -> None:
    assert grant("ben", "viewer") == "granted: Viewer: ben, all projects\n"
    assert facts_of_last_event()[0] == "grant_added"
    for name in ("shop", "p" * 32, "otc/eu-de/shop", "otc / eu-de / shop"):
        assert "otc / eu-de / shop" in grant("ben", "admin", project=name)
        grant("ben", "admin", project=name, withdraw=True)
    assert [made.role for made in ben.grants.all()] == ["viewer"]
    event = AuditEvent.objects.order_by("sequence").last()
    assert event is not None
    assert event.action == "grant_removed"
    assert "command line" in event.actor_name


def test_the_command_knows_groups(db: None) -> None:
    Group.objects.create(name="team")
    assert "team" in grant("team", "auditor", group=True)


@pytest.mark.parametrize(
    ("args", "options", "problem"),
    [
        (("carla", "viewer"), {}, "no active account 'carla'"),
        (("ben", "viewer"), {"group": True}, "no group 'ben'"),
        (("ben", "viewer"), {"project": "x"}, "no project 'x'"),
        (("ben", "viewer"), {"project": ""}, "--project is empty"),
        (("ben", "viewer"), {"project": "twin"}, "not unique"),
        (("ben", "viewer"), {"withdraw": True}, "does not have the role viewer"),
        (("ben", "owner"), {}, "invalid choice"),
    ],
)
def test_the_command_says_what_is_wrong(
    args: tuple[str, str], options: dict[str, object], problem: str, ben: User
) -> None:
    for region in ("eu-de", "eu-nl"):
        Project.objects.create(cloud="otc", region=region, project_id=region, name="twin")
    with pytest.raises(CommandError, match=problem):
        grant(*args, **options)
    assert not Grant.objects.exists()


def test_the_command_does_not_withdraw_the_last_admin(ben: User) -> None:
    grant("ben", "admin")
    with pytest.raises(CommandError, match="Add another admin first"):
        grant("ben", "admin", withdraw=True)


def test_granting_again_changes_nothing_and_is_no_error(ben: User) -> None:
    grant("ben", "viewer")
    before = AuditEvent.objects.count()
    assert grant("ben", "viewer") == "nothing changed: ben already has this role.\n"
    assert (ben.grants.count(), AuditEvent.objects.count()) == (1, before)
