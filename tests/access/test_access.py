"""Permissions follow from granted roles, and from nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.db import IntegrityError, connection, transaction
from django.http import Http404
from django.test import Client
from django.test.utils import CaptureQueriesContext

from backups.models import BackupRun, Cluster, Connection, Project
from dashboard.accounts.access import (
    PERMISSIONS,
    Permission,
    Role,
    RoleRequired,
    grantors,
    has_access,
    may,
    may_somewhere,
    permitted_q,
    projects_with,
    require,
    require_somewhere,
    visible_q,
)
from dashboard.accounts.models import Grant, User
from tests.grants import give

P = Permission
# docs/access.md has the same table
TABLE = {
    Role.VIEWER: {P.SEE},
    Role.OPERATOR: {P.SEE, P.RUN, P.EXPORT},
    Role.ADMIN: {P.SEE, P.RUN, P.SETTLE, P.CONFIGURE, P.EXPORT, P.AUDIT, P.MEMBERS},
    Role.AUDITOR: {P.SEE, P.EXPORT, P.AUDIT},
}
ROLES_AND_PERMISSIONS = [(role, permission) for role in Role for permission in Permission]


@pytest.fixture
def anna(db: None) -> User:
    return User.objects.create_user("anna")


def again(user: User) -> User:
    """The account as the next request loads it."""
    return User.objects.get(pk=user.pk)


# --- roles


@pytest.mark.parametrize(("role", "permission"), ROLES_AND_PERMISSIONS)
def test_a_role_in_a_project_counts_there_only(
    role: Role, permission: Permission, anna: User, project: Project, other_project: Project
) -> None:
    give(anna, role, project=project)
    granted = permission in TABLE[role]
    assert may(anna, permission, project) is granted
    assert may_somewhere(anna, permission) is granted
    assert not may(anna, permission, other_project)
    assert not may(anna, permission)


@pytest.mark.parametrize(("role", "permission"), ROLES_AND_PERMISSIONS)
def test_a_role_for_all_projects_counts_in_each(
    role: Role, permission: Permission, anna: User, project: Project
) -> None:
    give(anna, role)
    granted = permission in TABLE[role]
    assert may(anna, permission, project) is granted
    assert may(anna, permission) is granted


def test_an_auditor_may_change_nothing() -> None:
    assert not PERMISSIONS[Role.AUDITOR] & {P.RUN, P.SETTLE, P.CONFIGURE, P.MEMBERS}


def test_several_roles_add_up(anna: User, project: Project) -> None:
    give(anna, Role.AUDITOR)
    give(anna, Role.OPERATOR, project=project)
    assert may(anna, P.RUN, project)
    assert may(anna, P.AUDIT, project)
    assert not may(anna, P.CONFIGURE, project)


def test_a_group_gives_its_roles_to_its_members(anna: User, project: Project) -> None:
    team = Group.objects.create(name="team")
    Grant.objects.create(group=team, role=Role.OPERATOR, project=project, granted_by_name="x")
    assert not may(anna, P.RUN, project)
    anna.groups.add(team)
    assert may(again(anna), P.RUN, project)
    anna.groups.remove(team)
    assert not has_access(again(anna))


def test_a_superuser_may_do_everything_and_staff_nothing(db: None, project: Project) -> None:
    root = User.objects.create_superuser("root")
    staff = User.objects.create_user("staff", is_staff=True)
    assert all(may(root, permission, project) and may(root, permission) for permission in P)
    assert not any(may_somewhere(staff, permission) for permission in P)


def test_a_deactivated_account_and_a_visitor_may_do_nothing(anna: User, project: Project) -> None:
    give(anna, Role.ADMIN)
    User.objects.filter(pk=anna.pk).update(is_active=False, is_superuser=True)
    for user in (again(anna), AnonymousUser()):
        assert not any(may(user, permission, project) for permission in P)
        assert not has_access(user)
        assert not Project.objects.filter(visible_q(user, "")).exists()


# --- visibility


def test_rows_of_every_kind_are_those_of_ones_projects(
    anna: User, project: Project, other_project: Project
) -> None:
    rows: list[list[object]] = [[], []]
    for number, each in enumerate((project, other_project)):
        cluster = Cluster.objects.create(project=each, cluster_id=str(number), name="c")
        run = BackupRun.objects.create(
            cluster=cluster, project=each, requested_by_name="x", trigger="cli"
        )
        entry = Connection.objects.create(cloud=f"c{number}", region="r", project=each)
        rows[number] = [each, cluster, run, entry]
    kinds = (Project, Cluster, BackupRun, Connection)

    def seen(user: User) -> list[list[object]]:
        return [list(kind.objects.visible_to(user).order_by("pk")) for kind in kinds]

    assert seen(anna) == [[], [], [], []]
    give(anna, Role.VIEWER, project=project)
    assert seen(anna) == [[row] for row in rows[0]]
    give(anna, Role.VIEWER)
    assert seen(anna) == [list(pair) for pair in zip(*rows, strict=True)]


def test_a_project_that_is_connected_later_is_within_a_role_for_all(anna: User) -> None:
    give(anna, Role.VIEWER)
    late = Project.objects.create(cloud="otc", region="eu-nl", project_id="new")
    assert list(Project.objects.visible_to(anna)) == [late]


def test_rows_with_a_permission_are_fewer_than_those_seen(
    anna: User, project: Project, other_project: Project
) -> None:
    give(anna, Role.VIEWER)
    give(anna, Role.OPERATOR, project=project)
    assert set(projects_with(anna, P.SEE)) == {project, other_project}
    assert list(projects_with(anna, P.EXPORT)) == [project]
    assert list(Project.objects.filter(permitted_q(anna, P.RUN, ""))) == [project]


# --- refusals


def test_what_is_not_seen_is_not_there(
    anna: User, project: Project, other_project: Project
) -> None:
    give(anna, Role.ADMIN, project=project)
    for permission in Permission:
        require(anna, permission, project)
        with pytest.raises(Http404):
            require(anna, permission, other_project)


def test_a_refusal_says_which_role_is_missing_and_who_grants_it(
    anna: User, project: Project
) -> None:
    give(anna, Role.VIEWER, project=project)
    give(User.objects.create_user("boss"), Role.ADMIN, project=project)
    with pytest.raises(RoleRequired) as caught:
        require(anna, P.RUN, project)
    assert str(caught.value) == (
        "Backing up, cancelling and checking requires the role Operator or Admin "
        "for otc / eu-de / shop."
    )
    assert caught.value.grantors == ["boss"]
    with pytest.raises(RoleRequired, match="requires the role Admin for all projects") as caught:
        require(anna, P.CONFIGURE)
    assert caught.value.grantors == []
    with pytest.raises(RoleRequired, match="requires the role Admin or Auditor for a project"):
        require_somewhere(anna, P.AUDIT)


def test_those_who_can_grant_are_active_admins_there(
    anna: User, project: Project, other_project: Project
) -> None:
    def account(name: str, **columns: bool) -> User:
        return User.objects.create_user(name, **columns)

    give(account("here"), Role.ADMIN, project=project)
    give(account("elsewhere"), Role.ADMIN, project=other_project)
    give(account("everywhere"), Role.ADMIN)
    give(account("left", is_active=False), Role.ADMIN)
    give(account("operator"), Role.OPERATOR)
    account("root", is_superuser=True)
    team = Group.objects.create(name="team")
    Grant.objects.create(group=team, role=Role.ADMIN, project=project, granted_by_name="x")
    account("member").groups.add(team)
    assert set(grantors(project)) == {"here", "everywhere", "root", "member"}
    assert set(grantors(None)) == {"everywhere", "root"}
    assert len(grantors(project, most=2)) == 2


# --- the tables


def test_a_grant_is_for_a_user_or_for_a_group(anna: User) -> None:
    team = Group.objects.create(name="team")
    for whose in ({}, {"user": anna, "group": team}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Grant.objects.create(**whose, role=Role.VIEWER, granted_by_name="x")


def test_a_role_that_is_not_known_cannot_be_stored(anna: User) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Grant.objects.create(user=anna, role="owner", granted_by_name="x")


def test_a_role_is_granted_once(anna: User, project: Project) -> None:
    team = Group.objects.create(name="team")
    for whose in ({"user": anna}, {"group": team}):
        for where in (None, project):
            values = {**whose, "role": Role.VIEWER, "project": where, "granted_by_name": "x"}
            Grant.objects.create(**values)
            with pytest.raises(IntegrityError), transaction.atomic():
                Grant.objects.create(**values)
    assert Grant.objects.count() == 4


# --- cost


def test_grants_are_read_once_for_each_request(anna: User, project: Project) -> None:
    for number in range(40):
        each = Project.objects.create(cloud="otc", region="r", project_id=str(number))
        give(anna, Role.OPERATOR, project=each)
        Cluster.objects.create(project=each, cluster_id=str(number), name=f"c-{number}")
    web = Client()
    web.force_login(anna)
    with CaptureQueriesContext(connection) as queries:
        assert web.get("/clusters/").content.count(b'class="button" id="backup-') == 40
    asked = [q["sql"] for q in queries.captured_queries if '"accounts_grant"' in q["sql"]]
    assert len(asked) == 1


def test_a_role_that_is_withdrawn_ends_with_the_next_request(anna: User, project: Project) -> None:
    give(anna, Role.VIEWER)
    cluster = Cluster.objects.create(project=project, cluster_id="1", name="orders")
    web = Client()
    web.force_login(anna)
    assert web.get(cluster.get_absolute_url()).status_code == 200
    anna.grants.all().delete()
    assert web.get(cluster.get_absolute_url()).status_code == 404


def test_the_documentation_has_the_same_table() -> None:
    text = Path(__file__).resolve().parents[2].joinpath("docs", "access.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    head = next(row for row in rows if row[0] == "Permission")
    told = {
        Role(role): {P(row[0].strip("`")) for row in rows if row[0][0] == "`" and row[at] == "yes"}
        for at, role in enumerate(head)
        if role in Role.values
    }
    assert told == PERMISSIONS
