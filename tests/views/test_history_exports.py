"""Exports: the whole filtered history as CSV or JSON Lines, with who took what."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import re
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.http import QueryDict, StreamingHttpResponse
from django.test import Client
from django.utils import timezone

from backups.lists.history import HistoryFilter
from backups.models import BackupRun, Export
from backups.services import exports
from backups.views.live import token
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.tokens.models import Scope
from tests.tokens_made import Program, token_of
from tests.views.conftest import MakeRun

URL = "/history/exports/"


@pytest.fixture
def program(anna: User) -> Program:
    """With a token of anna that may read."""
    return Program(token_of(anna, Scope.READ))


def export(web: Client, form: str, query: str = "window=all") -> bytes:
    answer = web.post(URL, {"format": form, "query": query})
    assert answer.status_code == 200, answer.content.decode()
    assert isinstance(answer, StreamingHttpResponse)
    return b"".join(answer)  # type: ignore[arg-type]


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


@pytest.mark.parametrize("number", [0, 1, 7, 8, 9, 20])
def test_every_run_comes_once_newest_first(
    web: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(exports, "BATCH", 4)
    moment = timezone.now() - timedelta(minutes=1)
    made = [make_run(state="failed", requested_at=moment).pk for _ in range(number)]
    made.reverse()
    assert [int(row["run_id"]) for row in rows(export(web, "csv"))] == made
    lines = [json.loads(line) for line in export(web, "jsonl").splitlines()]
    assert [line["run_id"] for line in lines] == made
    first, second = Export.objects.order_by("pk")
    assert (first.state, first.rows, first.format) == ("complete", number, "csv")
    assert (second.state, second.rows, second.format) == ("complete", number, "jsonl")


def test_texts_times_and_nothing_arrive_as_they_are(web: Client, make_run: MakeRun) -> None:
    message = 'ünï, "quoted"\nand <b>more</b>\u2028'
    run = make_run(state="rejected", http_status=409, message=message, reason="  why ")
    (row,) = rows(export(web, "csv"))
    assert row["message"] == message
    assert row["requested_at"].endswith("Z")
    assert datetime.fromisoformat(row["requested_at"]) == run.requested_at
    assert (row["http_status"], row["sent_at"], row["reason"]) == ("409", "", "  why ")
    (line,) = export(web, "jsonl").decode().split("\n")[:-1]
    document = json.loads(line)
    assert (document["message"], document["sent_at"]) == (message, None)
    assert list(document) == list(exports.COLUMNS)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_a_spreadsheet_would_run_is_neutralised(
    web: Client, make_run: MakeRun, start: str
) -> None:
    text = f"{start}HYPERLINK(1)"
    make_run(state="rejected", message=text)
    content = export(web, "csv")
    (row,) = csv.DictReader(io.StringIO(content.decode(), newline=""))
    assert row["message"] == f"'{text}"
    assert json.loads(export(web, "jsonl"))["message"] == text


def test_only_what_matches_the_filter_is_exported(web: Client, make_run: MakeRun) -> None:
    wanted = make_run(state="failed", failed_message="quota")
    make_run(state="succeeded")
    assert [int(r["run_id"]) for r in rows(export(web, "csv", "state=failed"))] == [wanted.pk]
    assert [int(r["run_id"]) for r in rows(export(web, "csv", "q=quota"))] == [wanted.pk]


def test_runs_requested_meanwhile_are_not_in_it(
    web: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "BATCH", 1)
    for _ in range(3):
        make_run(state="failed")
    answer = web.post(URL, {"format": "csv", "query": ""})
    parts: Iterator[Any] = iter(answer)
    head = next(parts) + next(parts)
    make_run(state="failed")
    assert len(rows(head + b"".join(parts))) == 3


def test_who_exported_which_filter_is_kept(web: Client, anna: User, make_run: MakeRun) -> None:
    make_run(state="failed")
    export(web, "csv", "state=failed")
    kept = Export.objects.get()
    assert (kept.owner, kept.owner_name, kept.query) == (anna, "anna", "state=failed")
    text = web.get(URL).content.decode()
    assert "state=failed" in text
    assert "Complete" in text
    event = AuditEvent.objects.get(action="export_made")
    details = event.details or {}
    assert (event.actor_name, details["format"], details["filter"]) == (
        "anna",
        "csv",
        "state=failed",
    )
    begun, ended = (datetime.fromisoformat(details[name]) for name in ("since", "until"))
    assert ended - begun == timedelta(days=30)  # the default window, as moments


def test_a_reader_that_goes_away_leaves_an_export_that_says_so(
    anna: User, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "BATCH", 1)
    for _ in range(3):
        make_run(state="failed")
    kept = Export.objects.create(
        owner=anna, owner_name="anna", format="csv", requested_before=timezone.now()
    )
    parts = exports.stream(kept, HistoryFilter(QueryDict(""), user=anna))
    next(parts), next(parts)
    assert isinstance(parts, Generator)
    parts.close()  # as the server does with the answer of a reader that has gone
    kept.refresh_from_db()
    assert (kept.state, kept.rows) == ("broken_off", 1)


def test_the_page_keeps_up_with_exports_in_every_state(web: Client, anna: User) -> None:
    now = timezone.now()
    for state in Export.State:
        Export.objects.create(
            owner=anna,
            owner_name="anna",
            format="csv",
            state=state,
            requested_before=now,
        )
    tokens = re.findall(r'data-live="([^"]+)"', web.get(URL).content.decode())
    assert len(tokens) == len(Export.State)
    assert web.get(f"{URL}live/", {"shown": ",".join(tokens)}).status_code == 204


def test_an_export_whose_process_was_lost_is_not_shown_as_running(web: Client, anna: User) -> None:
    lost = Export.objects.create(
        owner=anna, owner_name="anna", format="csv", requested_before=timezone.now()
    )
    assert "Running" in web.get(URL).content.decode()
    Export.objects.filter(pk=lost.pk).update(changed_at=timezone.now() - timedelta(minutes=3))
    text = web.get(URL).content.decode()
    assert "Running" not in text
    assert "Interrupted" in text


@pytest.mark.parametrize("form", [{"format": "xls"}, {}, {"format": "csv", "query": "state=nope"}])
def test_what_cannot_be_exported_is_a_400(web: Client, form: dict[str, str]) -> None:
    assert web.post(URL, form).status_code == 400
    assert not Export.objects.exists()


def test_the_progress_is_asked_for_by_its_owner_only(web: Client, anna: User) -> None:
    ben = User.objects.create_user("ben")
    now = timezone.now()
    own = Export.objects.create(
        owner=anna, owner_name="anna", format="csv", rows=5, requested_before=now
    )
    other = Export.objects.create(owner=ben, owner_name="ben", format="csv", requested_before=now)
    shown = f"{own.pk}:{token(5, 'running')}"
    assert web.get(f"{URL}live/?shown={shown}").status_code == 204
    shown = f"{own.pk}:{token(4, 'running')},{other.pk}:{token(9, 'running')}"
    text = web.get(f"{URL}live/?shown={shown}").content.decode()
    assert f"export-{own.pk}" in text
    assert f"export-{other.pk}" not in text


NASTY = [
    "",
    " ",
    "plain",
    'a "quoted", comma; tab\t\\ backslash \\n \\N \\.',
    "\\.",
    "line\nfeed\r\nand return\rend",
    "\n",
    "=1+1",
    "+49",
    "-1",
    "@x",
    "\ttab",
    "\rreturn",
    "'=1",
    "ünï 日本 \U0001f600 \u202eRTL\u202c \u2028 \x7f \x1b[31m",
    "\x01\x02\x1f",
    "</script><script>alert(1)</script>",
    "NULL",
    "x" * 70_000,
]


def neutral(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def test_both_databases_write_what_python_would(web: Client, make_run: MakeRun) -> None:
    at = timezone.now().replace(microsecond=0) - timedelta(minutes=5)
    for number, text in enumerate(NASTY):
        make_run(
            state="rejected",
            http_status=409 if number % 2 else None,
            message=text,
            reason=text[:500],
            failed_message=text,
            requested_at=at + timedelta(microseconds=number * 500_010),
            finished_at=None if number % 3 else at,
            source_ip="2001:db8::1" if number % 2 else None,
        )
    runs = list(BackupRun.objects.order_by("-requested_at", "-pk"))
    fields = {"source_ip", "message", "reason", "failed_message", "http_status", "run_id"}

    def expected(run: BackupRun, key: str) -> Any:
        return run.pk if key == "run_id" else getattr(run, key)

    times = [run.requested_at for run in runs]
    lines = [json.loads(line) for line in export(web, "jsonl").decode().split("\n")[:-1]]
    assert [datetime.fromisoformat(line["requested_at"]) for line in lines] == times
    for key in fields:
        assert [line[key] for line in lines] == [expected(run, key) for run in runs], key
    content = export(web, "csv")
    assert content.count(b"\r\n") >= len(NASTY) + 1
    cells = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert [datetime.fromisoformat(row["requested_at"]) for row in cells] == times
    for key in fields:
        wanted = ["" if (v := expected(run, key)) is None else neutral(str(v)) for run in runs]
        assert [row[key] for row in cells] == wanted, key


def test_the_lines_are_the_same_from_both_kinds_of_reading(
    web: Client, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One branch is read by its place, several by the keys that were merged."""
    monkeypatch.setattr(exports, "BATCH", 3)
    for number in range(10):
        make_run(state="failed" if number % 2 else "rejected", message=f"message {number}")
    for form in ("csv", "jsonl"):
        assert export(web, form) == export(web, form, "window=all&state=failed&state=rejected")


