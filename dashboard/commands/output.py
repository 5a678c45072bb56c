"""What commands print: tables and documents for people, JSON for programs.

Names and messages come from clouds and users. Without their control characters, none of them can
move the cursor of a terminal, or imitate another line.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.core.management.base import OutputWrapper

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:\d\d(\.\d+)?)?(Z|\+00:00)")
_GAP = 2
_NARROWEST = 8
Column = tuple[str, str]


def plain(value: object) -> str:
    """A value as one line of text without control characters; times to the minute, in UTC."""
    if isinstance(value, Mapping):
        return " ".join(plain(each) for each in value.values() if each is not None)
    if isinstance(value, list):
        return ", ".join(map(plain, value)) or "-"
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    if found := _MOMENT.fullmatch(text):
        return f"{found[1]} {found[2]}"
    return "".join(each if each.isprintable() else " " for each in text)


def json_line(value: object) -> str:
    """A value as one line of JSON, in ASCII."""
    return json.dumps(value, default=str)


def width_of(stream: OutputWrapper) -> int | None:
    """The width to which tables are cut: that of the terminal; None for a pipe or a file."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def looked_up(row: Mapping[str, Any], path: str) -> object:
    """A value of a document.

    Args:
        row: the document.
        path: keys, separated by dots.
    """
    value: Any = row
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def table(
    columns: Sequence[Column], rows: Iterable[Mapping[str, Any]], width: int | None
) -> Iterator[str]:
    """The lines of a table with headings.

    Args:
        columns: pairs (heading, path as for `looked_up`).
        rows: documents.
        width: maximum length of a line; None to cut nothing.
    """
    cells = [[heading for heading, _path in columns]]
    cells += [[plain(looked_up(row, path)) for _heading, path in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if width is not None:
        _narrow(widths, width - _GAP * (len(widths) - 1))
    for line in cells:
        parts = (_cut(text, most).ljust(most) for text, most in zip(line, widths, strict=True))
        yield (" " * _GAP).join(parts).rstrip()


def _narrow(widths: list[int], room: int) -> None:
    """Take from the widest column until all fit, or all are narrow."""
    while sum(widths) > room and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def document(value: Any, indent: str = "") -> Iterator[str]:
    """The lines of a document: a name and its value each; what is empty is left out."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            if isinstance(each, (Mapping, list)) and each:
                yield f"{indent}{name}:"
                yield from document(each, f"{indent}  ")
            elif each not in (None, "", [], {}):
                yield f"{indent}{name}: {plain(each)}"
        return
    for each in value:
        if isinstance(each, Mapping):
            lines = list(document(each))
            yield from (f"{indent}{'  ' if n else '- '}{line}" for n, line in enumerate(lines))
        else:
            yield f"{indent}- {plain(each)}"
