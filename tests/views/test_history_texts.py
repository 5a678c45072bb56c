"""Texts in messages: rare and common ones, each found by an index, whatever is in them."""

from __future__ import annotations

import pytest
from django.db import connection
from django.http import QueryDict

from backups.lists import text_search
from backups.lists.history import RUN_KEYSET, HistoryFilter
from backups.lists.text_search import with_message
from backups.models import BackupRun
from dashboard.accounts.models import User
from dashboard.db.keyset import PageQuery
from tests.views.conftest import MakeCluster, MakeRun

SQLITE = connection.vendor == "sqlite"


def found(user: User, text: str) -> set[int]:
    query = QueryDict(mutable=True)
    query["q"] = text
    runs = HistoryFilter(query, user=user)
    assert runs.is_valid(), runs.form.errors
    return {key.pk for key in RUN_KEYSET.cursors(runs.branches(), PageQuery(), 1000)}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("The bucket is full", "bucket"),
        ("The bucket is full", "THE BUCKET is"),
        ("The bucket is full", "fu"),  # shorter than a trigram
        ("100 % of the quota", "100 %"),
        ("a_b and axb", "a_b"),
        ('said "no" to it', '"no"'),
        ("it's not there", "it's no"),
        ("path C:\\logs\\x", "C:\\logs"),
        ("NEAR(a b) AND c OR d*", "NEAR(a b) AND"),
        ("Größe überschritten", "Größe"),
        ("容量が足りません", "容量が足"),
    ],
)
@pytest.mark.parametrize("column", ["message", "failed_message"])
def test_a_text_is_found_literally_whether_it_is_rare_or_common(
    anna: User, make_run: MakeRun, make_cluster: MakeCluster, message: str, text: str, column: str
) -> None:
    cluster = make_cluster()
    make_run(cluster, state="failed", message="another word", failed_message="aXb 100 x of")
    wanted = {make_run(cluster, state="failed", **{column: message}).pk}
    assert found(anna, text) == wanted
    for _ in range(12):
        wanted.add(make_run(cluster, state="failed", **{column: message}).pk)
    assert found(anna, text) == wanted


def test_a_message_that_changes_or_goes_is_found_as_it_is(anna: User, make_run: MakeRun) -> None:
    run = make_run(state="sending", message="first words")
    assert found(anna, "first words") == {run.pk}
    BackupRun.objects.filter(pk=run.pk).update(message="other words")
    assert found(anna, "first words") == set()
    assert found(anna, "other words") == {run.pk}
    BackupRun.objects.filter(pk=run.pk).update(message="")
    assert found(anna, "other words") == set()
    BackupRun.objects.filter(pk=run.pk).update(failed_message="last words")
    assert found(anna, "last words") == {run.pk}


def test_a_request_id_is_found_by_its_beginning(anna: User, make_run: MakeRun) -> None:
    run = make_run(state="failed", request_id="90cc673616ee4b7f81b15506b3b992b9")
    make_run(state="failed", request_id="90cc6737")
    assert found(anna, "90cc673616ee4b7f81b15506b3b992b9") == {run.pk}
    assert found(anna, "90cc673616ee") == {run.pk}
    assert found(anna, "90cc6") == set()  # too short to mean one


def test_a_rare_text_is_read_from_the_trigrams_and_a_common_one_in_order(
    anna: User, make_run: MakeRun, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster()
    for number in range(40):
        make_run(cluster, state="failed", message=f"usual thing {number}")
    make_run(cluster, state="failed", message="a zeppelin")
    keys = BackupRun.objects.order_by("-requested_at", "-pk").values_list("requested_at", "pk")
    plans = {}
    for text, way in (("zeppelin", "indexscan"), ("usual", "bitmapscan")):
        with connection.cursor() as cursor:
            if not SQLITE:  # so small a table is read whole sooner; there must be a way without
                for other in ("seqscan", "indexscan", "bitmapscan"):
                    state = "off" if other in ("seqscan", way) else "on"
                    cursor.execute(f"SET LOCAL enable_{other} = {state}")
        plans[text] = with_message(keys, text)[:51].explain()
    rare, common = plans.values()
    if SQLITE:
        assert "backups_run_words VIRTUAL TABLE" in rare
        assert "SCAN backups_backuprun USING COVERING INDEX run_newest_with_text" in common
    else:
        assert "run_message_words" in rare
        assert "run_newest_that_says" in common


@pytest.mark.skipif(not SQLITE, reason="PostgreSQL keeps its indexes itself")
def test_sqlite_makes_its_words_anew_where_their_triggers_are_gone(
    anna: User, make_run: MakeRun
) -> None:
    """A migration that makes the table of runs anew drops its triggers."""
    before = make_run(state="failed", message="seen before")
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER backups_words_added")
    missed = make_run(state="failed", message="missed meanwhile")
    text_search.create_search_table("default")
    assert found(anna, "missed meanwhile") == {missed.pk}
    assert found(anna, "seen before") == {before.pk}
    after = make_run(state="failed", message="and after it")
    assert found(anna, "and after it") == {after.pk}


@pytest.mark.skipif(not SQLITE, reason="a full-text table is SQLite's")
def test_an_sqlite_without_full_text_reads_the_messages(
    anna: User, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(state="failed", message="a zeppelin")
    with connection.cursor() as cursor:
        for name in text_search._TRIGGERS:
            cursor.execute(f"DROP TRIGGER {name}")
    monkeypatch.setattr(text_search, "_TABLE", "CREATE VIRTUAL TABLE x USING no_such_module(y)")
    text_search.create_search_table("default")
    try:
        assert not text_search.has_trigrams()
        assert found(anna, "zeppelin") == {run.pk}
        make_run(state="failed", message="nobody minds")
    finally:
        text_search._has_trigrams.cache_clear()