# --- the same bytes from both databases, and what Excel takes

TIMES = {"requested_at", "sent_at", "answered_at", "finished_at", "job_created_at"}
TIMES |= {"job_finished_at"}


def written(runs: list[BackupRun], form: str, zone: str = "") -> bytes:
    """What Python's csv and json make of runs: what either database has to write."""

    def cell(run: BackupRun, key: str) -> Any:
        value: Any = run
        for name in exports.COLUMNS[key].name.split("__"):
            value = getattr(value, name, None)
        if key in TIMES and value is not None and zone:
            value = value.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
            return value.isoformat(" ", "seconds")
        if key in TIMES and value is not None:
            text = value.astimezone(UTC).replace(tzinfo=None).isoformat()
            return f"{text.rstrip('0') if '.' in text else text}Z"
        if form == "jsonl":
            return value
        return neutral(value) if isinstance(value, str) else value

    lines = [[cell(run, key) for key in exports.COLUMNS] for run in runs]
    if form == "jsonl":
        documents = (dict(zip(exports.COLUMNS, line, strict=True)) for line in lines)
        made = (json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in documents)
        return "".join(f"{line}\n" for line in made).encode()
    heads = [f"{key} ({zone})" if zone and key in TIMES else key for key in exports.COLUMNS]
    buffer = io.StringIO()
    csv.writer(buffer).writerows([heads, *lines])
    return (codecs.BOM_UTF8 if zone else b"") + buffer.getvalue().encode()


