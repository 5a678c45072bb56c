"""The forms of the log backup settings: what is said without asking the cloud, and to whom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone

from backups.models import Cluster, LogSettings
from backups.services.log_settings import fingerprint
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from tests.views.conftest import MakeCluster

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks a cloud fails, and says so."""
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text("clouds: {}")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    """A cluster whose log backup is on."""
    made = make_cluster("orders")
    LogSettings.objects.create(
        cluster=made,
        enabled=True,
        bucket="old-bucket",
        base_path="css/log",
        agency="css_obs_agency",
        read_at=timezone.now(),
    )
    return made


def url(cluster: Cluster) -> str:
    return f"/clusters/{cluster.pk}/log-backup/"


def page(web: Client, cluster: Cluster, query: str = "") -> str:
    answer = web.get(url(cluster) + query)
    assert answer.status_code == 200
    return answer.content.decode()


def form(cluster: Cluster, do: str, **more: str) -> dict[str, str]:
    storage = {"bucket": "my-bucket", "base_path": "css/log", "agency": "css_obs_agency"}
    policy = {"hour": "3", "offset": "+02:00"}
    seen = fingerprint(LogSettings.objects.get(cluster=cluster))
    return {"do": do, "seen": seen, "confirmed": "1", **storage, **policy, **more}


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("bucket", "Bad_Bucket", "lower-case letters"),
        ("bucket", "", "required"),
        ("bucket", "b" * 64, "at most 63"),
        ("base_path", "/css", "slash"),
        ("base_path", "<script>alert(1)</script>", "cannot contain"),
        ("agency", "no spaces", "letters, digits"),
        ("agency", "<b>", "letters, digits"),
        ("reason", "r" * 501, "at most 500"),
    ],
)
def test_what_the_cloud_would_refuse_is_said_at_its_field(
    admin: Client, cluster: Cluster, field: str, value: str, word: str
) -> None:
    typed = form(cluster, "change", **{"reason": "a good one", field: value})
    answer = admin.post(url(cluster), typed)
    text = answer.content.decode()
    assert answer.status_code == 422
    problem = re.search(rf'id="storage-{field}_error">([^<]*)<', text)
    assert problem
    assert word in problem[1]
    [its_input] = re.findall(rf'<input[^>]* id="storage-{field}"[^>]*>', text)
    assert 'aria-invalid="true"' in its_input
    for name in {"bucket", "base_path", "agency", "reason"} - {field}:
        assert f'value="{typed[name]}"' in text
    assert "<script>alert" not in text
    assert "<b>" not in text


@pytest.mark.parametrize(
    ("hour", "offset"), [("24", "+02:00"), ("3", "+02:07"), ("", "+02:00"), ("<b>", "+02:00")]
)
def test_an_hour_that_is_none_is_not_sent(
    admin: Client, cluster: Cluster, hour: str, offset: str
) -> None:
    answer = admin.post(url(cluster), form(cluster, "set_policy", hour=hour, offset=offset))
    assert answer.status_code == 422
    assert re.search(r'id="policy-(hour|offset)_error"', answer.content.decode())


def test_switching_off_without_having_confirmed_asks_again(admin: Client, cluster: Cluster) -> None:
    answer = admin.post(url(cluster), form(cluster, "disable", confirmed="", reason="cheaper"))
    text = answer.content.decode()
    assert answer.status_code == 422
    assert "Confirm that you have read the warning." in text
    assert "The cloud forgets" in text
    assert 'value="cheaper"' in text


@pytest.mark.parametrize("do", ["", "nonsense", "<b>"])
def test_a_form_that_wants_nothing_known_is_a_400(admin: Client, cluster: Cluster, do: str) -> None:
    assert admin.post(url(cluster), form(cluster, do)).status_code == 400


@pytest.mark.parametrize("token", ["", "x", "0" * 31, "0" * 33])
@pytest.mark.parametrize("do", ["change", "disable", "set_policy", "stop_policy"])
def test_a_form_that_does_not_say_what_it_was_made_with_changes_nothing(
    admin: Client, cluster: Cluster, do: str, token: str
) -> None:
    answer = admin.post(url(cluster), form(cluster, do, seen=token))
    assert answer.status_code == 422
    assert "The form is out of date" in answer.content.decode()


def test_a_cloud_that_is_not_in_clouds_yaml_is_named(admin: Client, cluster: Cluster) -> None:
    answer = admin.post(url(cluster), form(cluster, "change"))
    text = answer.content.decode()
    assert answer.status_code == 502
    assert "Nothing was sent" in text
    assert cluster.project.cloud in text.partition('id="problem"')[2].partition("</section>")[0]


def test_looking_asks_the_cloud_nothing(admin: Client, cluster: Cluster) -> None:
    assert "old-bucket" in page(admin, cluster)
    assert "Switch log backup off?" in page(admin, cluster, "?confirm=disable")
    LogSettings.objects.all().delete()
    assert "Not read yet" in page(admin, cluster)
    assert "Not read yet" in page(admin, cluster, "?confirm=disable")


@pytest.mark.parametrize("period", ["03:00 GMT+00:15", "03:30 GMT+02:00", "nightly"])
def test_a_period_that_is_not_offered_is_shown_as_it_is(
    admin: Client, cluster: Cluster, period: str
) -> None:
    LogSettings.objects.update(automatic=True, period=period)
    text = page(admin, cluster)
    assert f"Every day at <strong>{period}</strong>" in text
    assert '<option value="+00:00" selected>' in text


def test_who_may_not_configure_sees_who_may_grant_it(web: Client, cluster: Cluster) -> None:
    User.objects.create_superuser("root")
    for query in ("", "?confirm=disable"):
        text = page(web, cluster, query)
        assert "old-bucket" in text
        assert re.search(r"Who can grant it:\s+<bdi>root</bdi>", text)
        assert url(cluster) not in re.findall(r'<form[^>]*\saction="([^"]*)"', text)
    for do in ("enable", "change", "disable", "set_policy", "stop_policy", "read", ""):
        assert web.post(url(cluster), form(cluster, do)).status_code == 403


def test_a_change_needs_the_sites_own_form(cluster: Cluster) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.create_superuser("root"))
    assert strict.post(url(cluster), form(cluster, "change")).status_code == 403
    assert not AuditEvent.objects.filter(action__startswith="log_").exists()


@pytest.mark.parametrize("column", ["archived_at", "gone_at"])
def test_a_cluster_that_is_archived_or_gone_offers_no_backup(
    admin: Client, cluster: Cluster, column: str
) -> None:
    assert "back-up-now" in page(admin, cluster)
    Cluster.objects.filter(pk=cluster.pk).update(**{column: timezone.now()})
    assert "back-up-now" not in page(admin, cluster)
