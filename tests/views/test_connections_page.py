"""The connections page, against a simulator."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from backups.choices import ConnectionFault, SyncStep
from backups.css_api import config
from backups.guide import CONNECTION_FAULTS, ENTRY_LEFT
from backups.models import Cluster, Connection, Project
from backups.services.connections import sync
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.db.leases import Lease
from simulator.client import SimulatorControl
from simulator.server import Simulator
from tests.grants import give
from tests.views.page_text import tight

pytestmark = pytest.mark.django_db
URL = "/settings/connections/"
LABELS = {str(step.label) for step in SyncStep if step}


@pytest.fixture
def cloud(simulator: Simulator) -> SimulatorControl:
    return SimulatorControl(simulator.url)


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root", password="x"))
    return client


def entry() -> dict[str, str]:
    ((cloud, region), *_rest) = config.list_clouds()
    return {"cloud": cloud, "region": region}


def test_an_entry_is_tested_connected_synchronised_and_disconnected(
    admin: Client, cloud: SimulatorControl
) -> None:
    cloud.add_cluster("orders")
    text = admin.get(URL).content.decode()
    assert "Not connected" in text
    text = admin.post(f"{URL}test/", entry()).content.decode()
    assert "</bdi>: passed" in text
    assert text.count("Passed") == 4
    admin.post(f"{URL}connect/", entry())
    row = Connection.objects.get()
    assert "Waiting for a worker" in admin.get(URL).content.decode()
    sync.sync_connection(row.pk)
    row.refresh_from_db()
    live = admin.get(f"{URL}live/?shown={row.pk}:0")
    assert live.headers["X-Live"] == "1"
    text = live.content.decode()
    assert "Connected" in text
    assert "took" in text
    assert "1 new" in text
    assert admin.get(f"{URL}live/?shown={row.pk}:{row.version}").status_code == 204
    admin.post(f"{URL}{row.pk}/sync/")
    row.refresh_from_db()
    assert row.sync_step == "waiting"
    asked = admin.post(f"{URL}{row.pk}/disconnect/")
    assert asked.status_code == 422
    assert "can still be backed up" in asked.content.decode()
    admin.post(f"{URL}{row.pk}/disconnect/", {"confirmed": "1"})
    assert "Disconnected" in admin.get(URL).content.decode()
    assert admin.post(f"{URL}{row.pk}/sync/").status_code == 409


def test_the_steps_of_a_sync_are_shown_as_they_come(
    admin: Client, cloud: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Connection.objects.create(**entry())
    cloud.add_cluster("orders")
    seen: list[str] = []
    token = row.version

    def look() -> None:
        nonlocal token
        answer = admin.get(f"{URL}live/?shown={row.pk}:{token}")
        if answer.status_code == 204:
            return
        text = answer.content.decode()
        (word,) = re.findall(r'data-say="[^:]*: ([^"]*)"', text)
        seen.append(html.unescape(word))
        (token,) = map(int, re.findall(rf'data-live="{row.pk}:(\d+)"', text))
        assert ("data-live-active" in text) is (word in LABELS)

    first = Lease._write

    def watched(self: Lease, columns: Mapping[str, object]) -> None:
        look()
        first(self, columns)

    monkeypatch.setattr(Lease, "_write", watched)
    admin.post(f"{URL}{row.pk}/sync/")
    assert '<meta http-equiv="refresh"' in admin.get(URL).content.decode()
    look()
    sync.sync_connection(row.pk)
    look()
    assert seen == [
        *("Waiting for a worker", "Signing in", "Listing clusters", "Storing"),
        "Connected · 1 cluster",
    ]
    assert '<meta http-equiv="refresh"' not in admin.get(URL).content.decode()


def test_a_failed_sync_says_what_it_means_who_acts_and_what_is_next(
    admin: Client, cloud: SimulatorControl
) -> None:
    cloud.fault("status", endpoint="list", preset="forbidden")
    row = Connection.objects.create(**entry())
    sync.sync_connection(row.pk)
    text = html.unescape(admin.get(URL).content.decode())
    assert "Never reached" in text
    words = CONNECTION_FAULTS[ConnectionFault.FORBIDDEN]
    for each in (words.meaning, words.actor_label, words.next_step, "HTTP 403 CSS.0010"):
        assert str(each) in text
    cloud.clear_faults()
    sync.sync_connection(row.pk)
    assert str(words.meaning) not in html.unescape(admin.get(URL).content.decode())
    cloud.fault("status", endpoint="list", preset="error_500")
    sync.sync_connection(row.pk)
    assert "Synchronisation failed" in admin.get(URL).content.decode()
    cloud.clear_faults()


def test_a_failed_test_names_the_step_who_acts_and_what_is_next(
    admin: Client, cloud: SimulatorControl
) -> None:
    cloud.fault("status", endpoint="list", preset="forbidden")
    text = tight(html.unescape(admin.post(f"{URL}test/", entry()).content.decode()))
    words = CONNECTION_FAULTS[ConnectionFault.FORBIDDEN]
    assert [text.count(f"<span>{word}</span>") for word in ("Passed", "Failed")] == [3, 1]
    for each in (words.meaning, words.actor_label, words.next_step):
        assert str(each) in text
    cloud.clear_faults()
    cloud.fault("status", endpoint="token", status=401, body="{}")
    text = tight(admin.post(f"{URL}test/", entry()).content.decode())
    counts = [text.count(f"<span>{w}</span>") for w in ("Passed", "Failed", "Not tried")]
    assert counts == [1, 1, 2]
    cloud.clear_faults()


def test_no_secret_is_shown_stored_or_recorded(
    admin: Client, cloud: SimulatorControl, simulator: Simulator
) -> None:
    password = "pass-hunter22-word"
    path = Path(os.environ["OS_CLIENT_CONFIG_FILE"])
    document = yaml.safe_load(path.read_text())
    (the_entry,) = document["clouds"].values()
    the_entry["auth"]["password"] = password
    path.write_text(yaml.safe_dump(document))
    row = Connection.objects.create(**entry())
    sync.sync_connection(row.pk)
    page = admin.post(f"{URL}test/", entry()).content.decode()
    row.refresh_from_db()
    assert row.sync_fault == ConnectionFault.REFUSED
    kept = repr(list(AuditEvent.objects.values())) + repr(list(Connection.objects.values()))
    assert password not in page + kept
    assert the_entry["auth"]["username"] not in page


def test_an_entry_that_left_clouds_yaml_is_named_and_can_be_given_up(
    admin: Client, cloud: SimulatorControl
) -> None:
    cloud.add_cluster("orders")
    row = Connection.objects.create(**entry())
    sync.sync_connection(row.pk)
    path = Path(os.environ["OS_CLIENT_CONFIG_FILE"])
    document = yaml.safe_load(path.read_text())
    document["clouds"] = {"renamed": next(iter(document["clouds"].values()))}
    path.write_text(yaml.safe_dump(document))
    text = html.unescape(admin.get(URL).content.decode())
    assert "No longer in clouds.yaml" in text
    assert str(ENTRY_LEFT.next_step) in text
    assert f"{URL}{row.pk}/sync/" not in text
    asked = admin.post(f"{URL}{row.pk}/disconnect/").content.decode()
    assert "marked as gone" in asked
    assert Cluster.objects.get().gone_at is None
    admin.post(f"{URL}{row.pk}/disconnect/", {"confirmed": "1"})
    assert Cluster.objects.get().gone_at is not None


def test_an_operator_of_one_project_synchronises_its_connection_and_sees_no_other(
    client: Client, cloud: SimulatorControl
) -> None:
    mine, theirs = (
        Project.objects.create(cloud=name, region="r", project_id=name) for name in ("aa", "bb")
    )
    here = Connection.objects.create(**entry(), project=mine)
    there = Connection.objects.create(cloud="secret-entry", region="r", project=theirs)
    ben = User.objects.create_user("ben", password="x")
    client.force_login(give(ben, Role.OPERATOR, project=mine))
    text = client.get(URL).content.decode()
    assert "secret-entry" not in text
    assert "Sync now" in text
    assert "Disconnect" not in text
    assert client.post(f"{URL}{here.pk}/sync/").status_code == 302
    assert client.post(f"{URL}{there.pk}/sync/").status_code == 404
    assert AuditEvent.objects.get(action="sync_requested").actor_name == "ben"
    assert client.get(f"{URL}live/?shown={there.pk}:99").status_code == 204


def test_the_page_costs_the_same_queries_however_many_connections_there_are(
    admin: Client, cloud: SimulatorControl
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as counted:
            assert admin.get(URL).status_code == 200
        return len(counted)

    queries()
    before = queries()
    for number in range(40):
        name = f"c{number}"
        where = Project.objects.create(cloud=name, region="r", project_id=name)
        Connection.objects.create(cloud=name, region="r", project=where)
    assert queries() == before


@pytest.mark.parametrize(
    "data",
    [
        {"cloud": "nowhere", "region": ""},
        {"cloud": "https://evil.example", "region": ""},
        {"cloud": ""},
        {},
    ],
)
def test_only_what_clouds_yaml_has_can_be_called(
    admin: Client, cloud: SimulatorControl, data: dict[str, str]
) -> None:
    for action in ("test", "connect"):
        assert admin.post(f"{URL}{action}/", data).status_code == 404
    assert not Connection.objects.exists()


def test_a_cluster_is_registered_by_its_id(admin: Client, cloud: SimulatorControl) -> None:
    cluster_id = cloud.add_cluster("hidden")
    row = Connection.objects.create(**entry())
    answer = admin.post("/clusters/register/", {"connection": row.pk, "cluster_id": cluster_id})
    cluster = Cluster.objects.get()
    assert answer["Location"] == f"/clusters/{cluster.pk}/"
    again = admin.post("/clusters/register/", {"connection": row.pk, "cluster_id": cluster_id})
    assert again.status_code == 409
    assert "already registered" in again.content.decode()
    assert f'href="/clusters/{cluster.pk}/"' in again.content.decode()


@pytest.mark.parametrize("cluster_id", ["", "a/b", "../x", "a b", "x" * 65, "<b>", "no-such"])
def test_what_cannot_be_registered_is_said_and_kept_in_the_form(
    admin: Client, cloud: SimulatorControl, cluster_id: str
) -> None:
    row = Connection.objects.create(**entry())
    answer = admin.post("/clusters/register/", {"connection": row.pk, "cluster_id": cluster_id})
    assert answer.status_code == 422
    assert "<b>" not in answer.content.decode()
    assert not Cluster.objects.exists()


def test_who_may_not_configure_can_change_nothing(web: Client, cloud: SimulatorControl) -> None:
    row = Connection.objects.create(**entry())
    assert web.post(f"{URL}test/", entry()).status_code == 403
    assert web.post(f"{URL}connect/", entry()).status_code == 403
    assert web.post(f"{URL}{row.pk}/disconnect/", {"confirmed": "1"}).status_code in (403, 404)
    assert web.post("/clusters/register/", {}).status_code == 403
    text = web.get(URL).content.decode()
    assert "Register a cluster" not in text
    assert Connection.objects.get().disconnected_at is None


def test_nothing_is_changed_on_get(admin: Client, cloud: SimulatorControl) -> None:
    row = Connection.objects.create(**entry())
    paths = ("test/", "connect/", f"{row.pk}/sync/", f"{row.pk}/disconnect/")
    for path in paths:
        assert admin.get(f"{URL}{path}").status_code == 405
