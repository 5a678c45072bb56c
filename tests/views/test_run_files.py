"""What the run's page, its JSON and the export say of the files in the bucket; the switch."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from backups.css_api import config
from backups.css_api.session import connect
from backups.models import BackupRun, Connection, FileCheck, LogSettings, Project, SeenFile
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.http.wire import Timeouts
from simulator.client import SimulatorControl
from simulator.server import Simulator
from tests.audit_guards import guards_lifted
from tests.views.conftest import MakeCluster, MakeRun
from tests.views.page_text import tight

pytestmark = pytest.mark.django_db
NAME = "css/log/<b>orders</b>.log"


def checked(run: BackupRun, result: str, **columns: Any) -> FileCheck:
    with guards_lifted():
        if columns.get("files"):
            SeenFile.objects.create(
                run=run, name=NAME, size=2048, etag="e7", modified_at=timezone.now()
            )
        return FileCheck.objects.create(
            run=run, result=result, checked_at=timezone.now(), event=7, **columns
        )


@pytest.fixture
def run(make_run: MakeRun) -> BackupRun:
    return make_run(state="succeeded", job_id="j", record_id="r")


@pytest.mark.parametrize(
    ("result", "columns", "words"),
    [
        ("seen", {"files": 1, "size": 2048}, "Files seen: 1, 2.0 KB, newest at"),
        ("nothing", {"files": 0, "size": 0}, "Nothing new was written (backups are incremental)."),
        ("unattributed", {"files": 0, "why": "Shared prefix: x"}, "Not attributable"),
        (
            "not_checked",
            {"why": "bucket <x>: no"},
            "Files not checked:<bdi>bucket &lt;x&gt;: no</bdi>",
        ),
    ],
)
def test_the_page_the_json_and_the_export_say_what_was_seen(
    web: Client, run: BackupRun, result: str, columns: dict[str, Any], words: str
) -> None:
    page = web.get(run.get_absolute_url()).content.decode()
    assert "Files in the bucket" not in page
    checked(run, result, newest_at=timezone.now() if result == "seen" else None, **columns)
    page = web.get(run.get_absolute_url()).content.decode()
    assert words in tight(page)
    assert ("&lt;b&gt;orders" in page) == (result == "seen")
    document = web.get(f"/runs/{run.pk}.json").json()["files"]
    assert (document["result"], document["count"]) == (result, columns.get("files"))
    names = [each["name"] for each in document["names"]]
    assert names == ([NAME] if result == "seen" else [])
    for each in document["names"]:
        assert datetime.fromisoformat(each["modified_at"])
    sent = web.post("/history/exports/", {"format": "csv", "query": "window=all"})
    content = b"".join(sent.streaming_content)  # type: ignore[arg-type]
    (row,) = csv.DictReader(io.StringIO(content.decode(), newline=""))
    wanted = [str(columns.get(name, "")) for name in ("files", "size")]
    assert [row["files"], row["files_seen"], row["files_bytes"]] == [result, *wanted]


def test_a_page_that_is_open_learns_of_the_result(web: Client, run: BackupRun) -> None:
    page = web.get(run.get_absolute_url()).content.decode()
    shown = page.partition(f'data-live="{run.pk}:')[2].partition('"')[0]
    url = f"{run.get_absolute_url()}live/?shown={run.pk}:{shown}"
    assert web.get(url).status_code == 204
    checked(run, "nothing", files=0)
    assert "Nothing new was written" in web.get(url).content.decode()


def test_the_switch_of_a_connection_is_recorded(client: Client, project: Project) -> None:
    client.force_login(User.objects.create_superuser("root", password="x"))
    row = Connection.objects.create(cloud=project.cloud, region=project.region, project=project)
    url = f"/settings/connections/{row.pk}/file-checks/"
    for on in ("0", "0", "1"):
        assert client.post(url, {"on": on}).status_code == 302
        row.refresh_from_db()
        assert row.file_checks == (on == "1")
        page = client.get("/settings/connections/").content.decode()
        assert ("Files in the bucket are not checked." in page) == (on == "0")
    actions = AuditEvent.objects.filter(action__startswith="file_checks").order_by("sequence")
    assert list(actions.values_list("action", flat=True)) == [
        "file_checks_disabled",
        "file_checks_enabled",
    ]


def test_the_bucket_is_listed_by_day_on_request(
    client: Client, simulator: Simulator, make_cluster: MakeCluster
) -> None:
    cloud, bucket = SimulatorControl(simulator.url), "simulated-log-bucket"
    ((name, region), *_others) = config.list_clouds()
    identity = connect(name, region, timeouts=Timeouts(2, 5, 10)).identity()
    cloud_id = cloud.add_cluster("kept", base_path="kept")
    cluster = make_cluster("kept", cluster_id=cloud_id)
    Project.objects.filter(pk=cluster.project_id).update(
        cloud=name, region=region, project_id=identity.project_id
    )
    client.force_login(User.objects.create_superuser("root", password="x"))
    url = f"/clusters/{cluster.pk}/files/"
    assert client.get(url, {"list": "1"}).status_code == 502  # no settings were read
    LogSettings.objects.create(
        cluster=cluster, enabled=True, bucket=bucket, base_path="kept", read_at=timezone.now()
    )
    cloud.add_objects(bucket, "kept/1/kept.log", size=1024, age=2 * 86_400)
    cloud.add_objects(bucket, "kept/2/kept_access.log", size=1024, age=86_400)
    cloud.add_objects(bucket, "kept/2/other.log")
    asked = len(cloud.ledger(endpoint="objects"))
    assert client.get(url).status_code == 200
    assert len(cloud.ledger(endpoint="objects")) == asked
    page = tight(client.get(url, {"list": "1"}).content.decode()).replace("\xa0", " ")
    assert "2 files, 2.0 KB." in page
    assert "1 other object is not named after the cluster." in page
    days = [(timezone.now() - timedelta(days=number)).strftime("%Y-%m-%d") for number in (1, 2)]
    assert [page.count(f'<th scope="row">{day}') for day in days] == [1, 1]
    assert page.index(days[0]) < page.index(days[1])
    cloud.refuse_bucket(bucket, "denied")
    denied = client.get(url, {"list": "1"})
    assert denied.status_code == 502
    assert "is denied (403 AccessDenied)" in denied.content.decode()
