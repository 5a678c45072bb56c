"""The button "Back up logs"."""

from __future__ import annotations

from django.test import Client
from django.utils import timezone

from backups.models import BackupRun
from tests.views.conftest import MakeCluster, MakeRun

HTMX = {"HX-Request": "true"}
KEY = "k" * 22


def test_a_click_stores_a_run_with_who_why_and_where(
    web: Client, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster()
    web.post(
        f"/clusters/{cluster.pk}/backup/",
        {"reason": " before upgrade ", "wait_minutes": "10", "idempotency_key": KEY},
        REMOTE_ADDR="10.1.2.3",
    )
    run = BackupRun.objects.get()
    assert (run.state, run.trigger, run.requested_by_name) == ("queued", "button", "anna")
    assert (run.reason, run.source_ip) == ("before upgrade", "10.1.2.3")
    assert run.retry_conflict_until is not None
    assert (run.retry_conflict_until - run.requested_at).total_seconds() == 600


def test_htmx_gets_the_row_with_the_run(web: Client, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    response = web.post(f"/clusters/{cluster.pk}/backup/", headers=HTMX)
    text = response.content.decode()
    assert response.status_code == 200
    assert text.lstrip().startswith(f'<tr id="cluster-{cluster.pk}"')
    assert "Queued" in text
    assert f"/runs/{BackupRun.objects.get().pk}/" in text


def test_without_javascript_the_click_leads_back_to_the_row_with_a_message(
    web: Client, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster("orders-prod")
    response = web.post(
        f"/clusters/{cluster.pk}/backup/", {"back": "/clusters/?q=orders&page=1"}, follow=True
    )
    assert response.redirect_chain == [(f"/clusters/?q=orders&page=1#cluster-{cluster.pk}", 302)]
    assert "Log backup of orders-prod requested." in response.content.decode()


def test_the_way_back_never_leaves_the_site(web: Client, make_cluster: MakeCluster) -> None:
    for number, back in enumerate(["https://evil.example/", "//evil.example", "/\\evil.example"]):
        cluster = make_cluster(f"c{number}")
        response = web.post(f"/clusters/{cluster.pk}/backup/", {"back": back})
        assert response.headers["Location"] == f"/clusters/#cluster-{cluster.pk}"


def test_a_second_operator_joins_the_run_that_is_there_and_is_told_so(
    web: Client, make_run: MakeRun
) -> None:
    run = make_run()
    response = web.post(f"/clusters/{run.cluster_id}/backup/", {"reason": "mine"}, headers=HTMX)
    text = response.content.decode()
    assert "joined the run that ben requested at" in text
    assert "keeps its own reason" in text
    assert BackupRun.objects.count() == 1


def test_a_form_sent_twice_is_one_request(web: Client, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    for _ in range(2):
        web.post(f"/clusters/{cluster.pk}/backup/", {"idempotency_key": KEY})
    BackupRun.objects.update(state="succeeded", finished_at=timezone.now())
    response = web.post(f"/clusters/{cluster.pk}/backup/", {"idempotency_key": KEY}, headers=HTMX)
    assert "already submitted" in response.content.decode()
    assert BackupRun.objects.count() == 1


def test_a_form_sent_again_with_another_reason_is_asked_for_again(
    web: Client, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster()
    url = f"/clusters/{cluster.pk}/backup/"
    web.post(url, {"idempotency_key": KEY, "reason": "one"})
    response = web.post(url, {"idempotency_key": KEY, "reason": "another"})
    text = response.content.decode()
    assert response.status_code == 422
    assert f"has its run {BackupRun.objects.get().pk}" in text
    assert 'value="another"' in text or ">another<" in text
    assert KEY not in text, "sent again, it is a request of its own"


def test_every_rendered_form_has_a_key_of_its_own(web: Client, make_cluster: MakeCluster) -> None:
    make_cluster()
    pages = [web.get("/clusters/").content.decode() for _ in range(2)]
    keys = {text.split('name="idempotency_key" value="')[1].split('"')[0] for text in pages}
    assert len(keys) == 2


def test_a_wrong_option_names_the_field_and_keeps_what_was_typed(
    web: Client, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster()
    typed = {"reason": 'before "upgrade"', "wait_minutes": "-5"}
    for headers in ({}, HTMX):
        response = web.post(f"/clusters/{cluster.pk}/backup/", typed, headers=headers)
        text = response.content.decode()
        assert response.status_code == 422
        assert "Minutes to wait:" in text
        assert 'value="before &quot;upgrade&quot;"' in text
        assert 'value="-5"' in text
        assert ("data-closes open" in text) is (headers == HTMX)
    assert not BackupRun.objects.exists()


def test_a_cluster_that_has_gone_is_refused_and_the_reason_is_not_lost(
    web: Client, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster(gone_at=timezone.now())
    for headers in ({}, HTMX):
        response = web.post(
            f"/clusters/{cluster.pk}/backup/", {"reason": "typed text"}, headers=headers
        )
        assert response.status_code == 409
        assert "gone from the cloud" in response.content.decode()
        assert "typed text" in response.content.decode()
    assert not BackupRun.objects.exists()


def test_a_reason_with_a_null_character_is_refused(web: Client, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    assert web.post(f"/clusters/{cluster.pk}/backup/", {"reason": "a\0b"}).status_code == 422


def test_an_unknown_cluster_is_a_404(web: Client) -> None:
    assert web.post("/clusters/999999999999999999999/backup/").status_code == 404


def test_nothing_is_requested_by_a_get(web: Client, make_cluster: MakeCluster) -> None:
    assert web.get(f"/clusters/{make_cluster().pk}/backup/").status_code == 405
    assert not BackupRun.objects.exists()


def test_a_visitor_cannot_request_a_backup(client: Client, make_cluster: MakeCluster) -> None:
    response = client.post(f"/clusters/{make_cluster().pk}/backup/")
    assert response.headers["Location"].startswith("/sign-in/")
    assert not BackupRun.objects.exists()


def test_a_form_of_another_site_is_refused(anna: object, make_cluster: MakeCluster) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(anna)  # type: ignore[arg-type]
    response = strict.post(f"/clusters/{make_cluster().pk}/backup/")
    assert response.status_code == 403
    assert "This form is no longer valid" in response.content.decode()
    assert not BackupRun.objects.exists()


def test_back_up_again_leads_to_the_new_run(web: Client, make_run: MakeRun) -> None:
    old = make_run(state="failed")
    response = web.post(f"/clusters/{old.cluster_id}/backup/", {"then": "run"})
    new = BackupRun.objects.latest("pk")
    assert new.pk != old.pk
    assert response.headers["Location"] == f"/runs/{new.pk}/"
