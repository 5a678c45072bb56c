"""Runs as lines of CSV or JSON, written by the database itself.

Python makes some 27,000 lines a second; PostgreSQL's COPY, and SQLite's functions in C,
many times as many. Both databases write the same lines. The cells are expressions of the query
that filters and sorts: around it, another query would have to sort once more.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import F, Func, TextField
from django.db.models.functions import JSONObject

from backups.history.paging import Cursor, Runs


class Kind(Enum):
    """What a column holds, and so how it is written."""

    NUMBER = auto()
    WORD = auto()  # of our own: never what a spreadsheet takes for a formula
    TEXT = auto()  # from outside
    TIME = auto()
    ADDRESS = auto()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table, and what it holds."""

    name: str
    kind: Kind = Kind.TEXT


# A character that no CSV field has unquoted and no JSON text has at all.
_QUOTE, _DELIMITER = "\x01", "\x02"
_AT_ONCE = 1000  # rows as Python's objects, many times the size of their lines


@dataclass(frozen=True, slots=True)
class Lines:
    """Some runs as they are exported.

    Attributes:
        content: whole lines, UTF-8, each with its end.
        count: how many.
        last: the place of the last one; None where there is none.
    """

    content: bytes = b""
    count: int = 0
    last: Cursor | None = None


def head(columns: Mapping[str, Column]) -> bytes:
    """The first line of a CSV file."""
    return _csv([list(columns)])


def write(runs: Runs, columns: Mapping[str, Column], *, as_json: bool) -> Lines:
    """Write runs as lines, in their order.

    Args:
        runs: newest first; sliced or few, since all of them are in memory at once.
        columns: keys of the lines and columns of the table. The first is the key, the second
            the time of the request.
        as_json: JSON Lines, else CSV.
    """
    export = _copied if connection.vendor == "postgresql" else _selected
    try:
        return export(runs, columns, as_json)
    except EmptyResultSet:  # no database is asked for any of no clusters
        return Lines()


_IT = "%(expressions)s"  # the column, in a template


def _cell(column: Column, template: str) -> Func:
    return Func(F(column.name), template=template, output_field=TextField())


def _postgresql(column: Column) -> str:
    match column.kind:
        case Kind.TIME:  # half the price of to_char; the date style is set below
            return f"replace(({_IT} AT TIME ZONE 'UTC')::text, ' ', 'T') || 'Z'"
        case Kind.ADDRESS:
            return f"host({_IT})"
    return _IT


def _postgresql_csv(column: Column) -> Func:
    template = _postgresql(column)
    match column.kind:
        case Kind.TEXT:
            # What a spreadsheet takes for a formula gets a quote (OWASP: CSV injection). COPY
            # quotes an empty text to tell it from NULL; a CSV file has one kind of nothing.
            first = f"ascii({_IT})"
            template = (
                f"CASE WHEN {first} > 64 THEN {_IT} WHEN {first} = 0 THEN NULL "
                f"WHEN {first} IN (9, 13, 43, 45, 61, 64) THEN '''' || {_IT} ELSE {_IT} END"
            )
        case Kind.WORD:
            template = f"NULLIF({_IT}, '')"
    return _cell(column, template)


def _postgresql_json(columns: Mapping[str, Column]) -> Func:
    """A line of JSON; row_to_json writes the same one in half as long again."""
    places, values = [], []
    for key, column in columns.items():
        match column.kind:
            case Kind.NUMBER:
                template = f"{_IT}::text"
            case Kind.TEXT:
                template = f"CASE WHEN {_IT} = '' THEN '\"\"' ELSE to_json({_IT})::text END"
            case _:
                template = f"'\"' || {_postgresql(column)} || '\"'"
        values.append(_cell(column, f"coalesce({template}, 'null')"))
        # %s is SQL's own: doubled for the template, and for the parameters
        places.append(f'"{key}":%%%%s')
    template = f"format('{{{','.join(places)}}}', {_IT})"
    return Func(*values, template=template, output_field=TextField())


def _sqlite(column: Column, as_json: bool) -> Func:
    template = _IT
    match column.kind:
        case Kind.TIME:  # stored as UTC, with a blank in the middle
            template = f"replace({_IT}, ' ', 'T') || 'Z'"
        case Kind.TEXT if not as_json:
            starts = "'=', '+', '-', '@', char(9), char(13)"
            template = (
                f"CASE WHEN substr({_IT}, 1, 1) IN ({starts}) THEN '''' || {_IT} ELSE {_IT} END"
            )
    return _cell(column, template)


def _copied(runs: Runs, columns: Mapping[str, Column], as_json: bool) -> Lines:
    cells, shape = [_postgresql_csv(column) for column in columns.values()], "FORMAT csv"
    if as_json:
        # JSON text has neither of them, so COPY quotes and escapes nothing
        cells, shape = (
            [_postgresql_json(columns)],
            f"{shape}, QUOTE '{_QUOTE}', DELIMITER '{_DELIMITER}'",
        )
    query, parameters = runs.values_list(*cells).query.sql_with_params()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL datestyle TO 'ISO'")
        with cursor.copy(f"COPY ({query}) TO STDOUT WITH ({shape})", parameters) as copy:
            lines = [bytes(line[:-1]) for line in copy]
    if not lines:
        return Lines()
    end = b"\n" if as_json else b"\r\n"  # RFC 4180; COPY ends a line as the server's system does
    return Lines(end.join([*lines, b""]), len(lines), _place(lines[-1], as_json))


def _place(line: bytes, as_json: bool) -> Cursor:
    """Where a line stands; its first two cells are never quoted."""
    if as_json:
        values = json.loads(line)
        pk, at = values["run_id"], values["requested_at"]
    else:
        pk, at = line.decode().split(",", 2)[:2]
    return Cursor(datetime.fromisoformat(at), int(pk))


def _selected(runs: Runs, columns: Mapping[str, Column], as_json: bool) -> Lines:
    cells: dict[str, Func] = {key: _sqlite(column, as_json) for key, column in columns.items()}
    asked = [*cells.values()]
    if as_json:
        asked = [*asked[:2], JSONObject(**cells)]
    query, parameters = runs.values_list(*asked).query.sql_with_params()
    parts, count, last = [], 0, None
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        while rows := cursor.fetchmany(_AT_ONCE):
            parts.append(
                "".join([f"{row[2]}\n" for row in rows]).encode() if as_json else _csv(rows)
            )
            count += len(rows)
            last = Cursor(datetime.fromisoformat(rows[-1][1]), rows[-1][0])
    return Lines(b"".join(parts), count, last)


def _csv(rows: list[tuple[object, ...]] | list[list[str]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()
