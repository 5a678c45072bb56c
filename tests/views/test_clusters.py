"""The clusters page."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from backups.choices import RunState
from backups.models import Connection, Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.grants import give
from tests.views.conftest import MakeCluster, MakeRun
from tests.views.page_text import tight

URL = "/clusters/"


def html(client: Client, query: str = "") -> str:
    response = client.get(URL + query)
    assert response.status_code == 200
    return response.content.decode()


def test_a_visitor_is_asked_to_sign_in(client: Client, db: None) -> None:
    assert client.get(URL).headers["Location"] == f"/sign-in/?next={URL}"


def test_a_row_says_what_the_cluster_is_and_has_its_button(
    web: Client, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster("orders-prod")
    text = html(web)
    for part in ("orders-prod", "OpenSearch", "2.19.0", "eu-de_logging", "eu-de", "Available"):
        assert part in text
    assert cluster.cluster_id in text
    assert "Never backed up here" in text
    assert f'hx-post="/clusters/{cluster.pk}/backup/"' in text


def test_a_row_shows_the_latest_run_only(web: Client, make_run: MakeRun) -> None:
    old = make_run(
        state="succeeded", outcome="accepted", requested_at=timezone.now() - timedelta(hours=1)
    )
    new = make_run(
        old.cluster, state="rejected", outcome="conflict", http_status=409, error_code="CSS.3004"
    )
    text = tight(html(web))
    assert f"Run {new.pk}<" in text
    assert f"Run {old.pk}<" not in text
    assert "Rejected: Conflict" in text
    assert "HTTP 409 · CSS.3004" in text


@pytest.mark.parametrize("state", sorted(RunState))
def test_every_state_is_shown_in_its_word_and_never_as_success(
    web: Client, make_run: MakeRun, state: RunState
) -> None:
    make_run(state=state, outcome="accepted", http_status=200)
    text = html(web)
    assert str(state.label) in text
    assert "success" not in text.lower()


def test_an_active_run_shows_its_steps_and_its_note(web: Client, make_run: MakeRun) -> None:
    make_run(
        note="The queue is unreachable.",
        attempt=1,
        not_before=timezone.now() + timedelta(seconds=90),
    )
    text = tight(html(web))
    for step in ("Queued", "Sending", "Accepted", "Verified"):
        assert f">{step}<span" in text
    assert 'aria-current="step"' in text
    assert "The queue is unreachable." in text
    assert "Attempt 2" in text
    assert ">Cancel<" in text
    assert "Back up logs" not in text


def test_a_sent_run_has_no_cancel_button(web: Client, make_run: MakeRun) -> None:
    make_run(state="sending")
    assert ">Cancel<" not in tight(html(web))


def test_a_cluster_that_has_gone_is_shown_on_demand_marked_and_without_a_button(
    web: Client, make_cluster: MakeCluster
) -> None:
    make_cluster("was-here", gone_at=timezone.now())
    assert "was-here" not in html(web)
    text = html(web, "?show=gone")
    assert "was-here" in text
    assert "Gone from the cloud" in text
    assert "Back up logs" not in text


def test_a_failed_sync_is_told_without_blanking_the_page(
    web: Client, make_cluster: MakeCluster, project: Project
) -> None:
    make_cluster("still-here")
    Connection.objects.create(
        cloud=project.cloud,
        region=project.region,
        project=project,
        sync_error="HTTP 403 <b>CSS.0010</b>",
    )
    text = html(web)
    assert "HTTP 403 &lt;b&gt;CSS.0010&lt;/b&gt;" in text
    assert "still-here" in text


def test_without_clusters_the_page_says_how_to_get_them(web: Client, anna: User) -> None:
    assert "An admin can connect a project of your cloud" in html(web)
    give(anna, Role.ADMIN)
    assert 'href="/settings/connections/"' in html(web)


def test_the_filter_finds_names_and_ids(web: Client, make_cluster: MakeCluster) -> None:
    make_cluster("orders-prod")
    make_cluster("billing", cluster_id="ORD-77")
    make_cluster("search")
    text = html(web, "?q=ord")
    assert "orders-prod" in text
    assert "billing" in text
    assert ">search<" not in text
    assert "No cluster matches" in html(web, "?q=%25")


def test_fifty_rows_make_a_page_in_the_order_of_names(
    web: Client, make_cluster: MakeCluster
) -> None:
    for number in reversed(range(51)):
        make_cluster(f"c-{number:02d}")
    first, second = html(web), html(web, "?page=2")
    assert "c-00" in first
    assert "c-49" in first
    assert "c-50" not in first
    assert "c-50" in second
    assert "Page 2 of 2" in second
    assert "c-50" in html(web, "?page=99")


@pytest.mark.parametrize(
    "query", ["?page=x", "?page=0", "?page=-1", "?q=%00", "?q=" + "a" * 101, "?page=1e9"]
)
def test_a_hostile_address_is_a_400_that_says_what_was_wrong(web: Client, query: str) -> None:
    response = web.get(URL + query)
    assert response.status_code == 400
    assert "<li>" in response.content.decode()


def test_the_number_of_queries_does_not_grow_with_the_rows(
    web: Client, make_run: MakeRun, django_assert_num_queries: object
) -> None:
    make_run(state="succeeded")
    expected = _queries(web)
    for _ in range(30):
        make_run(state="accepted")
    assert _queries(web) == expected
    assert expected <= 13  # one of them for the saved views


def _queries(client: Client) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(
        connection,
    ) as captured:
        html(client)
    return len(captured)


def test_hostile_names_are_shown_as_text(web: Client, make_run: MakeRun) -> None:
    run = make_run(reason="x")
    run.cluster.name = '<script>alert("x")</script>\u202e' + "a" * 200
    run.cluster.status = "<img src=x>"
    run.cluster.save()
    text = html(web)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert "<img src=x>" not in text


def test_without_javascript_the_page_reloads_itself_while_a_run_is_active(
    web: Client, make_run: MakeRun
) -> None:
    run = make_run(state="succeeded")
    assert 'http-equiv="refresh"' not in html(web)
    make_run(run.cluster, state="sending")
    refresh = '<noscript><meta http-equiv="refresh" content="5; url=/clusters/"></noscript>'
    assert refresh in html(web)


def test_nothing_inline_needs_a_weaker_content_security_policy(
    web: Client, make_run: MakeRun
) -> None:
    run = make_run(state="rejected", outcome="conflict")
    for url in (URL, "/history/", run.get_absolute_url()):
        text = tight(web.get(url).content.decode())
        assert "<style" not in text
        assert " style=" not in text
        assert " onclick=" not in text
        assert "hx-on" not in text
        assert text.count("<script") == text.count("<script src=")
