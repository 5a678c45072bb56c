"""Runs as lines of CSV or JSON, written by the database.

Python writes about 27,000 lines a second; PostgreSQL's COPY and SQLite's C functions write many
times as many. Both databases write the same bytes. The cells are expressions in the query that
filters and sorts; an outer query would have to sort again.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
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


class CellType(Enum):
    """The type of a cell, which determines how it is written."""

    NUMBER = auto()
    WORD = auto()  # our own values: never a spreadsheet formula
    TEXT = auto()  # from outside
    TIME = auto()
    ADDRESS = auto()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table and the type of its cells."""

    name: str
    kind: CellType = CellType.TEXT


# Characters that never occur in JSON text.
_QUOTE, _DELIMITER = "\x01", "\x02"
_AT_ONCE = 1000  # rows in memory as Python objects
_BOM = b"\xef\xbb\xbf"  # without it Excel does not recognise UTF-8


@dataclass(frozen=True, slots=True)
class LineFormat:
    """A line format.

    Attributes:
        as_json: JSON Lines, otherwise CSV.
        zone: for spreadsheets, which do not accept an offset in a time: write local times of this
            time zone, to the second. "" for exact ISO 8601 in UTC.
    """

    as_json: bool = False
    zone: str = ""


CSV, JSON_LINES = LineFormat(), LineFormat(as_json=True)


@dataclass(frozen=True, slots=True)
class Lines:
    """A batch of lines.

    Attributes:
        content: complete lines, UTF-8.
        count: number of lines.
        last: cursor of the last line; None without lines.
    """

    content: bytes = b""
    count: int = 0
    last: Cursor | None = None


def head(columns: Mapping[str, Column], shape: LineFormat = CSV) -> bytes:
    """The header line with the column names; empty for JSON Lines.

    The name of a column with local times includes the time zone.
    """
    if shape.as_json:
        return b""
    if not shape.zone:
        return _csv([list(columns)])
    names = [
        f"{key} ({shape.zone})" if column.kind is CellType.TIME else key
        for key, column in columns.items()
    ]
    return _BOM + _csv([names])


def write(runs: Runs, columns: Mapping[str, Column], shape: LineFormat = CSV) -> Lines:
    """Write runs as lines, in their order.

    Args:
        runs: newest first; a slice, because all lines are in memory at once.
        columns: keys of the lines and columns of the table: first the primary key, second the time
            of the request.
        shape: the line format.
    """
    export = _copied if connection.vendor == "postgresql" else _selected
    try:
        return export(runs, columns, shape)
    except EmptyResultSet:  # Django skips the query if nothing can match
        return Lines()


_IT = "%(expressions)s"  # the column in a template


def _cell(column: Column, template: str) -> Func:
    return Func(F(column.name), template=template, output_field=TextField())


def _postgresql(column: Column) -> str:
    match column.kind:
        case CellType.TIME:  # half the cost of to_char; the date style is set below
            return f"replace(({_IT} AT TIME ZONE 'UTC')::text, ' ', 'T') || 'Z'"
        case CellType.ADDRESS:
            return f"host({_IT})"
    return _IT


def _postgresql_csv(column: Column, shape: LineFormat) -> Func:
    if column.kind is CellType.TIME and shape.zone:
        return _local(column, shape.zone, "date_trunc('second', timezone(%(expressions)s))::text")
    template = _postgresql(column)
    match column.kind:
        case CellType.TEXT:
            # Quote what a spreadsheet would read as a formula (OWASP: CSV injection). COPY writes
            # "" for an empty text and nothing for NULL; write nothing for both.
            first = f"ascii({_IT})"
            template = (
                f"CASE WHEN {first} > 64 THEN {_IT} WHEN {first} = 0 THEN NULL "
                f"WHEN {first} IN (9, 13, 43, 45, 61, 64) THEN '''' || {_IT} ELSE {_IT} END"
            )
        case CellType.WORD:
            template = f"NULLIF({_IT}, '')"
    return _cell(column, template)


