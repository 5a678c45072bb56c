"""The page of the log backup settings, against a simulator."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from backups.models import BackupRun, Cluster, LogSettings
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from simulator.client import SimulatorControl
from simulator.server import Simulator

pytestmark = pytest.mark.django_db


@pytest.fixture
def cloud(simulator: Simulator) -> SimulatorControl:
    return SimulatorControl(simulator.url)


@pytest.fixture
def cluster(cloud: SimulatorControl) -> Cluster:
    """A cluster in the cloud whose log backup is off."""
    from backups.services.connections.sync import sync_clusters

    cloud.add_cluster("orders", log_backup=False)
    sync_clusters()
    return Cluster.objects.get(name="orders")


@pytest.fixture
def admin(client: Client) -> Client:
    user = User.objects.create_superuser("root", password="x")
    client.force_login(user)
    return client


def url(cluster: Cluster) -> str:
    return f"/clusters/{cluster.pk}/log-backup/"


def page(web: Client, cluster: Cluster, query: str = "") -> str:
    answer = web.get(url(cluster) + query)
    assert answer.status_code == 200
    return answer.content.decode()


def token_in(text: str) -> str:
    found = re.search(r'name="seen" value="([0-9a-f]{32})"', text)
    assert found
    return found[1]


def seen(admin: Client, cluster: Cluster) -> str:
    admin.post(url(cluster), {"do": "read"})
    return token_in(page(admin, cluster))


def form(token: str, do: str, **more: str) -> dict[str, str]:
    storage = {"bucket": "my-bucket", "base_path": "css/log", "agency": "css_obs_agency"}
    return {"do": do, "seen": token, **storage, **more}


def switched_on(admin: Client, cluster: Cluster) -> None:
    """Log backup is on, by way of the page."""
    answer = admin.post(url(cluster), form(seen(admin, cluster), "enable"))
    assert answer.status_code == 302


# --- What is done --------------------------------------------------------------------------------


def test_from_off_to_on_to_automatic_to_off(admin: Client, cluster: Cluster) -> None:
    token = seen(admin, cluster)
    answer = admin.post(url(cluster), form(token, "enable", reason="why not"), follow=True)
    assert answer.redirect_chain == [(url(cluster), 302)]
    text = answer.content.decode()
    assert "Log backup of orders is on" in text
    assert "Back up logs now" in text
    policy = {"do": "set_policy", "seen": token_in(text), "hour": "3", "offset": "+02:00"}
    text = admin.post(url(cluster), policy, follow=True).content.decode()
    assert "03:00 GMT+02:00" in text
    confirm = page(admin, cluster, "?confirm=disable")
    assert "The cloud forgets" in confirm
    assert "it is on: 03:00 GMT+02:00" in confirm
    assert "Files in the bucket are kept" in confirm
    token = token_in(confirm)
    unconfirmed = admin.post(url(cluster), {"do": "disable", "seen": token})
    assert unconfirmed.status_code == 422
    assert "Confirm that you have read the warning" in unconfirmed.content.decode()
    assert LogSettings.objects.get(cluster=cluster).enabled
    admin.post(url(cluster), {"do": "disable", "seen": token, "confirmed": "1"})
    assert not LogSettings.objects.get(cluster=cluster).enabled
    assert AuditEvent.objects.filter(action="log_backup_disabled").exists()


def test_the_daily_backup_is_switched_off_without_an_hour(admin: Client, cluster: Cluster) -> None:
    switched_on(admin, cluster)
    policy = {"do": "set_policy", "seen": seen(admin, cluster), "hour": "3", "offset": "+02:00"}
    admin.post(url(cluster), policy)
    stop = {"do": "stop_policy", "seen": seen(admin, cluster), "hour": "x", "offset": "y"}
    text = admin.post(url(cluster), stop, follow=True).content.decode()
    assert "no longer backs up the logs of orders automatically" in text
    assert not LogSettings.objects.get(cluster=cluster).automatic


def test_a_change_that_ended_the_daily_backup_says_so(admin: Client, cluster: Cluster) -> None:
    switched_on(admin, cluster)
    policy = {"do": "set_policy", "seen": seen(admin, cluster), "hour": "3", "offset": "+02:00"}
    admin.post(url(cluster), policy)
    moved = form(seen(admin, cluster), "change", bucket="other-bucket")
    text = admin.post(url(cluster), moved, follow=True).content.decode()
    assert "go to the new place" in text
    assert "has ended its daily backup" in text


def test_who_has_just_switched_it_on_can_back_up_at_once(admin: Client, cluster: Cluster) -> None:
    from backups.services.clusters.readiness import check_cluster

    check_cluster(cluster.pk)  # and says that log backup is off
    switched_on(admin, cluster)
    button = re.search(r'<form[^>]* id="back-up">.*?</form>', page(admin, cluster), re.S)
    assert button
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', button[0]))
    action = re.search(r'action="([^"]*)"', button[0])
    assert action
    answer = admin.post(action[1], fields)
    run = BackupRun.objects.get(cluster=cluster)
    assert (answer.status_code, answer["Location"]) == (302, run.get_absolute_url())


def test_the_hour_is_offered_in_the_viewers_zone(admin: Client, cluster: Cluster) -> None:
    switched_on(admin, cluster)
    admin.cookies["tz"] = "Asia/Kolkata"
    assert '<option value="+05:30" selected>' in page(admin, cluster)


# --- What is not done ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "code", "words"),
    [
        ("bucket", "CSS.0048", "The bucket does not exist, or the agency cannot write to it."),
        ("parameters", "CSS.0001", "Invalid parameters."),
        ("busy", "CSS.0011", "Wait a moment, then try again."),
        ("forbidden", "CSS.0010", "Grant the user the role CSS Administrator"),
        ("precondition", "CSS.0004", "Check the current settings in the cloud"),
        ("throttled", "APIGW.0308", "Wait a moment, then try again."),
        ("hostile", "CSS.0001", "&lt;script&gt;"),
    ],
)
def test_a_refusal_keeps_what_was_typed_and_explains(
    admin: Client, cluster: Cluster, cloud: SimulatorControl, preset: str, code: str, words: str
) -> None:
    token = seen(admin, cluster)
    cloud.fault("status", endpoint="open", preset=preset, times=1)
    typed = form(token, "enable", bucket="missing-bucket", reason="a good one")
    answer = admin.post(url(cluster), typed)
    text = answer.content.decode()
    assert answer.status_code == 422
    assert "The cloud rejected the change. Its settings were read afterwards" in text
    assert code in text
    assert words in text
    [entry] = cloud.ledger(endpoint="open")
    assert entry.request_id in text
    assert 'value="missing-bucket"' in text
    assert 'value="a good one"' in text
    assert "<script>alert" not in text


def test_a_change_without_an_answer_says_what_the_cloud_has(
    admin: Client, cluster: Cluster, cloud: SimulatorControl
) -> None:
    token = seen(admin, cluster)
    cloud.fault("reset_before", endpoint="open", times=1)
    answer = admin.post(url(cluster), form(token, "enable"))
    text = answer.content.decode()
    assert answer.status_code == 502
    assert "It is not known whether the cloud made the change. It was not sent again." in text
    assert "they are unchanged" in text
    assert len(cloud.ledger(endpoint="open")) == 1


def test_settings_that_cannot_be_read_first_are_not_changed(
    admin: Client, cluster: Cluster, cloud: SimulatorControl
) -> None:
    token = seen(admin, cluster)
    cloud.fault("status", endpoint="settings", preset="vanished")
    answer = admin.post(url(cluster), form(token, "enable"))
    text = answer.content.decode()
    assert answer.status_code == 502
    assert "Nothing was sent" in text
    assert "CSS.0015" in text
    read = admin.post(url(cluster), {"do": "read"}, follow=True).content.decode()
    assert "The settings cannot be read" in read
    assert "CSS.0015" in read


def test_settings_that_changed_meanwhile_are_shown_and_nothing_is_sent(
    admin: Client, cluster: Cluster, cloud: SimulatorControl
) -> None:
    token = seen(admin, cluster)
    admin.post(url(cluster), form(token, "enable"))
    answer = admin.post(url(cluster), form(token, "enable", bucket="late-bucket"))
    text = answer.content.decode()
    assert answer.status_code == 409
    assert "Nothing was sent" in text
    assert "my-bucket" in text
    assert 'value="late-bucket"' in text
    assert len(cloud.ledger(endpoint="open")) == 1
    # who has looked at them can decide again, on what is there now
    again = admin.post(url(cluster), form(token_in(text), "change", bucket="late-bucket"))
    assert again.status_code == 302
    assert LogSettings.objects.get(cluster=cluster).bucket == "late-bucket"
