"""`/metrics`: who may read it, what processes count, and what an answer costs the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.db import DatabaseError
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from dashboard.checks import problems
from dashboard.metrics import counters, endpoint
from dashboard.metrics.models import Sample

TOKEN = "a-token-of-a-test-0123456789"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer of another test is kept."""
    monkeypatch.setattr(endpoint, "_scrapes", endpoint.Scrapes())


@pytest.fixture
def on(settings: LazySettings) -> dict[str, str]:
    """Metrics are on; returns the headers of who may read them."""
    settings.METRICS_TOKEN = TOKEN
    return {"Authorization": f"Bearer {TOKEN}", "Host": "10.0.0.7"}


def total(name: str, **labels: str) -> float:
    """The sum of a sample over the series with these labels, as an answer has it."""
    return sum(
        sample.value
        for family in endpoint.families()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_it_is_off_without_a_token() -> None:
    assert Client().get("/metrics").status_code == 404
    assert Client().get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


@pytest.mark.parametrize("given", ["", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer ü"])
def test_another_token_is_refused(on: dict[str, str], given: str) -> None:
    answer = Client().get("/metrics", headers={"Authorization": given})
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.django_db(transaction=True)
def test_prometheus_can_read_the_answer_and_needs_no_host_name(on: dict[str, str]) -> None:
    answer = Client().get("/metrics", headers=on)
    assert answer.status_code == 200
    names = {family.name for family in text_string_to_metric_families(answer.content.decode())}
    assert {"css_backup_runs_active", "css_backup_http_requests", "css_backup_info"} <= names
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.django_db
def test_a_short_token_is_refused_at_the_start(settings: LazySettings) -> None:
    settings.METRICS_TOKEN = "short"
    assert any("METRICS_TOKEN" in each and "short" not in each for each in problems())


@pytest.mark.django_db
def test_counts_of_processes_are_added_and_nothing_is_added_twice() -> None:
    counters.add_to_database()
    labels = {"route": "a-route", "method": "GET", "status": "200"}
    counters.request_ended("a-route", "GET", 200, 0.3)
    assert counters.add_to_database() > 0
    assert counters.add_to_database() == 0
    assert total("css_backup_http_requests_total", **labels) == 1
    # another process has counted as well
    row = Sample.objects.filter(name="css_backup_http_requests_total", labels__contains="a-route")
    row.update(value=41)
    counters.request_ended("a-route", "GET", 200, 0.3)
    counters.add_to_database()
    assert total("css_backup_http_requests_total", **labels) == 42


@pytest.mark.django_db
def test_a_histogram_keeps_its_buckets_in_order() -> None:
    counters.request_ended("slow", "POST", 200, 3.0)
    counters.add_to_database()
    (family,) = (
        f for f in endpoint.families() if f.name == "css_backup_http_request_duration_seconds"
    )
    buckets = [
        (s.labels["le"], s.value)
        for s in family.samples
        if s.name.endswith("_bucket") and s.labels["route"] == "slow"
    ]
    assert [float(le) for le, _ in buckets] == sorted(float(le) for le, _ in buckets)
    assert dict(buckets)["2.5"] == 0
    assert dict(buckets)["5.0"] == dict(buckets)["+Inf"] == 1


@pytest.mark.django_db
def test_what_could_not_be_added_is_added_later(monkeypatch: pytest.MonkeyPatch) -> None:
    counters.add_to_database()
    counters.request_ended("later", "GET", 200, 0.1)
    with monkeypatch.context() as broken:
        broken.setattr(counters, "SQL", "INSERT INTO no_such_table VALUES {rows}")
        with pytest.raises(DatabaseError):
            counters.add_to_database()
    counters.add_to_database()
    assert total("css_backup_http_requests_total", route="later") == 1


@pytest.mark.django_db
def test_requests_are_counted_by_route_and_unknown_methods_together() -> None:
    Client().get("/sign-in/")
    Client().generic("BREW", "/sign-in/")
    Client().get("/no/such/page")
    counters.add_to_database()
    name = "css_backup_http_requests_total"
    assert total(name, route="login", method="GET", status="200") >= 1
    assert total(name, method="other") >= 1
    routes = {s.labels["route"] for f in endpoint.families() for s in f.samples if s.name == name}
    assert not any("/" in route for route in routes)


@pytest.mark.django_db
def test_a_part_that_fails_is_left_out_and_named(
    settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.METRICS_GAUGES = ["backups.gauges.runs", "tests.dashboard.test_metrics.fails"]
    assert total("css_backup_collector_success", part="runs") == 1
    assert total("css_backup_collector_success", part="fails") == 0
    assert "metrics of fails cannot be read" in caplog.text


def fails() -> Iterator[None]:
    """A gauge function whose query fails."""
    raise DatabaseError("no such table")
    yield


def test_scrapes_share_one_computation_and_none_waits_without_end(
    on: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on, computed = threading.Event(), threading.Event(), []

    def slow() -> bytes:
        computed.append(1)
        began.set()
        go_on.wait(30)
        return b"all of it\n"

    monkeypatch.setattr(endpoint, "compute", slow)
    found: list[int] = []

    def scrape() -> None:
        found.append(Client().get("/metrics", headers=on).status_code)

    threads = [threading.Thread(target=scrape) for _ in range(endpoint.WAITING)]
    for thread in threads:
        thread.start()
    assert began.wait(30)
    deadline = threading.Event()
    while endpoint._scrapes._waiting._value:
        assert not deadline.wait(0.01)
    assert Client().get("/metrics", headers=on).status_code == 503  # enough wait already
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert found == [200] * endpoint.WAITING
    assert Client().get("/metrics", headers=on).content == b"all of it\n"
    assert len(computed) == 1


def test_a_database_that_hangs_or_fails_is_a_503_in_time(
    on: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(endpoint, "LIMIT", 0.05)
    monkeypatch.setattr(endpoint, "compute", lambda: go_on.wait(30))
    assert Client().get("/metrics", headers=on).status_code == 503
    go_on.set()
    monkeypatch.setattr(endpoint, "_scrapes", endpoint.Scrapes())

    def broken() -> bytes:
        raise DatabaseError("it is away")

    monkeypatch.setattr(endpoint, "compute", broken)
    monkeypatch.setattr(endpoint, "LIMIT", 30.0)
    answer = Client().get("/metrics", headers=on)
    assert (answer.status_code, b"away" in answer.content) == (503, False)
