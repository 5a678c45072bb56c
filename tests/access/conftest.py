"""Two projects with one of everything, and accounts with every role in the first or in both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from backups.choices import RunState, Trigger
from backups.models import (
    ApiCall,
    BackupRun,
    Batch,
    BatchItem,
    Cluster,
    Connection,
    Export,
    Handling,
    LogSettings,
    Project,
    RunEvent,
    SavedView,
    Schedule,
)
from backups.services.notifications.channels import add_channel, add_rule
from dashboard.accounts.access import PERMISSIONS, Permission, Role
from dashboard.accounts.models import Grant, User
from dashboard.audit.models import Action
from dashboard.audit.trail import Actor, record
from dashboard.tokens.issuing import create_token
from dashboard.tokens.models import ApiToken, Scope
from tests.grants import give
from tests.security_keys import SoftwareKey

OWN, OTHER = "of-the-own-project", "of-another-project"


def everything_in(marker: str) -> dict[str, Model]:
    """A project with one object of each kind; all names contain the marker.

    The keys are what `of` in the matrix can name.
    """
    project = Project.objects.create(
        cloud="otc", region="eu-de", project_id=f"id-{marker}", name=f"project-{marker}"
    )
    cluster = Cluster.objects.create(
        project=project,
        cluster_id=f"id-{marker}",
        name=f"cluster-{marker}",
        engine="OpenSearch",
        status="200",
    )
    run = BackupRun.objects.create(
        cluster=cluster,
        project=project,
        cluster_cloud_id=cluster.cluster_id,
        cluster_name=cluster.name,
        cloud=project.cloud,
        region=project.region,
        project_id_in_cloud=project.project_id,
        project_name=project.name,
        requested_by_name=f"user-{marker}",
        trigger=Trigger.BUTTON,
        message=f"message-{marker}",
    )
    RunEvent.objects.create(run=run, to_state=RunState.QUEUED, actor=f"user-{marker}")
    ApiCall.objects.create(
        run=run,
        attempt=1,
        purpose="collect",
        method="POST",
        path=f"/clusters/{marker}/logs/collect",
        started_at=timezone.now(),
        excerpt=f"excerpt-{marker}",
    )
    batch = Batch.objects.create(
        requested_by_name=f"user-{marker}", trigger=Trigger.BULK, reason=f"reason-{marker}"
    )
    BatchItem.objects.create(batch=batch, cluster=cluster, project=project)
    schedule = Schedule.objects.create(
        name=f"schedule-{marker}",
        cron="30 2 * * *",
        owner_name=f"user-{marker}",
        query=f"project={project.pk}&show=present",
    )
    schedule.projects.add(project)
    connection = Connection.objects.create(
        cloud=f"cloud-{marker}",
        region="eu-de",
        project=project,
        sync_error=f"error-{marker}",
        next_sync_at=timezone.now(),
    )
    somebody = User.objects.create_user(f"member-{marker}")
    grant = Grant.objects.create(
        user=somebody, role=Role.VIEWER, project=project, granted_by_name=f"grantor-{marker}"
    )
    event = record(
        Action.CLUSTER_LABELLED,
        actor=Actor(f"actor-{marker}"),
        target=cluster,
        project=project,
        reason=f"reason-{marker}",
    )
    handling = Handling.objects.create(
        cluster=cluster,
        project=project,
        cause="never",
        reason=f"reason-{marker}",
        made_at=timezone.now(),
        made_by_name=f"user-{marker}",
        scope=f"cluster:{cluster.pk}",
    )
    view = SavedView.objects.create(owner=somebody, name=f"view-{marker}")
    key = Authenticator.objects.create(
        user=somebody,
        type=Authenticator.Type.WEBAUTHN,
        data={"name": f"key-{marker}", "credential": SoftwareKey().made("")},
    )
    group = Group.objects.create(name=f"group-{marker}")
    somebody.groups.add(group)
    token, _text = create_token(
        somebody, f"token-{marker}", Scope.READ, 30, Actor(f"actor-{marker}")
    )
    channel, _secret = add_channel(
        f"channel-{marker}", "https://127.0.0.1:9/hook", actor=Actor(f"actor-{marker}")
    )
    rule = add_rule(channel, ["run_failed"], None, "", actor=Actor(f"actor-{marker}"))
    export = Export.objects.create(
        owner=somebody, owner_name=somebody.username, format="csv", requested_before=timezone.now()
    )
    LogSettings.objects.create(cluster=cluster, enabled=False, read_at=timezone.now())
    return {
        "account": somebody,
        "channel": channel,
        "rule": rule,
        "export": export,
        "api_token": token,
        "group": group,
        "project": project,
        "cluster": cluster,
        "run": run,
        "batch": batch,
        "schedule": schedule,
        "connection": connection,
        "handling": handling,
        "grant": grant,
        "audit_event": event,
        "saved_view": view,
        "security_key": key,
    }


@dataclass(frozen=True, slots=True)
class Person:
    """A user with a browser.

    Attributes:
        name: for messages of tests.
        client: the browser.
        user: None for who has not signed in.
        everywhere: what they may do in all projects.
        own: what they may do in the own project, on top of it.
    """

    name: str
    client: Client
    user: User | None = None
    everywhere: frozenset[Permission] = frozenset()
    own: frozenset[Permission] = frozenset()

    def may(self, permission: Permission | None, side: str) -> bool:
        """Whether they have a permission on one side, `OWN` or `OTHER`."""
        return permission in self.everywhere or (side == OWN and permission in self.own)


@dataclass(frozen=True, slots=True)
class World:
    """All objects of the test.

    Attributes:
        own: a project in which people have roles, and one of everything in it.
        other: the same of a project in which nobody has a role of its own.
        people: with every role in the own project or in all, with none, a superuser, a visitor.
    """

    own: dict[str, Model]
    other: dict[str, Model]
    people: list[Person] = field(default_factory=list)

    def side(self, side: str) -> dict[str, Model]:
        return self.own if side == OWN else self.other


def _person(name: str, user: User, **held: frozenset[Permission]) -> Person:
    client = Client()
    client.force_login(user)
    return Person(name, client, user, **held)


@pytest.fixture
def world(db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    # no cloud: permitted actions must not reach one
    (tmp_path / "clouds.yaml").write_text("clouds: {}\n")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    made = World(everything_in(OWN), everything_in(OTHER))
    project = made.own["project"]
    assert isinstance(project, Project)
    users = User.objects
    for role in Role:
        here = give(users.create_user(f"{role}-here"), role, project=project)
        made.people.append(_person(f"{role} here", here, own=PERMISSIONS[role]))
        everywhere = give(users.create_user(f"{role}-everywhere"), role)
        made.people.append(_person(f"{role} everywhere", everywhere, everywhere=PERMISSIONS[role]))
    made.people.append(_person("nobody", users.create_user("nobody")))
    root = users.create_superuser("root")
    made.people.append(_person("superuser", root, everywhere=frozenset(Permission)))
    give_key(made, root)
    made.people.append(Person("visitor", Client()))
    return made


@pytest.fixture(autouse=True)
def plain_static_files(settings: Any) -> None:
    """Without a manifest, so that the tests need no collectstatic."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


def give_key(world: World, user: User) -> None:
    """Give the security key to a user; it belongs to no project."""
    key = world.own["security_key"]
    assert isinstance(key, Authenticator)
    key.user, key.data = user, {**key.data, "name": "a key"}  # type: ignore[misc]
    key.save()


def give_token(world: World, user: User) -> None:
    """Give the API token to a user; it belongs to no project."""
    token = world.own["api_token"]
    assert isinstance(token, ApiToken)
    token.user, token.name = user, "a token"
    token.save()


def give_export(world: World, user: User) -> None:
    """Give the export to a user; it belongs to no project."""
    export = world.own["export"]
    assert isinstance(export, Export)
    # not save(), which moves `changed_at`
    Export.objects.filter(pk=export.pk).update(owner=user)


MakeUser = Callable[..., User]


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(cloud="otc", region="eu-de", project_id="p" * 32, name="shop")


@pytest.fixture
def other_project(db: None) -> Project:
    return Project.objects.create(cloud="otc", region="eu-de", project_id="q" * 32, name="bank")
