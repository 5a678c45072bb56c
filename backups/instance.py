"""The id of the instance that this process belongs to, and whether its database was copied.

A copied database still has queued runs that the original has sent meanwhile. So the place is
recognised by facts that a copy does not carry over, or that differ between installations:

- PostgreSQL: the server's system identifier where the role may read it, and the object ids of the
  database and of the table `backups_instance`, which change when a dump is restored.
- SQLite: the file's path and inode.
- Both: digests of SECRET_KEY and SECRET_KEY_FALLBACKS.

They are the same for all web and worker processes of an installation, on any machine and through
any address, and survive restarts, new containers and new versions.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.db.models import Exists, F, Q
from django.db.models.expressions import Expression
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from backups.models import Instance

logger = logging.getLogger(__name__)

KEYS_KEPT = 8  # digests of SECRET_KEY; allows rotation while old processes run
CLASH = "nothing: another instance has the same id"  # Instance.differs after a clash
WAIT = 2.0  # seconds between attempts to read the id while the database is unavailable

_lock = threading.Lock()
_uid = ""
_serves = False


def serve() -> None:
    """Mark this process as web or worker: it records the place, and detects a copy.

    Commands do not, because a shell with an incomplete environment would look like another place.
    """
    global _serves
    _serves = True


def uid() -> str:
    """Return the instance's id, read once per process.

    Raises:
        DatabaseError: the id cannot be read.
    """
    global _uid
    with _lock:
        if not _uid:
            _uid = _settled() if _serves else _read().uid
        return _uid


def wait_for_uid() -> str:
    """Return the instance's id; wait until the database is available and migrated."""
    said = ""
    while True:
        try:
            return uid()
        except (DatabaseError, InterfaceError) as error:
            if (text := str(error).strip().partition("\n")[0][:200]) != said:
                said = text
                logger.warning("waiting for the database: %s", text)
            connection.close()
            time.sleep(WAIT)


def key_prefix() -> str:
    """Return the prefix of every key in Redis. Raises DatabaseError."""
    return f"css-log-backup:{uid()}:"


def look_around() -> None:
    """Detect a copied database in a command, before any web or worker process has started.

    Only facts of the database count: SECRET_KEY may be missing in a shell.

    Raises:
        DatabaseError: the facts cannot be read.
    """
    global _uid
    if set(differences(_read().home, facts())) - {LABELS["keys"]}:
        with _lock:
            _uid = _settled()


def is_elsewhere(mine: str | Expression | None = None) -> Exists:
    """Condition for an UPDATE: this process must not send anything to a cloud.

    Adds no query. Raises DatabaseError.

    Args:
        mine: this instance's id, for a prepared statement; None for `uid()`.
    """
    mine = uid() if mine is None else mine
    return Exists(Instance.objects.filter(~Q(uid=mine) | Q(adopted=False), pk=1))


def problem() -> str:
    """Return why nothing may be sent to a cloud, or "". Raises DatabaseError."""
    mine = uid()
    row = Instance.objects.filter(pk=1).first()
    if row is None:
        return ""
    if row.uid != mine:
        return _(
            "The instance has got another id since this process was started. Restart web and "
            "workers, all with the same SECRET_KEY."
        )
    if row.adopted:
        return ""
    if row.clashes:
        return _(
            "Another instance with a copy of this database has the same id and uses the same "
            "Redis, so they take each other's messages. Nothing is sent to a cloud until this one "
            "is adopted (manage.py adopt) and restarted."
        )
    return _(
        "This database came from another instance or place (what differs: %(differs)s). Nothing "
        "is sent to a cloud until it is adopted: manage.py adopt."
    ) % {"differs": row.differs}


def awaits_adoption() -> bool:
    """Return whether adopting the database lets this process send. Raises DatabaseError."""
    return Instance.objects.filter(pk=1, uid=uid(), adopted=False).exists()