def _postgresql_json(columns: Mapping[str, Column]) -> Func:
    """A line of JSON; row_to_json takes 50 % longer."""
    places, values = [], []
    for key, column in columns.items():
        match column.kind:
            case CellType.NUMBER:
                template = f"{_IT}::text"
            case CellType.TEXT:
                template = f"CASE WHEN {_IT} = '' THEN '\"\"' ELSE to_json({_IT})::text END"
            case _:
                template = f"'\"' || {_postgresql(column)} || '\"'"
        values.append(_cell(column, f"coalesce({template}, 'null')"))
        # %s for format(): escaped for the template and for the parameters
        places.append(f'"{key}":%%%%s')
    template = f"format('{{{','.join(places)}}}', {_IT})"
    return Func(*values, template=template, output_field=TextField())


def _local(column: Column, zone: str, template: str) -> Func:
    """A timestamp in local time."""
    moment = F(column.name)
    return Func(Value(zone), moment, template=template, output_field=TextField())


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _clock_in(zone: str, moment: str | None) -> str | None:
    """SQLite function: a stored time in local time, as PostgreSQL writes it."""
    if moment is None:
        return None
    there = datetime.fromisoformat(moment).replace(tzinfo=UTC).astimezone(_zone(zone))
    return there.replace(tzinfo=None).isoformat(" ", "seconds")


def _sqlite(column: Column, shape: LineFormat) -> Func:
    template = _IT
    match column.kind:
        case CellType.TIME if shape.zone:
            return _local(column, shape.zone, "css_clock_in(%(expressions)s)")
        case CellType.TIME:
            # stored as UTC with a space; PostgreSQL writes no trailing zeros
            second = f"replace({_IT}, ' ', 'T')"
            template = f"iif(instr({_IT}, '.'), rtrim({second}, '0'), {second}) || 'Z'"
        case CellType.TEXT if not shape.as_json:
            starts = "'=', '+', '-', '@', char(9), char(13)"
            template = (
                f"CASE WHEN substr({_IT}, 1, 1) IN ({starts}) THEN '''' || {_IT} ELSE {_IT} END"
            )
    return _cell(column, template)


def _copied(runs: Runs, columns: Mapping[str, Column], shape: LineFormat) -> Lines:
    options = "FORMAT csv"
    if shape.as_json:
        # JSON text contains neither, so COPY quotes and escapes nothing
        cells = [_postgresql_json(columns)]
        options += f", QUOTE '{_QUOTE}', DELIMITER '{_DELIMITER}'"
    else:
        cells = [_postgresql_csv(column, shape) for column in columns.values()]
        # the cursor needs exact times, and local times are rounded
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
    end = (
        b"\n" if shape.as_json else b"\r\n"
    )  # RFC 4180; COPY uses the line end of the server's system
    return Lines(end.join([*lines, b""]), len(lines), last)


def _exact(columns: Mapping[str, Column], cell: Callable[[Column, LineFormat], Func]) -> list[Func]:
    """The first two cells, primary key and exact time."""
    return [cell(column, CSV) for column in list(columns.values())[:2]]


def _place(line: bytes, shape: LineFormat) -> Cursor:
    """The cursor of a line; its first two cells are never quoted."""
    if shape.as_json:
        values = json.loads(line)
        pk, at = values["run_id"], values["requested_at"]
    else:
        pk, at = line.decode().split(",", 2)[:2]
    return Cursor(datetime.fromisoformat(at), int(pk))


def _selected(runs: Runs, columns: Mapping[str, Column], shape: LineFormat) -> Lines:
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


# What a spreadsheet would read as a formula; the SQL above has the same characters.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def spreadsheet(rows: Iterable[Sequence[object]]) -> bytes:
    """Rows as CSV for a spreadsheet; the cells of text are quoted as in an export."""
    safe = [
        [
            f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
            for cell in row
        ]
        for row in rows
    ]
    return _BOM + _csv(safe)


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()
