"""The search of the frame: clusters and runs for a text."""

from __future__ import annotations

import pytest
from django.test import Client

from backups.models import Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.grants import give
from tests.views.conftest import MakeCluster, MakeRun


def html(web: Client, text: str) -> str:
    response = web.get("/search/", {"q": text})
    assert response.status_code == 200
    return response.content.decode()


def test_it_finds_clusters_and_runs_by_a_part_of_a_name(
    web: Client, make_cluster: MakeCluster, make_run: MakeRun
) -> None:
    run = make_run(make_cluster("orders-prod"), state="failed")
    make_cluster("billing")
    text = html(web, "orders")
    assert run.get_absolute_url() in text
    assert run.cluster.get_absolute_url() in text
    assert "billing" not in text


def test_it_finds_a_run_by_the_request_id_of_the_cloud(web: Client, make_run: MakeRun) -> None:
    run = make_run(state="failed", request_id="f" * 32)
    assert run.get_absolute_url() in html(web, "f" * 32)


@pytest.mark.parametrize("form", ["#{}", "run {}", "Run {}", " run{} "])
def test_the_number_of_a_run_leads_straight_to_it(
    web: Client, make_run: MakeRun, form: str
) -> None:
    run = make_run()
    response = web.get("/search/", {"q": form.format(run.pk)})
    assert response.headers["Location"] == run.get_absolute_url()


def test_the_id_of_a_cluster_leads_straight_to_it(web: Client, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    response = web.get("/search/", {"q": cluster.cluster_id})
    assert response.headers["Location"] == cluster.get_absolute_url()


def test_nothing_found_says_where_to_look_next(web: Client) -> None:
    text = html(web, "nowhere")
    assert "Nothing matches" in text
    assert "/history/?q=nowhere&amp;window=all" in text


def test_other_projects_are_not_searched(
    client: Client, make_cluster: MakeCluster, make_run: MakeRun, project: Project
) -> None:
    other = Project.objects.create(cloud="otc", region="eu-de", project_id="q", name="bank")
    hidden = make_run(make_cluster("secret-cluster", project=other))
    client.force_login(give(User.objects.create_user("ops"), Role.OPERATOR, project=project))
    text = html(client, "secret-cluster")
    assert hidden.get_absolute_url() not in text
    assert "Nothing matches" in text
    assert client.get("/search/", {"q": f"#{hidden.pk}"}).status_code == 200
    assert client.get("/search/", {"q": hidden.cluster_cloud_id}).status_code == 200


@pytest.mark.parametrize("text", ["", "\0", "<b>", "%", "x" * 5000, "#" + "9" * 18, "run \u0663"])
def test_no_text_breaks_it(web: Client, make_run: MakeRun, text: str) -> None:
    make_run()
    assert "<b>" not in html(web, text).replace("</b>", "")
