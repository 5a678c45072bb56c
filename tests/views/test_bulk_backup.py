"""Backing up the logs of several clusters: a request for each, an answer for each."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from backups.forms import MOST_SELECTED
from backups.models import BackupRun, Cluster, Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.grants import give
from tests.views.conftest import MakeCluster, MakeRun

URL = "/clusters/backup/"


def ask(web: Client, clusters: list[Cluster], **data: str) -> tuple[int, str]:
    response = web.post(URL, {"cluster": [cluster.pk for cluster in clusters], **data})
    return response.status_code, response.content.decode()


def test_each_selected_cluster_gets_a_run_of_its_own(
    web: Client, make_cluster: MakeCluster
) -> None:
    clusters = [make_cluster(), make_cluster()]
    left_out = make_cluster()
    status, text = ask(web, clusters, reason="before upgrade")
    assert status == 200
    assert "Log backups of 2 clusters requested." in text
    runs = BackupRun.objects.order_by("cluster")
    assert [run.cluster for run in runs] == clusters
    assert {(run.trigger, run.reason, run.state) for run in runs} == {
        ("bulk", "before upgrade", "queued")
    }
    for run in runs:
        assert run.get_absolute_url() in text
    assert not left_out.runs.exists()


def test_a_busy_cluster_is_joined_and_told_so(
    web: Client, make_run: MakeRun, make_cluster: MakeCluster
) -> None:
    run = make_run()
    text = ask(web, [run.cluster, make_cluster()])[1]
    assert "Log backup of 1 cluster requested. 1 joined an existing run." in text
    assert run.cluster.runs.count() == 1


def test_what_would_be_refused_is_not_requested_but_offered(
    web: Client, make_cluster: MakeCluster
) -> None:
    off = make_cluster(
        readiness="backup_off", readiness_detail="It is off.", checked_at=timezone.now()
    )
    text = ask(web, [off, make_cluster()])[1]
    assert "1 was not requested." in text
    assert "It is off." in text
    assert "Back up this one anyway" in text
    assert not off.runs.exists()
    assert "Log backup of 1 cluster requested." in ask(web, [off], anyway="1")[1]
    assert off.runs.count() == 1


def test_what_is_gone_or_archived_is_told_and_the_others_go_on(
    web: Client, make_cluster: MakeCluster
) -> None:
    gone = make_cluster(gone_at=timezone.now())
    archived = make_cluster(archived_at=timezone.now())
    well = make_cluster()
    text = ask(web, [gone, archived, well])[1]
    assert "This cluster has gone from the cloud" in text
    assert "This cluster is archived" in text
    assert [run.cluster for run in BackupRun.objects.all()] == [well]


def test_clusters_of_other_projects_are_neither_backed_up_nor_told_of(
    client: Client, make_cluster: MakeCluster, db: None
) -> None:
    own = make_cluster()
    elsewhere = Project.objects.create(cloud="otc", region="eu-de", project_id="q", name="bank")
    hidden = make_cluster("hidden-one", project=elsewhere)
    seen = Project.objects.create(cloud="otc", region="eu-de", project_id="r", name="seen")
    watched = make_cluster(project=seen)
    user = User.objects.create_user("ops")
    give(user, Role.OPERATOR, project=own.project)
    give(user, Role.VIEWER, project=seen)
    client.force_login(user)
    text = ask(client, [own, hidden, watched])[1]
    assert "hidden-one" not in text
    assert "Your account may not back up this cluster." in text
    assert "2 were not requested." in text
    assert [run.cluster for run in BackupRun.objects.all()] == [own]


def test_a_viewer_may_not(client: Client, make_cluster: MakeCluster, db: None) -> None:
    cluster = make_cluster()
    client.force_login(give(User.objects.create_user("eve"), Role.VIEWER))
    assert ask(client, [cluster])[0] == 403
    assert not BackupRun.objects.exists()


def test_the_same_form_sent_twice_is_one_request_for_each(
    web: Client, make_cluster: MakeCluster
) -> None:
    clusters = [make_cluster(), make_cluster()]
    for _ in range(2):
        ask(web, clusters, idempotency_key="k" * 16)
    assert BackupRun.objects.count() == 2


def test_the_same_form_with_another_reason_requests_nothing(
    web: Client, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster()
    ask(web, [cluster], idempotency_key="k" * 16, reason="one")
    text = ask(web, [cluster], idempotency_key="k" * 16, reason="another")[1]
    assert f"has its run {BackupRun.objects.get().pk}" in text
    assert "1 was not requested." in text


def test_a_script_gets_the_rows_and_a_notice(web: Client, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    response = web.post(URL, {"cluster": cluster.pk}, headers={"HX-Request": "true"})
    text = response.content.decode()
    assert f'<tr id="cluster-{cluster.pk}" hx-swap-oob="true"' in text
    assert "Log backup of 1 cluster requested." in text
    assert "<html" not in text


@pytest.mark.parametrize(
    "picked", [[], ["x"], ["-1"], ["1" * 19], ["٣"], [str(n) for n in range(MOST_SELECTED + 1)]]
)
def test_a_selection_that_cannot_be_read_is_a_400(web: Client, picked: list[str]) -> None:
    assert web.post(URL, {"cluster": picked}).status_code == 400


def test_a_required_reason_is_asked_for(
    web: Client, make_cluster: MakeCluster, settings: Any
) -> None:
    settings.BACKUP_REASON_REQUIRED = True
    cluster = make_cluster()
    status, text = ask(web, [cluster])
    assert (status, "A reason is required for every backup." in text) == (400, True)
    assert ask(web, [cluster], reason="upgrade")[0] == 200


def test_a_form_of_another_site_is_refused(anna: User, make_cluster: MakeCluster) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(anna)
    assert ask(careful, [make_cluster()])[0] == 403
    assert not BackupRun.objects.exists()
