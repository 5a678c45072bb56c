"""The pages of accounts and groups: who manages, what is refused, what an auditor reads."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from backups.models import Project
from dashboard.accounts.access import Role, grantors
from dashboard.accounts.models import Grant, Session, SignInLink, User
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Actor
from dashboard.members import managing
from dashboard.members.granting import LastGrantor
from dashboard.members.managing import NotChanged
from dashboard.tokens.issuing import create_token
from dashboard.tokens.models import ApiToken, Scope
from tests.access.test_last_admin import at_once
from tests.grants import give

ACCOUNTS, GROUPS = "/settings/access/accounts/", "/settings/access/groups/"
PASSWORD = "correct horse battery"


@pytest.fixture
def anna(db: None) -> User:
    """An admin of all projects, who is no superuser."""
    return give(User.objects.create_user("anna", password=PASSWORD), Role.ADMIN)


@pytest.fixture
def ben(db: None) -> User:
    return User.objects.create_user("ben")


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root", password=PASSWORD)


@pytest.fixture
def team(db: None) -> Group:
    return Group.objects.create(name="team")


def browser(user: User) -> Client:
    """A browser in which the user has just given the password."""
    client = Client()
    data = {"username": user.username, "password": PASSWORD}
    assert client.post(reverse("login"), data).status_code == 302
    return client


@pytest.fixture
def web(anna: User) -> Client:
    return browser(anna)


def change(client: Client, user: User, do: str, **data: object) -> int:
    path = f"{ACCOUNTS}{user.pk}/"
    return client.post(path, {"do": do, "confirmed": "1", **data}).status_code


def actions() -> list[str]:
    """The actions of all events but sign-ins, oldest first."""
    found = AuditEvent.objects.exclude(action="sign_in").order_by("sequence")
    return list(found.values_list("action", flat=True))


# --- accounts


def test_an_account_is_created_with_a_link(web: Client, anna: User) -> None:
    answer = web.post(ACCOUNTS, {"name": "carla", "how": "link"})
    assert answer.status_code == 200
    assert 'id="link"' in answer.content.decode()
    carla = User.objects.get(username="carla")
    assert (carla.is_superuser, carla.is_staff, carla.has_usable_password()) == (False,) * 3
    assert not carla.grants.exists()
    made, link = AuditEvent.objects.filter(target_id=carla.pk).order_by("sequence")
    assert (made.action, made.actor_name) == ("account_created", "anna")
    assert (link.action, link.actor_name) == ("sign_in_link_created", "anna")


def test_an_account_is_created_with_a_password(web: Client) -> None:
    answer = web.post(ACCOUNTS, {"name": "carla", "how": "password"}, follow=True)
    carla = User.objects.get(username="carla")
    path = reverse("members:account-sign-in", args=[carla.pk])
    assert answer.redirect_chain == [(path, 302)]
    wrong = {"password1": "another long secret", "password2": "something else here"}
    assert "The two passwords differ." in web.post(path, wrong).content.decode()
    assert "too common" in web.post(path, dict.fromkeys(wrong, "password")).content.decode()
    assert "too similar" in web.post(path, dict.fromkeys(wrong, "carla-car")).content.decode()
    assert web.post(path, dict.fromkeys(wrong, "another long secret")).status_code == 302
    data = {"username": "carla", "password": "another long secret"}
    assert Client().post(reverse("login"), data).status_code == 302


@pytest.mark.parametrize(
    ("name", "status"),
    [("", 422), ("a b", 422), ("<b>", 422), ("x" * 151, 422), ("ben\x00", 422), ("BEN", 409)],
)
def test_a_name_that_cannot_be_an_account_is_told(
    web: Client, ben: User, name: str, status: int
) -> None:
    """A name that differs from another by case only would be confused with it."""
    before = User.objects.count()
    answer = web.post(ACCOUNTS, {"name": name, "how": "link"})
    assert answer.status_code == status
    assert 'role="alert"' in answer.content.decode()
    assert User.objects.count() == before
    assert change(web, User.objects.get(username="anna"), "rename", name=name) == status


def test_the_password_is_asked_for_before_that_of_another(anna: User, ben: User) -> None:
    """Somebody at an open browser could otherwise take over any account."""
    client = Client()
    client.force_login(anna)  # no sign-in within the last minutes
    path = reverse("members:account-sign-in", args=[ben.pk])
    for answer in (client.get(path), client.post(path, {"do": "link"})):
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith(reverse("account_reauthenticate"))
    assert not SignInLink.objects.exists()


def test_the_password_is_asked_for_before_an_account_is_created(anna: User) -> None:
    client = Client()
    client.force_login(anna)
    assert client.get(ACCOUNTS).status_code == 200
    answer = client.post(ACCOUNTS, {"name": "carla", "how": "link"})
    assert answer.headers["Location"].startswith(reverse("account_reauthenticate"))
    assert not User.objects.filter(username="carla").exists()
    # it is created once the password is given: nothing is typed again
    data = {"password": PASSWORD}
    created = client.post(answer.headers["Location"], data, follow=True)
    assert created.status_code == 200
    assert User.objects.filter(username="carla").exists()
    assert "carla" in created.content.decode()


def test_setting_a_password_ends_sessions_and_tokens(web: Client, ben: User) -> None:
    his = Client()
    his.force_login(ben)
    create_token(ben, "job", Scope.READ, 7, Actor("ben", ben))
    path = reverse("members:account-sign-in", args=[ben.pk])
    data = dict.fromkeys(("password1", "password2"), "another long secret")
    assert web.post(path, data).status_code == 302
    assert not Session.objects.filter(user=ben).exists()
    assert his.get("/").status_code == 302
    assert not ApiToken.objects.active().exists()
    event = AuditEvent.objects.get(action="password_set")
    assert (event.actor_name, event.target_label) == ("anna", "ben")
    assert event.before == {"password_type": "none"}
    assert event.after == {"password_type": "local"}


def test_an_account_is_deactivated_activated_renamed_and_deleted(web: Client, ben: User) -> None:
    path = f"{ACCOUNTS}{ben.pk}/"
    asked = web.post(path, {"do": "deactivate"})
    assert (asked.status_code, User.objects.get(pk=ben.pk).is_active) == (422, True)
    for do, more in (("deactivate", {}), ("activate", {}), ("rename", {"name": "benno"})):
        assert change(web, ben, do, **more) == 302
    assert web.post(path, {"do": "delete"}).status_code == 422
    assert change(web, ben, "delete") == 302
    assert change(web, ben, "delete") == 404
    assert actions() == [
        "account_deactivated",
        "account_activated",
        "account_renamed",
        "account_deleted",
    ]


def test_an_unknown_action_changes_nothing(web: Client, ben: User, team: Group) -> None:
    assert change(web, ben, "promote") == 422
    assert web.post(f"{GROUPS}{team.pk}/", {"do": "promote"}).status_code == 422
    assert actions() == []


# --- what nobody can make of themselves


def test_an_admin_who_is_no_superuser_cannot_touch_one(web: Client, anna: User, root: User) -> None:
    stored = User.objects.filter(pk=root.pk).values().get()
    for do in ("deactivate", "delete", "unmake-superuser", "rename", "make-superuser"):
        assert change(web, root, do, name="x") == 409, do
    path = reverse("members:account-sign-in", args=[root.pk])
    assert web.post(path, {"do": "link"}).status_code == 409
    data = dict.fromkeys(("password1", "password2"), "another long secret")
    assert web.post(path, data).status_code == 409
    assert User.objects.filter(pk=root.pk).values().get() == stored
    assert not SignInLink.objects.exists()
    assert actions() == []
    page = web.get(f"{ACCOUNTS}{root.pk}/").content.decode()
    assert "Only a superuser can change the account of a superuser." in page
    assert 'value="deactivate"' not in page


def test_an_admin_who_is_no_superuser_makes_none(web: Client, anna: User, ben: User) -> None:
    assert change(web, ben, "make-superuser") == 409
    assert change(web, anna, "make-superuser") == 409
    extra = {"is_superuser": "on", "is_staff": "on", "superuser": "1"}
    web.post(ACCOUNTS, {"name": "carla", "how": "link", **extra})
    change(web, ben, "rename", name="benno", **extra)
    assert not User.objects.filter(is_superuser=True).exists()
    assert "make-superuser" not in web.get(f"{ACCOUNTS}{ben.pk}/").content.decode()


def test_a_superuser_makes_and_unmakes_superusers(root: User, ben: User) -> None:
    client = browser(root)
    managing.send_link(ben, Actor("root", root))
    assert client.post(f"{ACCOUNTS}{ben.pk}/", {"do": "make-superuser"}).status_code == 422
    assert change(client, ben, "make-superuser") == 302
    assert User.objects.get(pk=ben.pk).is_superuser
    assert change(client, ben, "unmake-superuser") == 302
    assert not User.objects.get(pk=ben.pk).is_superuser
    assert actions()[-2:] == ["superuser_added", "superuser_removed"]


@pytest.mark.parametrize("do", ["deactivate", "delete", "unmake-superuser"])
def test_nobody_locks_themselves_out(root: User, anna: User, do: str) -> None:
    assert change(browser(root), root, do) == 409
    assert User.objects.get(pk=root.pk).is_superuser
    path = reverse("members:account-sign-in", args=[root.pk])
    answer = browser(root).post(path, dict.fromkeys(("password1", "password2"), "x" * 20))
    assert answer.status_code == 409, "one's own password requires the current one"


def test_an_admin_of_one_project_manages_no_accounts(
    anna: User, ben: User, team: Group, project: Project
) -> None:
    """A group can have roles in other projects, and an account can, too."""
    Grant.objects.all().delete()
    client = browser(give(anna, Role.ADMIN, project=project))
    for path in (ACCOUNTS, GROUPS, f"{ACCOUNTS}{ben.pk}/", f"{GROUPS}{team.pk}/"):
        assert client.get(path).status_code == 403
        assert client.post(path, {"do": "add", "name": "anna"}).status_code == 403
    assert client.get(f"{ACCOUNTS}{ben.pk}/sign-in/").status_code == 403
    assert client.get("/settings/access/").status_code == 200
    assert ACCOUNTS not in client.get("/settings/access/").content.decode()


# --- the last admin


def by_deactivating(user: User, group: Group, actor: Actor) -> None:
    managing.deactivate_account(user, actor)


def by_deleting(user: User, group: Group, actor: Actor) -> None:
    managing.delete_account(user, actor)


def by_removing(user: User, group: Group, actor: Actor) -> None:
    managing.remove_member(group, user, actor)


def by_dissolving(user: User, group: Group, actor: Actor) -> None:
    managing.delete_group(group, actor)


WAYS = [by_deactivating, by_deleting, by_removing, by_dissolving]


@pytest.mark.parametrize("way", WAYS)
def test_the_last_admin_of_all_stays(
    ben: User, team: Group, way: Callable[[User, Group, Actor], None]
) -> None:
    ben.groups.add(team)
    Grant.objects.create(group=team, role=Role.ADMIN, granted_by_name="a test")
    with pytest.raises(LastGrantor):
        way(ben, team, Actor("a command"))
    assert grantors() == ["ben"]
    assert actions() == ["member_added", "grant_added"]
    give(User.objects.create_user("carla"), Role.ADMIN)
    way(ben, team, Actor("a command"))
    assert grantors() == ["carla"]


def test_the_last_superuser_stays_unless_there_is_an_admin(root: User) -> None:
    for change_it in (managing.deactivate_account, managing.delete_account):
        with pytest.raises(LastGrantor):
            change_it(root, Actor("a command"))
    with pytest.raises(LastGrantor):
        managing.set_superuser(root, False, Actor("a command"))
    give(User.objects.create_user("anna"), Role.ADMIN)
    managing.set_superuser(root, False, Actor("a command"))
    assert grantors() == ["anna"]


@pytest.mark.django_db(transaction=True)
def test_of_two_admins_deactivated_at_the_same_moment_one_stays() -> None:
    def deactivate(user: User) -> bool:
        try:
            managing.deactivate_account(user, Actor("a command"))
        except LastGrantor:
            return False
        return True

    for number in range(5):
        Grant.objects.all().delete()
        anna, ben = (User.objects.create_user(f"{name}-{number}") for name in ("anna", "ben"))
        for user in (anna, ben):
            give(user, Role.ADMIN)
        done = at_once(lambda one=anna: deactivate(one), lambda one=ben: deactivate(one))
        assert sorted(done) == [False, True], f"round {number}"
        assert len(grantors()) == 1


# --- groups


def test_a_group_is_created_filled_renamed_and_deleted(web: Client, ben: User) -> None:
    assert web.post(GROUPS, {"name": "team"}).status_code == 302
    team = Group.objects.get()
    path = f"{GROUPS}{team.pk}/"
    assert web.post(GROUPS, {"name": "team"}).status_code == 409
    assert web.post(path, {"do": "add", "name": "nobody"}).status_code == 422
    assert web.post(path, {"do": "add", "name": "ben"}).status_code == 302
    assert "ben" in web.get(path).content.decode()
    assert web.post(path, {"do": "remove", "name": "ben"}).status_code == 302
    assert change(web, ben, "join", group=team.pk) == 302
    assert f"{GROUPS}{team.pk}/" in web.get(f"{ACCOUNTS}{ben.pk}/").content.decode()
    assert change(web, ben, "leave", group=team.pk) == 302
    assert change(web, ben, "join", group="x") == 422
    assert web.post(path, {"do": "rename", "name": "crew\n2"}).status_code == 422
    assert web.post(path, {"do": "rename", "name": "crew"}).status_code == 302
    assert web.post(path, {"do": "delete"}).status_code == 422
    assert web.post(path, {"do": "delete", "confirmed": "1"}).status_code == 302
    assert not Group.objects.exists()
    joined = ["member_added", "member_removed"]
    assert actions() == ["group_created", *joined, *joined, "group_renamed", "group_deleted"]


def test_a_group_keeps_its_name_if_the_new_one_is_taken(web: Client, team: Group) -> None:
    Group.objects.create(name="crew")
    answer = web.post(f"{GROUPS}{team.pk}/", {"do": "rename", "name": "crew"})
    assert answer.status_code == 409
    assert "There is a group “crew” already." in answer.content.decode()
    assert Group.objects.get(pk=team.pk).name == "team"


def test_what_an_account_may_do_and_through_what_is_shown(
    web: Client, ben: User, team: Group, project: Project
) -> None:
    give(ben, Role.OPERATOR, project=project)
    ben.groups.add(team)
    Grant.objects.create(group=team, role=Role.VIEWER, granted_by_name="a test")
    page = " ".join(web.get(f"{ACCOUNTS}{ben.pk}/").content.decode().split())
    assert re.search(r"<dt>Operator</dt> <dd> <bdi>otc / eu-de / shop</bdi>", page)
    assert re.search(r"<dt>Viewer</dt> <dd> All projects", page)
    assert "through the group team" in page
    User.objects.filter(pk=ben.pk).update(is_active=False)
    assert "Nothing while it is deactivated." in web.get(f"{ACCOUNTS}{ben.pk}/").content.decode()


def test_names_are_shown_as_they_are(web: Client, db: None) -> None:
    hostile = "<img src=x>"
    user = User.objects.create_user(hostile, first_name=hostile, email=hostile)
    group = Group.objects.create(name=hostile)
    user.groups.add(group)
    paths = [ACCOUNTS, GROUPS, f"{ACCOUNTS}{user.pk}/", f"{GROUPS}{group.pk}/"]
    for path in [*paths, f"{ACCOUNTS}{user.pk}/sign-in/"]:
        page = web.get(path).content.decode()
        assert "&lt;img src=x&gt;" in page, path
        assert "<img src=x>" not in page, path


def test_accounts_are_found_by_name_and_come_in_pages(web: Client) -> None:
    User.objects.bulk_create(
        User(username=f"user-{number:03}", email=f"{number}@example.com") for number in range(100)
    )
    assert "Page 1 of 2" in web.get(ACCOUNTS).content.decode()
    page = web.get(f"{ACCOUNTS}?q=77@example").content.decode()
    assert "user-077" in page
    assert "user-078" not in page


# --- an auditor


def test_an_auditor_reads_the_access_pages_and_changes_nothing(
    anna: User, ben: User, team: Group
) -> None:
    carla = give(User.objects.create_user("carla", password=PASSWORD), Role.AUDITOR)
    client = browser(carla)
    create_token(ben, "job", Scope.READ, 7, Actor("ben", ben))
    made = give(ben, Role.VIEWER).grants.get()
    own = [f"{ACCOUNTS}{ben.pk}/", f"{GROUPS}{team.pk}/"]
    paths = ["/settings/access/", ACCOUNTS, GROUPS, "/settings/access/tokens/", *own]
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 200, path
        main = answer.content.decode().partition("<main")[2]
        assert '<form method="post"' not in main, path
        assert client.post(path, {"name": "x", "do": "deactivate"}).status_code in (403, 405), path
    assert client.post(f"/settings/access/{made.pk}/withdraw/").status_code == 404
    assert client.post("/settings/access/grant/").status_code == 403
    assert client.get(f"{ACCOUNTS}{ben.pk}/sign-in/").status_code == 403
    page = client.get("/settings/access/").content.decode()
    assert "Viewer" in page
    assert ACCOUNTS in page
    assert "/settings/access/" in client.get("/settings/").content.decode()


def test_an_auditor_of_one_project_reads_its_roles_alone(
    anna: User, ben: User, project: Project, other_project: Project
) -> None:
    carla = User.objects.create_user("carla", password=PASSWORD)
    client = browser(give(carla, Role.AUDITOR, project=project))
    give(ben, Role.VIEWER, project=other_project)
    page = client.get("/settings/access/").content.decode()
    assert "shop" in page
    for hidden in ("ben", "anna", "bank", ACCOUNTS):
        assert hidden not in page
    assert client.get(ACCOUNTS).status_code == 403


# --- at the same time


def test_an_account_that_is_gone_is_told(ben: User) -> None:
    User.objects.filter(pk=ben.pk).delete()
    with pytest.raises(NotChanged):
        managing.deactivate_account(ben, Actor("a command"))


def test_the_rights_of_the_target_count_as_they_are_stored(anna: User, ben: User) -> None:
    """Who became a superuser meanwhile is one, whatever the page had read."""
    User.objects.filter(pk=ben.pk).update(is_superuser=True)
    assert not ben.is_superuser
    with pytest.raises(NotChanged):
        managing.set_password(ben, "another long secret", Actor("anna", anna))
    with pytest.raises(NotChanged):
        managing.send_link(ben, Actor("anna", anna))
