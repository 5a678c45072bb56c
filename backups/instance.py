"""Which instance this process belongs to, and whether its database is at home where it runs.

A database that was copied, by a dump or with its file, knows queued runs that the instance it came
from has sent meanwhile. So the place is recognised by facts that a copy does not bring along, or
that a second installation has of its own:

- PostgreSQL: the server's system identifier where it may be read, and the object ids of the
  database and of the table `backups_instance`, which a restored dump makes anew.
- SQLite: the file's path and inode.
- everywhere: digests of SECRET_KEY and SECRET_KEY_FALLBACKS.

They are the same for all web and worker processes of an installation, whichever machine or address
they use, and do not change with restarts, new containers or new versions.
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
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from backups.models import Instance

logger = logging.getLogger(__name__)

KEYS_KEPT = 8  # digests of SECRET_KEY, so that it can be rotated while old processes run
CLASH = "nothing: another instance has the same id"  # Instance.differs after a clash
WAIT = 2.0  # seconds between two tries to read the instance while the database is away

_lock = threading.Lock()
_uid = ""
_serves = False


def serve() -> None:
    """This process serves pages or works: it says where the instance is at home.

    Commands do not. Somebody's shell with half of the environment must not make the instance look
    as if it had moved.
    """
    global _serves
    _serves = True


def uid() -> str:
    """The instance's id, read once per process.

    Raises:
        DatabaseError: it cannot be read.
    """
    global _uid
    with _lock:
        if not _uid:
            _uid = _settled() if _serves else _read().uid
        return _uid


def wait_for_uid() -> str:
    """The instance's id, as soon as the database gives it: also before it has its tables."""
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
    """What the name of every key in Redis begins with. Raises DatabaseError."""
    return f"css-log-backup:{uid()}:"


def look_around() -> None:
    """Let a command notice that the database was moved, before a process that serves has started.

    By the facts of the database alone: SECRET_KEY may be missing in somebody's shell.

    Raises:
        DatabaseError: it cannot be read.
    """
    global _uid
    if set(differences(_read().home, facts())) - {WORDS["keys"]}:
        with _lock:
            _uid = _settled()


def is_elsewhere() -> Exists:
    """As a condition of an UPDATE: this process may not have anything done in a cloud.

    Costs no query of its own. Raises DatabaseError.
    """
    return Exists(Instance.objects.filter(~Q(uid=uid()) | Q(adopted=False), pk=1))


def problem() -> str:
    """Why nothing may be sent to a cloud, "" where it may. Raises DatabaseError."""
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
    """The id of the instance that runs here: a new one where the database was copied."""
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

WORDS = {
    "engine": "database engine",
    "system": "database server",
    "database": "database",
    "table": "tables were restored",
    "file": "path of the file",
    "inode": "another file",
    "keys": "SECRET_KEY",
}


def facts() -> dict[str, object]:
    """What the place is recognised by. Raises DatabaseError."""
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
    # as the connection has it: the setting may be relative
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
    """In what two places differ, in words; a fact that one of them does not know tells nothing.

    Args:
        home: what is stored; empty where nobody has served yet.
        here: what `facts` says.
    """
    if not home:
        return []
    found = [
        word
        for name, word in WORDS.items()
        if name != "keys" and home.get(name) and here.get(name) and home[name] != here[name]
    ]
    if not set(_texts(home.get("keys"))) & set(_texts(here.get("keys"))):
        found.append(WORDS["keys"])
    return found


def merged(home: Mapping[str, object], here: Mapping[str, object]) -> dict[str, object]:
    """What is kept of a place: what is known now, and the keys of those who came before."""
    keys = [*_texts(here.get("keys")), *_texts(home.get("keys"))]
    known = {name: value for name, value in here.items() if value}
    # a role that may not read the system identifier takes none away
    if home.get("database") == here.get("database") and "system" not in known:
        known |= {name: home[name] for name in ("system",) if home.get(name)}
    return {**known, "keys": sorted(list(dict.fromkeys(keys))[:KEYS_KEPT])}


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