def note_clash() -> None:
    """Stop sending: another instance has the same id, and a database of its own.

    Adopting this one gives it another id. Raises DatabaseError.
    """
    mine = uid()
    noted = Instance.objects.filter(pk=1, uid=mine, adopted=True).update(
        adopted=False,
        origin=mine,
        differs=CLASH,
        noticed_at=timezone.now(),
        generation=F("generation") + 1,
    )
    if noted:
        logger.error(
            "another instance with a copy of this database has the same id and uses the same "
            "Redis: nothing is sent to a cloud until this one is adopted (manage.py adopt)"
        )


def _read() -> Instance:
    row = Instance.objects.filter(pk=1).first()
    return row if row is not None else Instance.objects.get_or_create(pk=1)[0]


def _settled() -> str:
    """Compare the place; return the id, which is a new one if the database was copied."""
    here = facts()
    while True:
        row = _read()
        mine = Instance.objects.filter(pk=1, generation=row.generation)
        home = merged(row.home, here)
        differs = differences(row.home, here)
        if not differs:
            if home == row.home or mine.update(home=home, generation=F("generation") + 1):
                return row.uid
            continue
        new = Instance(pk=1).uid
        if mine.update(
            uid=new,
            home=home,
            generation=F("generation") + 1,
            adopted=False,
            origin=row.uid if row.adopted else row.origin,
            differs=", ".join(differs)[:200],
            noticed_at=timezone.now(),
        ):
            logger.error(
                "this database came from another instance or place (%s): nothing is sent to a "
                "cloud until it is adopted (manage.py adopt)",
                ", ".join(differs),
            )
            return new


# --- The place ------------------------------------------------------------------------------------

LABELS = {
    "engine": "database engine",
    "system": "database server",
    "database": "database",
    "table": "tables were restored",
    "file": "path of the file",
    "inode": "another file",
    "keys": "SECRET_KEY",
}


def facts() -> dict[str, object]:
    """Return the facts that identify this place. Raises DatabaseError."""
    if connection.vendor == "postgresql":
        place = _postgresql()
    elif connection.vendor == "sqlite":
        place = _sqlite()
    else:
        raise OperationalError("the database's engine is not known")
    return {"engine": connection.vendor, **place, "keys": _keys()}


def _postgresql() -> dict[str, str]:
    table = connection.ops.quote_name(Instance._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT oid::text, CAST(%s AS regclass)::oid::text,"
            " has_function_privilege('pg_control_system()', 'EXECUTE')"
            " FROM pg_database WHERE datname = current_database()",
            [table],
        )
        database, relation, may_ask = cursor.fetchone()
        system = ""
        if may_ask:
            cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
            (system,) = cursor.fetchone()
    return {"system": system, "database": database, "table": relation}


def _sqlite() -> dict[str, str]:
    # the path that the connection uses: the setting may be relative
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA database_list")
        name = next(row[2] for row in cursor.fetchall() if row[1] == "main")
    path = Path(name).resolve()
    return {"file": str(path), "inode": str(path.stat().st_ino)}


def _keys() -> list[str]:
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [
        salted_hmac("backups.instance", "home", secret=each, algorithm="sha256").hexdigest()[:32]
        for each in secrets
    ]


def differences(home: Mapping[str, object], here: Mapping[str, object]) -> list[str]:
    """Return labels of the facts that differ; a fact that is unknown on one side is ignored.

    Args:
        home: the stored facts; empty before the first web or worker process.
        here: the result of `facts`.
    """
    if not home:
        return []
    found = [
        label
        for name, label in LABELS.items()
        if name != "keys" and home.get(name) and here.get(name) and home[name] != here[name]
    ]
    if not set(_texts(home.get("keys"))) & set(_texts(here.get("keys"))):
        found.append(LABELS["keys"])
    return found


def merged(home: Mapping[str, object], here: Mapping[str, object]) -> dict[str, object]:
    """Return the facts to store: the current ones, and digests of earlier keys."""
    keys = [*_texts(here.get("keys")), *_texts(home.get("keys"))]
    known = {name: value for name, value in here.items() if value}
    # keep the system identifier when this role may not read it
    if home.get("database") == here.get("database") and "system" not in known:
        known |= {name: home[name] for name in ("system",) if home.get(name)}
    return {**known, "keys": sorted(list(dict.fromkeys(keys))[:KEYS_KEPT])}


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
