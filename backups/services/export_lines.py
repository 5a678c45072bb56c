"""Runs as lines of CSV or JSON, written by the database itself.

Python makes some 27,000 lines a second; PostgreSQL's COPY, and SQLite's functions in C,
many times as many. Both databases write the same bytes. The cells are expressions of the query
that filters and sorts: around it, another query would have to sort once more.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from functools import cache
from zoneinfo import ZoneInfo

from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import F, Func, TextField, Value
from django.db.models.functions import JSONObject

from backups.lists.history import Runs
from dashboard.db.keyset import Cursor


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
_BOM = b"\xef\xbb\xbf"  # without it Excel takes UTF-8 for the system's own 8-bit encoding


@dataclass(frozen=True, slots=True)
class Shape:
    """How lines are written.

    Attributes:
        as_json: JSON Lines, else CSV.
        zone: CSV for spreadsheets, which take no time with an offset for a time: the name of the
            zone whose clocks the times show, to the second; "" for ISO 8601 in UTC, exact.
    """

    as_json: bool = False
    zone: str = ""


CSV, JSON_LINES = Shape(), Shape(as_json=True)


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


def head(columns: Mapping[str, Column], shape: Shape = CSV) -> bytes:
    """What a file begins with: the names of the columns, nothing for JSON Lines.

    A column of local times names their zone.
    """
    if shape.as_json:
        return b""
    if not shape.zone:
        return _csv([list(columns)])
    names = [
        f"{key} ({shape.zone})" if column.kind is Kind.TIME else key
        for key, column in columns.items()
    ]
    return _BOM + _csv([names])


def write(runs: Runs, columns: Mapping[str, Column], shape: Shape = CSV) -> Lines:
    """Write runs as lines, in their order.

    Args:
        runs: newest first; sliced or few, since all of them are in memory at once.
        columns: keys of the lines and columns of the table. The first is the key, the second
            the time of the request.
        shape: how.
    """
    export = _copied if connection.vendor == "postgresql" else _selected
    try:
        return export(runs, columns, shape)
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


def _postgresql_csv(column: Column, shape: Shape) -> Func:
    if column.kind is Kind.TIME and shape.zone:
        return _local(column, shape.zone, "date_trunc('second', timezone(%(expressions)s))::text")
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


def _local(column: Column, zone: str, template: str) -> Func:
    """A time as clocks in a zone show it."""
    moment = F(column.name)
    return Func(Value(zone), moment, template=template, output_field=TextField())


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _clock_in(zone: str, moment: str | None) -> str | None:
    """For SQLite, which has no zones: a stored time as PostgreSQL writes it."""
    if moment is None:
        return None
    there = datetime.fromisoformat(moment).replace(tzinfo=UTC).astimezone(_zone(zone))
    return there.replace(tzinfo=None).isoformat(" ", "seconds")


def _sqlite(column: Column, shape: Shape) -> Func:
    template = _IT
    match column.kind:
        case Kind.TIME if shape.zone:
            return _local(column, shape.zone, "css_clock_in(%(expressions)s)")
        case Kind.TIME:
            # stored as UTC, with a blank in the middle; PostgreSQL writes no zeros at the end
            second = f"replace({_IT}, ' ', 'T')"
            template = f"iif(instr({_IT}, '.'), rtrim({second}, '0'), {second}) || 'Z'"
        case Kind.TEXT if not shape.as_json:
            starts = "'=', '+', '-', '@', char(9), char(13)"
            template = (
                f"CASE WHEN substr({_IT}, 1, 1) IN ({starts}) THEN '''' || {_IT} ELSE {_IT} END"
            )
    return _cell(column, template)


def _copied(runs: Runs, columns: Mapping[str, Column], shape: Shape) -> Lines:
    options = "FORMAT csv"
    if shape.as_json:
        # JSON text has neither of them, so COPY quotes and escapes nothing
        cells = [_postgresql_json(columns)]
        options += f", QUOTE '{_QUOTE}', DELIMITER '{_DELIMITER}'"
    else:
        cells = [_postgresql_csv(column, shape) for column in columns.values()]
        # the place of a line is exact, and a local time is not
        cells = [*_exact(columns, _postgresql_csv), *cells] if shape.zone else cells
    query, parameters = runs.values_list(*cells).query.sql_with_params()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL datestyle TO 'ISO'")
        with cursor.copy(f"COPY ({query}) TO STDOUT WITH ({options})", parameters) as copy:
            lines = [bytes(line[:-1]) for line in copy]
    if not lines:
        return Lines()
    last = _place(lines[-1], shape)
    if shape.zone:
        lines = [line.split(b",", 2)[2] for line in lines]
    end = b"\n" if shape.as_json else b"\r\n"  # RFC 4180; COPY has the server's system's end
    return Lines(end.join([*lines, b""]), len(lines), last)


def _exact(columns: Mapping[str, Column], cell: Callable[[Column, Shape], Func]) -> list[Func]:
    """The first two cells, key and time, as every shape but a spreadsheet's has them."""
    return [cell(column, CSV) for column in list(columns.values())[:2]]


def _place(line: bytes, shape: Shape) -> Cursor:
    """Where a line stands; its first two cells are never quoted."""
    if shape.as_json:
        values = json.loads(line)
        pk, at = values["run_id"], values["requested_at"]
    else:
        pk, at = line.decode().split(",", 2)[:2]
    return Cursor(datetime.fromisoformat(at), int(pk))


def _selected(runs: Runs, columns: Mapping[str, Column], shape: Shape) -> Lines:
    cells: dict[str, Func] = {key: _sqlite(column, shape) for key, column in columns.items()}
    asked = [
        *_exact(columns, _sqlite),
        *([JSONObject(**cells)] if shape.as_json else cells.values()),
    ]
    query, parameters = runs.values_list(*asked).query.sql_with_params()
    parts, count, last = [], 0, None
    with connection.cursor() as cursor:
        connection.connection.create_function("css_clock_in", 2, _clock_in, deterministic=True)
        cursor.execute(query, parameters)
        while rows := cursor.fetchmany(_AT_ONCE):
            parts.append(
                "".join([f"{row[2]}\n" for row in rows]).encode()
                if shape.as_json
                else _csv([row[2:] for row in rows])
            )
            count += len(rows)
            last = Cursor(datetime.fromisoformat(rows[-1][1]), rows[-1][0])
    return Lines(b"".join(parts), count, last)


def _csv(rows: list[tuple[object, ...]] | list[list[str]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()
