"""The signed export, and the script that verifies it without the dashboard."""

from __future__ import annotations

import base64
import json
import stat
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.management import CommandError, call_command
from django.utils import timezone

from dashboard.audit.export import FORMAT, signing_key
from dashboard.audit.models import AuditEvent
from tests import audit_retention
from tests.audit.conftest import KEEPER, Clock, MakeEvents
from tests.audit.exports import check, items_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_data_dir")]


def test_a_genuine_export_verifies_and_tells_its_range(
    make_events: MakeEvents, exported: Callable[..., Path]
) -> None:
    last = make_events(3, reason="größer “x” \U0001f600")[-1]
    path = exported()
    result = check(path, f"2:{AuditEvent.objects.get(pk=2).hash}")
    assert (result.returncode, result.stderr) == (0, "")
    assert "VERIFIED: events 1 to 3 (0 masked)" in result.stdout
    assert f"head         3:{last.hash}" in result.stdout
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_export_is_an_event(make_events: MakeEvents, exported: Callable[..., Path]) -> None:
    make_events(3)
    exported("--from", "2")
    event = AuditEvent.objects.get(pk=4)
    assert event.action == "export_made"
    assert event.details == {"first": 2, "last": 3, "format": FORMAT}
    assert event.actor_name.endswith("(command line)")


def test_ranges_by_number_and_time_fit_together(
    make_events: MakeEvents, clock: Clock, exported: Callable[..., Path]
) -> None:
    make_events(3)
    limit = clock.between()
    make_events(2)
    first = check(exported("--until", limit.isoformat()))
    assert "events 1 to 3" in first.stdout
    second = check(exported("--since", limit.isoformat(), "--to", "5"))
    assert "events 4 to 5" in second.stdout
    head = first.stdout.split("head         ")[1].strip()
    assert f"begins after {head}\n" in second.stdout


def test_masked_and_pruned_trails_verify(
    make_events: MakeEvents, clock: Clock, exported: Callable[..., Path]
) -> None:
    make_events(2)
    limit = clock.between()
    make_events(2)
    audit_retention.mask(clock.between(), actor=KEEPER)
    audit_retention.prune(limit, actor=KEEPER)
    result = check(exported())
    assert (result.returncode, result.stderr) == (0, "")
    assert "events 3 to 6 (2 masked)" in result.stdout


def test_the_key_is_made_once_and_is_its_owners_alone(settings: Any) -> None:
    first, second = signing_key(), signing_key()
    assert first.private_bytes_raw() == second.private_bytes_raw()
    path = settings.DATA_DIR / "audit_signing_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_can_be_given_in_each_form(settings: Any) -> None:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    seed = base64.b64encode(key.private_bytes_raw()).decode()
    for text in (pem, seed, seed.replace("+", "-").replace("/", "_").rstrip("=")):
        settings.AUDIT_SIGNING_KEY = text
        assert signing_key().private_bytes_raw() == key.private_bytes_raw()
    assert not (settings.DATA_DIR / "audit_signing_key").exists()


@pytest.mark.parametrize("text", ["too-short", "-----BEGIN PRIVATE KEY-----\nx", "ü" * 32])
def test_a_key_that_cannot_be_used_is_told_without_being_shown(settings: Any, text: str) -> None:
    settings.AUDIT_SIGNING_KEY = text
    with pytest.raises(CommandError, match="AUDIT_SIGNING_KEY is not an Ed25519 key") as raised:
        call_command("audit_export", stdout=StringIO())
    assert text not in str(raised.value)
    assert AuditEvent.objects.count() == 0


def test_an_existing_file_is_not_overwritten(
    make_events: MakeEvents, exported: Callable[..., Path]
) -> None:
    make_events(1)
    path = exported()
    content = path.read_bytes()
    with pytest.raises(CommandError, match="exists"):
        call_command("audit_export", "--output", str(path), stderr=StringIO())
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "arguments", [["--from", "9"], ["--until", "2020-01-01"], ["--since", "gestern"]]
)
def test_a_range_without_events_is_an_error(make_events: MakeEvents, arguments: list[str]) -> None:
    make_events(1)
    with pytest.raises(CommandError):
        call_command("audit_export", *arguments, stdout=StringIO())
    assert AuditEvent.objects.count() == 1


def test_an_export_goes_to_standard_output_line_by_line(make_events: MakeEvents) -> None:
    make_events(2)
    out = StringIO()
    call_command("audit_export", stdout=out, stderr=StringIO())
    kinds = [json.loads(line)["type"] for line in out.getvalue().splitlines()]
    assert kinds == ["header", "event", "event", "seal"]


def test_memory_does_not_grow_with_the_range(
    make_events: MakeEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.audit import export

    monkeypatch.setattr(export, "CHUNK", 20)
    make_events(400, details={"text": "x" * 1900})

    def peak(last: int) -> int:
        chosen = export.find_range(last=last)
        tracemalloc.start()
        for _line in export.export(chosen, key=signing_key(), actor=KEEPER):
            pass
        _now, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(40)  # warm-up: do not measure imports and caches
    assert peak(400) < peak(40) * 1.5


def test_the_exported_range_ends_before_the_export_itself(
    make_events: MakeEvents, exported: Callable[..., Path]
) -> None:
    made = make_events(2)
    items = items_of(exported())
    assert [item["content"]["sequence"] for item in items[1:-1]] == [1, 2]
    assert items[-1]["head"] == made[-1].hash
    made_at = items[0]["exported_at"]
    assert made_at > (timezone.now() - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%S")