def make_nasty_runs(make_run: MakeRun) -> list[BackupRun]:
    """Every nasty text, and times from both halves of a year and of the hour that comes twice."""
    night = datetime(2025, 10, 26, 0, 59, 59, 999_999, tzinfo=UTC)
    summer = datetime(2025, 7, 1, tzinfo=UTC)
    fractions = itertools.cycle([0, 1, 500_000, 120, 999_999])
    for number, text in enumerate(NASTY):
        at = (night if number % 2 else summer) + timedelta(minutes=number * 7)
        at = at.replace(microsecond=next(fractions))
        make_run(
            state="rejected",
            http_status=409 if number % 2 else None,
            message=text,
            reason=text[:500],
            failed_message=text,
            requested_at=at,
            sent_at=at if number % 3 else None,
            finished_at=None if number % 5 else at + timedelta(days=120),
            job_created_at=datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
            source_ip="2001:db8::1" if number % 2 else "192.0.2.7",
        )
    return list(BackupRun.objects.order_by("-requested_at", "-pk"))


@pytest.mark.parametrize("batch", [3, 1000])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"])
def test_every_form_is_the_bytes_that_python_makes(
    web: Client,
    program: Program,
    make_run: MakeRun,
    monkeypatch: pytest.MonkeyPatch,
    zone: str,
    batch: int,
) -> None:
    monkeypatch.setattr(exports, "BATCH", batch)
    monkeypatch.setattr(exports, "_BATCH_BYTES", batch * 2000)
    runs = make_nasty_runs(make_run)
    web.cookies["tz"] = zone
    for form in ("csv", "jsonl"):
        assert export(web, form) == written(runs, form)
    answer = web.post(URL, {"format": "excel", "query": "window=all", "local": "1"})
    assert b"".join(answer) == written(runs, "excel", zone)  # type: ignore[call-overload]
    assert export(web, "excel") == written(runs, "excel", "UTC")
    body = {"format": "excel", "time_zone": zone}
    got = program.post("runs/export?window=all", body)
    assert got.status == 200, got.body
    assert got.body.encode() == written(runs, "excel", zone)


def test_who_took_what_by_the_api_is_kept(program: Program, make_run: MakeRun) -> None:
    make_run(state="failed")
    body = {"format": "excel", "time_zone": "Europe/Berlin"}
    answer = program.post("runs/export?state=failed&since=2026-01-01", body)
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].endswith('.csv"')
    kept = Export.objects.get()
    query = "state=failed&since=2026-01-01T00%3A00%3A00%2B00%3A00"
    assert (kept.owner_name, kept.format, kept.state, kept.query) == (
        "anna",
        "csv",
        "complete",
        query,
    )
    details = AuditEvent.objects.get(action="export_made").details or {}
    assert (details["format"], details["zone"], details["filter"]) == (
        "excel",
        "Europe/Berlin",
        query,
    )


@pytest.mark.parametrize(
    ("body", "query"),
    [
        ({"format": "xlsx"}, ""),
        ({"format": "csv", "time_zone": "UTC"}, ""),
        ({"format": "excel", "time_zone": "Mars/Base"}, ""),
        ({"format": "excel", "time_zone": "'; DROP TABLE x; --"}, ""),
        ({"zone": "UTC"}, ""),
        ({}, "?stat=failed"),
        ({}, "?limit=5"),
        ({}, "?since=yesterday"),
    ],
)
def test_what_a_program_cannot_export_is_a_400(
    program: Program, body: dict[str, str], query: str
) -> None:
    assert program.post(f"runs/export{query}", body).status == 400
    assert not Export.objects.exists()


def test_the_page_offers_local_times_where_they_are_not_utc(web: Client) -> None:
    assert "In Excel: times in" not in web.get("/history/").content.decode()
    web.cookies["tz"] = "Europe/Berlin"
    assert "In Excel: times in Europe/Berlin" in web.get("/history/").content.decode()
