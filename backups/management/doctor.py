"""What `manage.py doctor` checks: each check is the one that pages and probes use.

A check runs in a thread of its own and for a limited time: a database, Redis or cloud that hangs
costs that time, and neither the other checks nor the command's end wait for it.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import ERROR, INFO, CheckMessage, run_checks
from django.db import DatabaseError, InterfaceError, connection

from backups import heartbeats, work
from backups.css_api import config
from backups.css_api.errors import ConfigurationError
from backups.guide import CONNECTION_FAULTS
from backups.models import Connection
from backups.services.connections.diagnosis import StepState, diagnose
from dashboard.checks import TAG, check_database_role
from dashboard.db import triggers
from dashboard.generated import storage_problem
from dashboard.http.redact import one_line, redact
from dashboard.web.health import Missing, check_database, check_migrations

LIMIT = 10.0  # seconds for a check
CLOUD_LIMIT = 75.0  # of a cloud; `diagnose` takes a minute at most
CLOCK_NOTICEABLE = 5.0  # seconds
DISK_FREE = 1 << 30  # bytes
CERTIFICATE_DAYS = 14
TLS_CHECKS = ("css.E009", "css.I001", "css.W002")
START = (
    "Start one: `systemctl start css-log-backup.target`, or `make run` on one machine. If it runs, "
    "read its log."
)


class State(StrEnum):
    """Result of a check."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check, or of a part of it.

    Attributes:
        check: what was checked.
        state: the result.
        text: details, or what is wrong.
        hint: what to do or type, "" if there is nothing to do.
    """

    check: str
    state: State
    text: str
    hint: str = ""


Check = Callable[[], Iterator[Finding]]


def examine() -> Iterator[Finding]:
    """Check everything, and yield findings in a fixed order as soon as they are known."""
    database = _Running("database", _database)
    early = [_Running(name, check) for name, check in _WITHOUT_DATABASE.items()]
    found = database.wait()
    usable = all(each.state is State.OK for each in found)
    yield from found
    if usable:
        migrated = _Running("migrations", _migrations).wait()
        yield from migrated
        usable = all(each.state is State.OK for each in migrated)
    late = {name: _Running(name, check) for name, check in _WITH_DATABASE.items() if usable}
    clouds = _clouds(connected_only=usable)
    for name in _WITH_DATABASE:
        if usable:
            yield from late[name].wait()
        else:
            text = "Not checked: it needs a database with all migrations."
            yield Finding(name, State.SKIPPED, text)
    for running in clouds + early:
        yield from running.wait()


class _Running:
    """A check that has been started.

    Args:
        name: of the check.
        check: yields findings.
        limit: seconds that it may take.
    """

    def __init__(self, name: str, check: Check, limit: float = LIMIT) -> None:
        self._name, self._check, self._limit = name, check, limit
        self._found: list[Finding] = []
        self._end = time.monotonic() + limit
        # a daemon, so that one that hangs does not keep the command from ending
        self._thread = threading.Thread(target=self._run, name=f"doctor-{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            found = list(self._check())
        except (DatabaseError, InterfaceError) as error:
            found = [Finding(self._name, State.PROBLEM, _text(error), _DATABASE_HINT)]
        except Exception as error:  # a sentence for whatever no check expects
            text = f"The check failed: {type(error).__name__}: {_text(error)}"
            found = [Finding(self._name, State.PROBLEM, text, "Report this.")]
        finally:
            connection.close()
        self._found = found

    def wait(self) -> list[Finding]:
        """Its findings, or that it has none within its time."""
        self._thread.join(max(0.0, self._end - time.monotonic()))
        if self._thread.is_alive():
            text = f"No answer within {self._limit:g} s."
            hint = "Check that its host answers, and that no firewall drops packets."
            return [Finding(self._name, State.PROBLEM, text, hint)]
        return self._found


def _text(error: BaseException) -> str:
    text = re.sub(r"://[^/\s@]*@", "://…@", redact(str(error)))  # drivers quote URLs
    return one_line(text, 300) or type(error).__name__


# --- database -------------------------------------------------------------------------------------

_DATABASE_HINT = (
    "Check DATABASE_URL (`manage.py check` prints what is wrong with it), and that the server "
    'runs: `pg_isready -d "$DATABASE_URL"`; for SQLite, that this user may write DATA_DIR.'
)


def _database() -> Iterator[Finding]:
    place = connection.settings_dict
    # opening it would create the file
    if connection.vendor == "sqlite" and not _exists(str(place["NAME"])):
        text = f"{place['NAME']} does not exist."
        yield Finding(
            "database", State.PROBLEM, text, "Check DATA_DIR, or type `manage.py migrate`."
        )
        return
    check_database()
    where = " at ".join(str(place[key]) for key in ("NAME", "HOST") if place[key])
    yield Finding("database", State.OK, f"It answers: {connection.vendor}, {where}.")


def _exists(name: str) -> bool:
    return name.startswith("file:") or Path(name).exists()


def _migrations() -> Iterator[Finding]:
    try:
        check_migrations()
    except Missing as error:
        yield Finding("migrations", State.PROBLEM, f"{error}.", "Type `manage.py migrate`.")
    else:
        yield Finding("migrations", State.OK, "All are applied.")


def _guards() -> Iterator[Finding]:
    if missing := triggers.missing(connection):
        names = ", ".join(sorted(missing))
        hint = "Type `manage.py restore_guards` as the owner of the tables, then `audit_verify`."
        yield Finding("guards", State.PROBLEM, f"Missing or changed: {names}.", hint)
    else:
        yield Finding("guards", State.OK, "All database triggers are there.")
    for each in check_database_role(databases=["default"]):
        yield _of_message("guards", each)


# --- work -----------------------------------------------------------------------------------------


def _broker() -> Iterator[Finding]:
    if words := work.ask_redis():
        hint = "Check REDIS_URL, and that the server runs and has memory: `redis-cli -u … ping`."
        yield Finding("broker", State.PROBLEM, f"{words}.", hint)
    else:
        yield Finding("broker", State.OK, "Redis takes messages.")


def _worker() -> Iterator[Finding]:
    limit = settings.HEARTBEAT_ALARM_AFTER
    ages = [age for age in heartbeats.worker_silences() if age < limit]
    if not ages:
        yield Finding("worker", State.PROBLEM, "No worker reports.", START)
        return
    text = f"{len(ages)} running; the last heartbeat was {min(ages):.0f} s ago."
    yield Finding("worker", State.OK, text)
    try:
        work.check_messages()
    except Missing as error:
        hint = "Check that workers and web have the same REDIS_URL and SECRET_KEY; restart workers."
        yield Finding("worker", State.PROBLEM, f"Messages: {error}.", hint)


def _sweep() -> Iterator[Finding]:
    age = heartbeats.sweep_age()
    if age is None or age >= settings.HEARTBEAT_ALARM_AFTER:
        when = "never done" if age is None else f"last done {age:.0f} s ago"
        yield Finding("sweep", State.PROBLEM, f"The periodic work was {when}.", START)
    else:
        yield Finding("sweep", State.OK, f"The periodic work was last done {age:.0f} s ago.")


def _instance() -> Iterator[Finding]:
    try:
        work.check_instance()
    except Missing as error:
        hint = "Read docs/operations.md, “A copied or moved database”, then `manage.py adopt`."
        yield Finding("instance", State.PROBLEM, str(error), hint)
    else:
        yield Finding("instance", State.OK, "The database belongs to this instance.")


# --- clouds ---------------------------------------------------------------------------------------


def _clouds(*, connected_only: bool) -> list[_Running]:
    """Start a check for each connected entry of clouds.yaml; of all, without a database."""
    try:
        entries = config.list_clouds()
    except ConfigurationError as error:
        why = Finding(
            "cloud", State.PROBLEM, _text(error), "Correct clouds.yaml: see docs/clouds.md."
        )
        return [_Running("cloud", lambda: iter([why]))]
    if not entries:
        none = Finding("cloud", State.PROBLEM, "No cloud is configured.", "See docs/clouds.md.")
        return [_Running("cloud", lambda: iter([none]))]
    left = _disconnected() if connected_only else set()
    return [
        _Running(_cloud_name(*entry), lambda entry=entry: _cloud(*entry), CLOUD_LIMIT)  # type: ignore[misc]
        for entry in entries
        if entry not in left
    ]


def _disconnected() -> set[tuple[str, str]]:
    """The entries that were disconnected; none where the database does not answer in time."""
    found: set[tuple[str, str]] = set()

    def read() -> Iterator[Finding]:
        rows = Connection.objects.exclude(disconnected_at=None)
        found.update(rows.values_list("cloud", "region"))
        return iter(())

    _Running("cloud", read).wait()
    return found


def _cloud_name(cloud: str, region: str) -> str:
    return " / ".join(part for part in ("cloud", cloud, region) if part)


def _cloud(cloud: str, region: str) -> Iterator[Finding]:
    name, found = _cloud_name(cloud, region), diagnose(cloud, region)
    states = {StepState.PASSED: State.OK, StepState.FAILED: State.PROBLEM}
    for step in found.steps:
        hint = ""
        if step.state is StepState.FAILED and (explained := CONNECTION_FAULTS.get(step.fault)):
            hint = str(explained.next_step)
        text = f"{step.label}: {step.text}" if step.text else f"{step.label}: not tried."
        yield Finding(name, states.get(step.state, State.SKIPPED), text, hint)
    if found.clock is None:
        yield Finding(name, State.SKIPPED, "Clock: the cloud told no time.")
        return
    hint, off = "Synchronise this machine's clock: `timedatectl set-ntp true`.", abs(found.clock)
    side = "ahead of" if found.clock > 0 else "behind"
    if off > settings.BACKUP_CLOCK_SKEW:
        text = f"Clock: {off:.0f} s {side} the cloud's, so that runs cannot be proven."
        yield Finding(name, State.PROBLEM, text, hint)
    elif off > CLOCK_NOTICEABLE:
        yield Finding(name, State.WARNING, f"Clock: {off:.0f} s {side} the cloud's.", hint)
    else:
        yield Finding(name, State.OK, "Clock: as the cloud's.")


# --- this machine ---------------------------------------------------------------------------------


def _disk() -> Iterator[Finding]:
    folder = Path(settings.DATA_DIR)
    hint = f"Look at it: `df -h {folder}`, `ls -ld {folder}`."
    if problem := storage_problem(folder):
        yield Finding("disk", State.PROBLEM, f"{problem}.", hint)
        return
    while not folder.exists():
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 65_536)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        text = f"{folder} cannot be written: {error.strerror or error}."
        yield Finding("disk", State.PROBLEM, text, hint)
        return
    low = free < DISK_FREE
    text = f"{folder} has {free / (1 << 30):.1f} GiB free."
    yield Finding("disk", State.WARNING if low else State.OK, text, hint if low else "")


def _settings() -> Iterator[Finding]:
    found = [each for each in run_checks(tags=[TAG]) if each.id not in TLS_CHECKS]
    wrong = [each for each in found if each.level > INFO]
    for each in wrong:
        yield _of_message("settings", each)
    if not wrong:
        yield Finding("settings", State.OK, f"They can be used (DEPLOYMENT={settings.DEPLOYMENT}).")


def _of_message(check: str, message: CheckMessage) -> Finding:
    state = State.PROBLEM if message.level >= ERROR else State.WARNING
    return Finding(check, state, f"({message.id}) {message.msg}", str(message.hint or ""))


def _tls() -> Iterator[Finding]:
    for each in run_checks(tags=[TAG]):
        if each.id in TLS_CHECKS:
            yield _of_message("tls", each)
    url = urlsplit(settings.PUBLIC_URL)
    if url.scheme != "https" or not url.hostname:
        yield Finding("tls", State.SKIPPED, "No certificate to check: PUBLIC_URL is not https.")
        return
    hint = "Renew the certificate of the proxy, and let it send the whole chain."
    try:
        days = _days_left(url.hostname, url.port or 443)
    except ssl.SSLCertVerificationError as error:
        text = f"The certificate of {url.hostname} is not valid: {error.verify_message}."
        yield Finding("tls", State.PROBLEM, text, hint)
    except (OSError, ValueError) as error:
        text = f"{url.hostname} cannot be reached from here: {_text(error)}."
        hint = "Check PUBLIC_URL and the proxy: `curl -v $PUBLIC_URL/healthz`."
        yield Finding("tls", State.WARNING, text, hint)
    else:
        low = days < CERTIFICATE_DAYS
        text = f"The certificate of {url.hostname} is valid for {days} days."
        yield Finding("tls", State.WARNING if low else State.OK, text, hint if low else "")


def _days_left(host: str, port: int) -> int:
    """Days until the certificate of a host expires. Raises OSError, SSLCertVerificationError."""
    plain = socket.create_connection((host, port), timeout=LIMIT / 2)
    with plain, ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secured:
        ends = str((secured.getpeercert() or {})["notAfter"])
    left = datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) - datetime.now(UTC)
    return left.days


_WITHOUT_DATABASE: dict[str, Check] = {"disk": _disk, "tls": _tls, "settings": _settings}
_WITH_DATABASE: dict[str, Check] = {
    "guards": _guards,
    "broker": _broker,
    "worker": _worker,
    "sweep": _sweep,
    "instance": _instance,
}
