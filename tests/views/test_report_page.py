"""The report's page: the same figures as its CSV, made for print, for every role."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from backups.models import ScopeChange
from dashboard.accounts.access import Role
from dashboard.audit.models import Action, AuditEvent
from dashboard.audit.trail import Actor, record
from tests.grants import give

PAGE, CSV = "backups:report", "backups:report-csv"
NOW = (timezone.now() - timedelta(days=2)).replace(hour=12)  # the range has ended since


@pytest.fixture
def figures(make_cluster, make_run):
    """Two clusters of the last days, one of them with a gap."""
    for name, ends in (("well", (65, 45, 25, 5)), ("gap", (60,))):
        cluster = make_cluster(name)
        for hours in ends:
            at = NOW - timedelta(hours=hours)
            make_run(
                cluster, state="succeeded", requested_at=at, finished_at=at, outcome="accepted"
            )
        make_run(
            cluster,
            state="rejected",
            outcome="conflict",
            error_code="CSS.3004",
            requested_at=NOW,
            finished_at=NOW,
        )
    ScopeChange.objects.update(at=NOW - timedelta(hours=70))


def text_of(answer) -> str:
    text = re.sub(r"<script.*?</script>|<[^>]+>", " ", answer.content.decode())
    return re.sub(r"\s+", " ", text)


def query() -> dict[str, str]:
    first = (NOW - timedelta(days=4)).date()
    return {"first": first.isoformat(), "last": NOW.date().isoformat(), "zone": "UTC"}


def tables(answer) -> list[list[list[str]]]:
    text = answer.content.decode("utf-8-sig")
    return [list(csv.reader(io.StringIO(part))) for part in text.split("\r\n\r\n")]


def test_the_csv_has_the_figures_of_the_page(web, figures):
    page, file = web.get(reverse(PAGE), query()), web.get(reverse(CSV), query())
    shown = text_of(page)
    values, clusters, causes = tables(file)
    named = dict(values)
    assert f"{named['protected_percent']} % of the time protected" in shown
    assert f"{named['runs_verified']} Verified" in shown
    for row in clusters[1:]:
        cells = dict(zip(clusters[0], row, strict=True))
        assert re.search(
            rf"{cells['cluster']} .*?24 h {re.escape(cells['protected_percent'])} %", shown
        )
    assert [row[0] for row in clusters[1:]] == ["gap", "well"], "least protected first"
    assert [row[-1] for row in causes[1:]] == ["5", "2"]
    assert shown.index("gap") < shown.index("well ")
    assert "attachment" in file["Content-Disposition"]


def test_every_figure_leads_to_its_runs(web, figures):
    page = web.get(reverse(PAGE), query()).content.decode()
    links = set(re.findall(r'href="(/history/\?since[^"]*)"', page))
    assert len(links) == 9, "all, six groups, two causes"
    for link in links:
        assert web.get(link.replace("&amp;", "&")).status_code == 200


def test_it_says_what_it_is_about(web, figures, project):
    shown = text_of(web.get(reverse(PAGE), {"project": str(project.pk), "span": "this_month"}))
    for words in (str(project), "days in", "as of", "version", "The range has not ended"):
        assert words in shown


def test_it_changes_nothing(web, figures):
    before = AuditEvent.objects.count()
    web.get(reverse(PAGE), query())
    web.get(reverse(CSV), query())
    assert AuditEvent.objects.count() == before
    assert web.post(reverse(PAGE), query()).status_code == 405


@pytest.mark.parametrize(
    "bad",
    [
        {"first": "yesterday"},
        {"first": "2026-03-05", "last": "2026-03-01"},
        {"first": "2020-01-01", "last": "2024-01-01"},
        {"first": "0001-01-01"},
        {"first": "9999-12-31", "last": "9999-12-31"},
        {"zone": "Europe/Atlantis"},
        {"project": "999999"},
        {"span": "for ever"},
    ],
)
def test_a_bad_range_is_explained_and_nothing_typed_is_lost(web, bad):
    answer = web.get(reverse(PAGE), bad)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.content.decode()
    for value in bad.values():
        if value[0].isdigit() and "-" in value:
            assert value in answer.content.decode()
    assert web.get(reverse(CSV), bad).status_code == 400


def test_what_was_done_by_hand_is_for_auditors(web, figures, anna, project):
    here = query() | {"last": timezone.now().date().isoformat()}
    record(
        Action.RUN_SETTLED, actor=Actor("ben"), target=project, project=project, reason="seen it"
    )
    assert "seen it" not in text_of(web.get(reverse(PAGE), here))
    give(anna, Role.AUDITOR)
    shown = text_of(web.get(reverse(PAGE), here))
    assert "Log backup settled manually" in shown
    assert "seen it" in shown
    head = AuditEvent.objects.latest("sequence")
    assert f"{head.sequence}:{head.hash}" in shown
    assert tables(web.get(reverse(CSV), here))[3][1][6] == "seen it"


def test_a_page_has_the_worst_and_the_csv_all(web, make_cluster):
    for _ in range(103):
        make_cluster()
    shown = text_of(web.get(reverse(PAGE), {"span": "this_month"}))
    assert "3 more in the CSV" in shown
    assert len(tables(web.get(reverse(CSV), {"span": "this_month"}))[1]) == 104
