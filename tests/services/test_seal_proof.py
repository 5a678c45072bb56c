"""The proof in a run's JSON, verified by the script that shares no code with the product."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from backups.models import BackupRun, Project, RunSeal
from backups.services.runs import sealing
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.models import AuditEvent
from dashboard.audit.verification import request_verification, run_verification
from tests.audit_guards import guards_lifted
from tests.grants import give
from tests.services.test_sealing import OLD, ended, project

__all__ = ["project"]
pytestmark = pytest.mark.django_db
SCRIPT = django_settings.BASE_DIR / "tools" / "verify_audit_export.py"
Check = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def auditor(client: Client) -> Client:
    client.force_login(give(User.objects.create_user("anna"), Role.AUDITOR))
    return client


@pytest.fixture
def document(project: Project, auditor: Client, settings: Any, tmp_path: Path) -> dict[str, Any]:
    """The JSON of one of five runs that were sealed together."""
    settings.DATA_DIR = tmp_path / "var"
    runs = [ended(project, number, message="größer \U0001f600") for number in range(1, 6)]
    sealing.seal_pending()
    found: dict[str, Any] = auditor.get(reverse("backups:run-json", args=[runs[4].pk])).json()
    return found


@pytest.fixture
def check(tmp_path: Path) -> Check:
    def run(document: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
        printed = StringIO()
        call_command("audit_export", "--public-key", stdout=printed)
        (tmp_path / "key.pem").write_text(printed.getvalue())
        (tmp_path / "run.json").write_text(json.dumps(document))
        return subprocess.run(
            [sys.executable, SCRIPT, "--run", "run.json", "--key", "key.pem", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_proof_of_one_run_verifies_alone_and_in_an_export(
    document: dict[str, Any], check: Check, tmp_path: Path
) -> None:
    event = AuditEvent.objects.get(action="runs_sealed")
    head = f"{event.sequence}:{event.hash}"
    done = check(document, "--head", head)
    assert (done.returncode, done.stderr) == (0, "")
    pk = document["run_id"]
    assert f"VERIFIED: run {pk} (succeeded), sealed by event {event.sequence}\n" in done.stdout
    assert f"seal         {head}\n" in done.stdout
    export = tmp_path / "export.jsonl"
    call_command("audit_export", "--output", str(export), stderr=StringIO())
    done = check(document, str(export))
    assert (done.returncode, done.stderr) == (0, "")
    assert "VERIFIED: events 1 to" in done.stdout
    done = check(document, "--head", f"{event.sequence}:{'a' * 64}")
    assert "is not the one of the given head" in done.stderr


def _state(document: dict[str, Any]) -> None:
    document["state"] = "failed"


def _content(document: dict[str, Any]) -> None:
    document["seal"]["proof"]["content"]["run"]["state"] = "failed"


def _unsigned(document: dict[str, Any]) -> None:
    document["seal"]["proof"]["signature"] = None


def _no_proof(document: dict[str, Any]) -> None:
    document["seal"]["proof"] = None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_state, "another state than its proof"),
        (_content, "the signature is not that of the given key"),
        (_unsigned, "the signature is not that of the given key"),
        (_no_proof, "the file has no proof"),
    ],
)
def test_a_changed_proof_does_not_verify(
    document: dict[str, Any], check: Check, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    change(document)
    done = check(document)
    assert done.returncode == 1
    assert words in done.stderr


def test_the_page_shows_the_seal(project: Project, auditor: Client) -> None:
    run = ended(project)
    page = reverse("backups:run-detail", args=[run.pk])
    assert "pending" in auditor.get(page).content.decode()
    sealing.seal_pending()
    event = AuditEvent.objects.get(action="runs_sealed")
    assert f'href="{event.get_absolute_url()}"' in auditor.get(page).content.decode()


def test_who_may_not_audit_gets_the_place_and_no_proof(project: Project, client: Client) -> None:
    run = ended(project)
    sealing.seal_pending()
    client.force_login(give(User.objects.create_user("olaf"), Role.OPERATOR))
    seal = client.get(reverse("backups:run-json", args=[run.pk])).json()["seal"]
    assert seal == {"kind": "end", "event": 1, "proof": None}


def test_the_audit_page_names_a_run_that_was_flipped(project: Project, auditor: Client) -> None:
    run = ended(project)
    sealing.seal_pending()
    with guards_lifted():
        BackupRun.objects.filter(pk=run.pk).update(state="failed")
        RunSeal.objects.create(run_id=run.pk + 1, facts="{}", made_at=OLD)
    assert run_verification(request_verification())
    page = auditor.get(reverse("audit:events")).content.decode()
    assert f"Log backups differ from their seals: run {run.pk} differs" in page
    assert "1 ended log backup waited for its seal for over a minute" in page
