"""Count the statements that a process sends to its database, by verb and table."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TABLE = re.compile(
    r"\A\s*(\w+).*?(?:\A|\s)(?:FROM|INTO|UPDATE|EXISTS)\s+\"?(\w+)\"?", re.DOTALL | re.IGNORECASE
)
_UPDATE = re.compile(r"\A\s*(UPDATE)\s+\"?(\w+)\"?")
_counts: Counter[str] = Counter()
_names: dict[str, str] = {}


def count_into(folder: Path) -> None:
    """Count the statements of this process from now on; write them to `folder` every 0.2 s."""
    from django.db.backends.signals import connection_created

    connection_created.connect(_watch, weak=False)
    folder.mkdir(parents=True, exist_ok=True)
    threading.Thread(target=_write, args=(folder,), daemon=True).start()
    os.register_at_fork(
        after_in_child=lambda: threading.Thread(target=_write, args=(folder,), daemon=True).start()
    )


def _watch(connection: Any, **_: object) -> None:
    if _count not in connection.execute_wrappers:
        connection.execute_wrappers.append(_count)


def _count(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    _counts[_name(str(sql))] += 1
    return execute(sql, params, many, context)


def _name(sql: str) -> str:
    start = sql[:60]
    key = f"{start} {len(sql)}"
    if key not in _names and len(_names) < 10_000:
        found = _UPDATE.match(sql) or _TABLE.match(sql)
        _names[key] = f"{found[1].upper()} {found[2]}" if found else start.partition(" ")[0]
    return _names.get(key, "other")


def _write(folder: Path) -> None:
    path = folder / f"{os.getpid()}.json"
    while True:
        time.sleep(0.2)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(dict(_counts)))
        new.replace(path)


def counted(folder: Path, pids: list[int]) -> Counter[str]:
    """Sum of the statements that processes have sent so far."""
    total: Counter[str] = Counter()
    for pid in pids:
        path = folder / f"{pid}.json"
        if path.exists():
            total.update(json.loads(path.read_text()))
    return total
