"""Every change of accounts, groups and grants is an event with before and after, however made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, make_password
from django.contrib.auth.models import Group
from django.core import serializers
from django.core.management import call_command
from django.db import DatabaseError, transaction
from django.test import Client

from backups.models import Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import Grant, User
from dashboard.audit.models import AuditEvent
from dashboard.audit.trail import Actor
from dashboard.audit.verification import verify_chain
from dashboard.members.recording import acting, not_recorded
from tests.grants import give

PASSWORD = "correct horse battery"
Facts = tuple[str, str, Any, Any]
ACTIVE = {"active": True, "superuser": False, "password_type": "none"}


def told() -> list[Facts]:
    """Action, target, before and after of each event, oldest first."""
    events = AuditEvent.objects.order_by("sequence")
    return [(each.action, each.target_label, each.before, each.after) for each in events]


@pytest.fixture
def anna(db: None) -> User:
    return User.objects.create_user("anna")


@pytest.fixture
def team(db: None) -> Group:
    return Group.objects.create(name="team")


# --- accounts


def by_manager() -> None:
    User.objects.create_user("ben")


def by_saving() -> None:
    User(username="ben", password=make_password(None)).save()


def in_bulk() -> None:
    User.objects.bulk_create([User(username="ben", password=make_password(None))])


@pytest.mark.parametrize("make", [by_manager, by_saving, in_bulk])
def test_a_new_account_is_on_record(db: None, make: Callable[[], None]) -> None:
    make()
    assert told() == [("account_created", "ben", None, ACTIVE)]
    event = AuditEvent.objects.get()
    assert event.target_is_person
    assert event.actor_name.endswith("(command line)")


def test_rows_that_may_exist_already_are_not_created_in_bulk(anna: User) -> None:
    """It would not be known which of them are new."""
    with pytest.raises(TypeError):
        User.objects.bulk_create([User(username="anna")], ignore_conflicts=True)


def test_the_commands_of_django_are_on_record(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", username="chief", email="", interactive=False)
    typed = iter(["another long secret"] * 2)
    monkeypatch.setattr("getpass.getpass", lambda prompt="": next(typed))
    call_command("changepassword", "chief")
    superuser = {"active": True, "superuser": True, "password_type": "local"}
    local = {"password_type": "local"}
    assert told() == [
        ("account_created", "chief", None, superuser),
        ("password_set", "chief", local, local),
    ]
    assert User.objects.get().check_password("another long secret")


CHANGES: list[tuple[dict[str, Any], list[tuple[str, Any, Any]]]] = [
    ({"is_active": False}, [("account_deactivated", {"active": True}, {"active": False})]),
    ({"is_superuser": True}, [("superuser_added", {"superuser": False}, {"superuser": True})]),
    (
        {"is_active": False, "is_superuser": True},
        [
            ("account_deactivated", {"active": True}, {"active": False}),
            ("superuser_added", {"superuser": False}, {"superuser": True}),
        ],
    ),
    (
        {"password": make_password(PASSWORD)},
        [("password_set", {"password_type": "none"}, {"password_type": "local"})],
    ),
    ({"first_name": "Anna"}, [("account_renamed", None, None)]),
    ({"language": "de", "is_staff": True}, []),
    ({"is_active": True}, []),
]


def set_and_save(user: User, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(user, name, value)
    user.save()


def set_and_save_these(user: User, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(user, name, value)
    user.save(update_fields=list(values))


def by_a_queryset(user: User, values: dict[str, Any]) -> None:
    User.objects.filter(is_active=True).update(**values)


def many_at_once(user: User, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(user, name, value)
    User.objects.bulk_update([user], list(values))


@pytest.mark.parametrize("way", [set_and_save, set_and_save_these, by_a_queryset, many_at_once])
@pytest.mark.parametrize(("values", "expected"), CHANGES)
def test_a_changed_account_is_on_record(
    anna: User,
    values: dict[str, Any],
    expected: list[tuple[str, Any, Any]],
    way: Callable[[User, dict[str, Any]], None],
) -> None:
    way(anna, values)
    assert [(action, before, after) for action, _label, before, after in told()] == expected


def test_a_name_is_told_where_it_can_be_masked(anna: User) -> None:
    anna.username, anna.email = "annette", "annette@example.com"
    anna.save()
    event = AuditEvent.objects.get()
    assert (event.action, event.target_label) == ("account_renamed", "anna → annette")
    assert event.target_is_person
    assert (event.before, event.after) == (None, None)
    assert event.details == {"changed": ["username", "email"]}


def test_a_hash_that_is_renewed_at_a_sign_in_is_no_change(db: None, settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    with not_recorded():
        user = User.objects.create_user("anna")
        user.password = old = PBKDF2PasswordHasher().encode(PASSWORD, "a-salt", iterations=1)
        user.save()
    assert user.check_password(PASSWORD)
    user.refresh_from_db()
    assert user.password != old
    assert told() == []


def test_no_password_and_no_hash_is_in_an_event(db: None) -> None:
    user = User.objects.create_user("anna", password=PASSWORD)
    user.set_password("another long secret")
    user.save()
    user.delete()
    stored = json.dumps(list(AuditEvent.objects.values("before", "after", "details", "reason")))
    assert not re.search("battery|secret|pbkdf2|redacted|\\$", stored)


def test_a_deleted_account_takes_its_roles_and_groups_with_it(anna: User, team: Group) -> None:
    give(anna, Role.VIEWER)
    with not_recorded():
        anna.groups.add(team)
    pk = anna.pk
    anna.delete()
    viewer, member = {"role": "viewer", "project": "all projects"}, {"group": "team"}
    member |= {"group_id": team.pk}  # type: ignore[dict-item]
    had = ACTIVE | {"groups": ["team"], "roles": ["viewer: all projects"]}
    assert told() == [
        ("grant_removed", "anna", viewer, None),
        ("member_removed", "anna", member, None),
        ("account_deleted", "anna", had, None),
    ]
    assert set(AuditEvent.objects.values_list("target_id", flat=True)) == {str(pk)}


def test_accounts_deleted_by_a_queryset_are_on_record(anna: User) -> None:
    give(anna, Role.VIEWER)
    with not_recorded():
        User.objects.create_user("ben")
    User.objects.all().delete()
    assert sorted((action, label) for action, label, *_ in told()) == [
        ("account_deleted", "anna"),
        ("account_deleted", "ben"),
        ("grant_removed", "anna"),
    ]


# --- grants


def test_grants_made_and_changed_outside_the_pages_are_on_record(
    anna: User, project: Project
) -> None:
    made = Grant.objects.create(user=anna, role=Role.VIEWER, project=project)
    Grant.objects.bulk_create([Grant(user=anna, role=Role.OPERATOR)])
    Grant.objects.filter(pk=made.pk).update(role=Role.ADMIN)
    Grant.objects.filter(pk=made.pk).update(granted_by_name="x")
    Grant.objects.filter(user=anna, role=Role.OPERATOR).delete()
    here = {"project": str(project)}
    viewer, admin = {"role": "viewer", **here}, {"role": "admin", **here}
    operator = {"role": "operator", "project": "all projects"}
    assert told() == [
        ("grant_added", "anna", None, viewer),
        ("grant_added", "anna", None, operator),
        ("grant_removed", "anna", viewer, None),
        ("grant_added", "anna", None, admin),
        ("grant_removed", "anna", operator, None),
    ]


def test_roles_that_go_with_their_project_are_on_record(anna: User, project: Project) -> None:
    give(anna, Role.VIEWER, project=project)
    project.delete()
    assert [action for action, *_ in told()] == ["grant_removed"]


# --- groups


def test_groups_are_on_record(anna: User, db: None) -> None:
    group = Group.objects.create(name="team")
    group.name = "crew"
    group.save()
    group.save()
    assert told() == [
        ("group_created", "team", None, {"name": "team"}),
        ("group_renamed", "crew", {"name": "team"}, {"name": "crew"}),
    ]


@pytest.mark.django_db(transaction=True)
def test_a_group_whose_event_cannot_be_stored_is_not_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(AuditEvent, "content_hash", lambda event: None)  # violates NOT NULL
    with pytest.raises(DatabaseError):
        Group.objects.create(name="team")
    with pytest.raises(DatabaseError):
        User.objects.create_user("anna")
    assert not Group.objects.exists()
    assert not User.objects.exists()


def joins(anna: User, team: Group) -> None:
    anna.groups.add(team)
    anna.groups.add(team)


def is_taken_in(anna: User, team: Group) -> None:
    team.user_set.add(anna)


def is_set(anna: User, team: Group) -> None:
    anna.groups.set([team])


def leaves(anna: User, team: Group) -> None:
    anna.groups.remove(team)
    anna.groups.remove(team)


def is_put_out(anna: User, team: Group) -> None:
    team.user_set.remove(anna)


def is_cleared(anna: User, team: Group) -> None:
    anna.groups.clear()


def is_emptied(anna: User, team: Group) -> None:
    team.user_set.clear()


@pytest.mark.parametrize("join", [joins, is_taken_in, is_set])
@pytest.mark.parametrize("leave", [leaves, is_put_out, is_cleared, is_emptied])
def test_joining_and_leaving_a_group_is_on_record(
    anna: User,
    team: Group,
    join: Callable[[User, Group], None],
    leave: Callable[[User, Group], None],
) -> None:
    join(anna, team)
    leave(anna, team)
    facts = {"group": "team", "group_id": team.pk}
    assert told() == [
        ("member_added", "anna", None, facts),
        ("member_removed", "anna", facts, None),
    ]
    assert all(event.target_is_person for event in AuditEvent.objects.all())


def test_a_deleted_group_takes_members_and_roles_with_it(anna: User, team: Group) -> None:
    with not_recorded():
        anna.groups.add(team)
        Grant.objects.create(group=team, role=Role.ADMIN)
    facts = {"group": "team", "group_id": team.pk}
    team.delete()
    assert told() == [
        ("grant_removed", "team", {"role": "admin", "project": "all projects"}, None),
        ("member_removed", "anna", facts, None),
        (
            "group_deleted",
            "team",
            {"name": "team", "member_count": 1, "roles": ["admin: all projects"]},
            None,
        ),
    ]


# --- who, and together


def test_the_actor_of_a_page_is_its_user(client: Client, anna: User) -> None:
    client.force_login(give(anna, Role.ADMIN))
    client.post("/settings/access/groups/", {"name": "crew"})
    event = AuditEvent.objects.get(action="group_created")
    assert (event.actor_name, event.actor_user_id, event.ip) == ("anna", anna.pk, "127.0.0.1")
    assert event.request_id


def test_the_actor_can_be_named(db: None) -> None:
    with acting(Actor("the import"), details={"from": "a file"}):
        User.objects.create_user("ben")
    User.objects.create_user("carla")
    named, usual = AuditEvent.objects.order_by("sequence")
    assert (named.actor_name, named.details) == ("the import", {"from": "a file"})
    assert (usual.actor_name == "the import", usual.details) == (False, None)


def test_what_is_rolled_back_leaves_no_event(anna: User, team: Group) -> None:
    with transaction.atomic():
        anna.groups.add(team)
        anna.is_superuser = True
        anna.save()
        transaction.set_rollback(True)
    assert told() == []
    assert verify_chain().broken_at is None


@pytest.mark.django_db(transaction=True)
def test_a_dump_is_no_event(tmp_path: Path) -> None:
    """It brings the events of the changes that it contains."""
    with not_recorded():
        anna, team = User.objects.create_user("anna"), Group.objects.create(name="team")
        anna.groups.add(team)
        give(anna, Role.VIEWER)
        dump = tmp_path / "accounts.json"
        rows = [team, anna, *Grant.objects.all()]
        dump.write_text(serializers.serialize("json", rows))
        anna.delete()
        team.delete()
    call_command("load_dump", str(dump), verbosity=0)
    assert list(User.objects.values_list("username", "groups__name", "grants__role")) == [
        ("anna", "team", "viewer")
    ]
    assert told() == []
    call_command("loaddata", str(dump), verbosity=0)
    assert told() == [], "what is the same already is no change"
