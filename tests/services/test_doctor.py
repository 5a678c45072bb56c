"""`doctor`: each check says what is wrong and what to type, and none can hold up the command."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from backups.management import doctor
from backups.management.doctor import Finding, State
from backups.models import Heartbeat
from dashboard.commands import Exit
from dashboard.db import triggers
from simulator.client import SimulatorControl
from tests.certificates import make_certificates
from tests.services.clouds_entries import the_entry


def states(found: Iterator[Finding]) -> list[str]:
    return [each.state.value for each in found]


def only(found: Iterator[Finding]) -> Finding:
    (each,) = found
    return each


# --- a check that hangs or fails -----------------------------------------------------------------


def test_a_check_that_hangs_costs_its_time_and_no_more() -> None:
    released = threading.Event()

    def hangs() -> Iterator[Finding]:
        released.wait(60)
        yield Finding("x", State.OK, "late")

    try:
        found = only(iter(doctor._Running("x", hangs, limit=0.05).wait()))
    finally:
        released.set()
    assert (found.state, found.text) == (State.PROBLEM, "No answer within 0.05 s.")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OperationalError("refused\nby postgres://u:secret@h/d"), "refused"),
        (KeyError("x"), "The check failed: KeyError"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_whatever_a_check_raises_is_a_sentence(error: Exception, text: str) -> None:
    def fails() -> Iterator[Finding]:
        raise error
        yield

    found = only(iter(doctor._Running("x", fails).wait()))
    assert found.state is State.PROBLEM
    assert text in found.text
    assert "\n" not in found.text
    assert "secret" not in found.text
    assert found.hint


# --- database and work ---------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_missing_guard_is_named_with_the_command_that_creates_it() -> None:
    (guard,) = sorted(triggers.CONNECTED[0].names(connection))[:1]
    before = triggers.missing(connection)
    triggers.CONNECTED[0].remove(connection)
    try:
        found = next(iter(doctor._guards()))
    finally:
        triggers.CONNECTED[0].install(connection)
    assert found.state is State.PROBLEM
    assert guard in found.text
    assert "manage.py restore_guards" in found.hint
    assert triggers.missing(connection) == before


@pytest.mark.django_db
def test_without_a_worker_both_it_and_the_sweep_are_missing() -> None:
    for check in (doctor._worker, doctor._sweep):
        found = only(check())
        assert found.state is State.PROBLEM
        assert "systemctl start" in found.hint
    now = timezone.now()
    Heartbeat.objects.create(name="h:1:00000000", kind="worker", seen_at=now, started_at=now)
    alive, messages = doctor._worker()
    assert alive.state is State.OK
    assert (messages.state, "none has come through" in messages.text) == (State.PROBLEM, True)


# --- clouds --------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(("offset", "state"), [(0, "ok"), (60, "warning"), (-600, "problem")])
def test_a_cloud_is_checked_step_by_step_with_its_clock(
    cloud: SimulatorControl, offset: int, state: str
) -> None:
    cloud.set_clock(offset)
    try:
        *steps, clock = doctor._cloud(*the_entry())
    finally:
        cloud.set_clock(0)
    assert [each.state for each in steps] == [State.OK] * 4
    assert clock.state == state, clock.text
    if offset:
        assert ("behind" if offset > 0 else "ahead of") in clock.text
        assert "timedatectl" in clock.hint


@pytest.mark.django_db
def test_a_cloud_that_does_not_listen_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clouds.yaml"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    auth = "auth_url: 'http://127.0.0.1:1/v3', username: u, password: p, project_name: x"
    path.write_text(f"clouds: {{a: {{region_name: r, auth: {{{auth}, user_domain_name: d}}}}}}")
    (running,) = doctor._clouds(connected_only=False)
    found = running.wait()
    assert [each.state.value for each in found] == ["ok", "problem", *["skipped"] * 3]
    assert "refused the connection" in found[1].text
    assert "firewalls" in found[1].hint
    path.write_text("clouds: [")
    (running,) = doctor._clouds(connected_only=False)
    assert "clouds.yaml" in only(iter(running.wait())).text


# --- this machine --------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = tmp_path / "later" / "data"
    assert only(doctor._disk()).state in (State.OK, State.WARNING)
    assert not (tmp_path / "later").exists(), "nothing is changed"
    (tmp_path / "file").write_text("")
    settings.DATA_DIR = tmp_path / "file"
    found = only(doctor._disk())
    assert (found.state, found.text) == (State.PROBLEM, f"{tmp_path / 'file'} is not a folder.")
    assert "df -h" in found.hint


@pytest.mark.parametrize("trusted", [True, False])
def test_the_certificate_of_the_public_address_is_looked_at(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    made = make_certificates(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    with socket.create_server(("localhost", 0)) as server:
        settings.PUBLIC_URL = f"https://localhost:{server.getsockname()[1]}"

        def answer() -> None:
            plain, _address = server.accept()
            # the client leaves when it does not trust the certificate
            with plain, contextlib.suppress(OSError):
                context.wrap_socket(plain, server_side=True).close()

        thread = threading.Thread(target=answer)
        thread.start()
        found = only(doctor._tls())
        thread.join(10)
    if trusted:
        assert "valid for" in found.text
    else:
        assert (found.state, "not valid" in found.text) == (State.PROBLEM, True)


def test_a_password_in_the_public_address_is_not_printed(settings: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings.PUBLIC_URL = f"https://anna:b7f0-secret@127.0.0.1:{port}"
    texts = [each.text for each in doctor._tls()]
    assert any("127.0.0.1 cannot be reached from here" in text for text in texts)
    assert not any("b7f0-secret" in text for text in texts)


def test_a_wrong_setting_is_a_problem_with_its_hint(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["https://css-logs.example.com"]
    found = next(iter(doctor._settings()))
    assert (found.state, "css.E020" in found.text) == (State.PROBLEM, True)
    assert "Set ALLOWED_HOSTS" in found.hint


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ([Finding("disk", State.WARNING, "low", "df")], 0),
        ([Finding("broker", State.PROBLEM, "away\x1b[2J", "ping")], Exit.NOT_WELL),
        ([Finding("database", State.PROBLEM, "away", "look")], Exit.DATABASE),
    ],
)
def test_the_status_tells_the_database_apart(
    found: list[Finding], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backups.management.commands import doctor as command

    monkeypatch.setattr(command, "examine", lambda: iter(found))
    out, text = io.StringIO(), io.StringIO()
    for options, stream in (({"json": True}, out), ({}, text)):
        if status:
            with pytest.raises(CommandError) as caught:
                call_command("doctor", stdout=stream, **options)
            assert caught.value.returncode == status
        else:
            call_command("doctor", stdout=stream, **options)
    assert json.loads(out.getvalue())["state"] == found[0].state
    assert all(len(line) <= 80 and line.isprintable() for line in text.getvalue().splitlines())
    assert f"→ {found[0].hint}" in text.getvalue()
