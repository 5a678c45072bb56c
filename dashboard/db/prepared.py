"""Statements of the ORM whose SQL is put together once per process.

Putting SQL together takes Django 0.3 to 1 ms of CPU for a statement on a wide table, several times
as long as the database needs to answer. A run of a backup takes about thirty statements, always the
same, and they were half of a worker's CPU. Here a statement is an ordinary queryset with `Param` in
place of its values. It is compiled at its first use, and later uses fill in the values: 0.05 to
0.2 ms. So the SQL always follows the models.

    WAITING = Prepared(lambda: Run.objects.filter(pk=Param("pk"), state="queued"))
    WAITING.fetch(pk=7)                            # a list of Run
    WAITING.update({"state": "sending"}, pk=7)     # the number of changed rows
    insert(Event(run_id=7, note="Sent"))
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

from django.db import DEFAULT_DB_ALIAS, connection, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Expression, RawSQL
from django.db.models.query import ModelIterable
from django.db.models.sql import UpdateQuery
from django.utils.functional import cached_property

M = TypeVar("M", bound=models.Model)


@dataclass(frozen=True, slots=True)
class _Slot:
    """The place of a value among the parameters of a statement.

    Attributes:
        name: of the value.
        field: the column that it is written to; None for a value of a condition.
    """

    name: str
    field: models.Field[Any, Any] | None = None


class Param(Expression):
    """A value of a prepared statement, given by name with each use.

    Args:
        name: its name.
        output_field: needed where Django cannot infer it, as in arithmetic.
    """

    def __init__(self, name: str, output_field: models.Field[Any, Any] | None = None) -> None:
        super().__init__(output_field=output_field)
        self.slot = _Slot(name)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return a placeholder, and the slot in place of a value."""
        return "%s", (self.slot,)


class _Value(Param):
    """A value that an UPDATE writes to a column."""

    def __init__(self, field: models.Field[Any, Any]) -> None:
        super().__init__(field.name, output_field=field)
        self.slot = _Slot(field.name, field)


@dataclass(frozen=True, slots=True)
class _Statement:
    """The text and the parameters of a statement, and how to convert its columns."""

    sql: str
    params: tuple[Any, ...]
    names: tuple[str, ...] = ()
    converters: tuple[tuple[int, list[Any], Any], ...] = ()


class Prepared(Generic[M]):
    """Rows that are selected by parameters.

    Args:
        rows: returns the queryset, with `Param` for what differs between uses. It is called once
            for each shape of statement. `values_list` gives tuples; `select_related` and
            annotations are not supported.
    """

    def __init__(self, rows: Callable[[], models.QuerySet[M, Any]]) -> None:
        self._rows = rows
        self._updates: dict[Any, _Statement] = {}

    def fetch(self, **values: Any) -> list[Any]:
        """Return the rows.

        Args:
            values: of the parameters.
        """
        statement = self._select
        with connection.cursor() as cursor:
            cursor.execute(statement.sql, _filled(statement.params, values, {}))
            rows: list[Any] = cursor.fetchall()
        if statement.converters:
            rows = [_converted(row, statement.converters) for row in rows]
        if not statement.names:
            return rows
        model = self._model
        return [model.from_db(DEFAULT_DB_ALIAS, statement.names, row) for row in rows]

    def update(self, changes: Mapping[str, Any], **values: Any) -> int:
        """Change columns of the rows.

        Args:
            changes: columns, with values or with expressions such as F("version") + 1. Expressions
                must be constants of a module, because the statement is kept for each combination.
            values: of the parameters.

        Returns:
            The number of changed rows.
        """
        shape = tuple(
            (name, value if hasattr(value, "resolve_expression") else None)
            for name, value in changes.items()
        )
        if (statement := self._updates.get(shape)) is None:
            statement = self._updates[shape] = self._update(changes)
        with connection.cursor() as cursor:
            cursor.execute(statement.sql, _filled(statement.params, values, changes))
            return cast("int", cursor.rowcount)

    @cached_property
    def _select(self) -> _Statement:
        rows = self._rows()
        compiler = rows.query.get_compiler(DEFAULT_DB_ALIAS)
        sql, params = compiler.as_sql()
        select = [column[0] for column in (compiler.select or [])[: compiler.col_count]]
        converters = compiler.get_converters(select)
        names: tuple[str, ...] = ()
        if rows._iterable_class is ModelIterable:
            names = tuple(expression.target.attname for expression in select)
        return _Statement(
            sql,
            tuple(params),
            names,
            tuple((place, convs, expr) for place, (convs, expr) in converters.items()),
        )

    @cached_property
    def _model(self) -> type[M]:
        return self._rows().model

    def _update(self, changes: Mapping[str, Any]) -> _Statement:
        rows = self._rows()
        fields = {name: _field(rows.model, name) for name in changes}
        query = cast("UpdateQuery", rows.query.chain(UpdateQuery))
        query.clear_ordering(force=True)
        query.add_update_values(
            {
                field.name: changes[name]
                if hasattr(changes[name], "resolve_expression")
                else _Value(field)
                for name, field in fields.items()
            }
        )
        sql, params = query.get_compiler(DEFAULT_DB_ALIAS).as_sql()
        return _Statement(sql, tuple(params))


def insert(*rows: models.Model, returning: bool = False) -> None:
    """Insert rows of one table with one statement, without signals.

    Args:
        rows: the rows, at most twenty or so, without primary keys that the database assigns. A
            value can be a `RawSQL` without parameters, in the same columns of all rows.
        returning: also set their primary keys.
    """
    if returning and not connection.features.can_return_rows_from_bulk_insert:
        for row in rows:
            row.save(force_insert=True)
        return
    model = type(rows[0])
    columns, key = _columns(model)
    raw = tuple(
        (name, value.sql) for name in columns if isinstance(value := getattr(rows[0], name), RawSQL)
    )
    values = [
        None if (value := getattr(row, name)) is None else prepare(value, connection)
        for row in rows
        for name, prepare in columns.items()
        if not (raw and isinstance(getattr(row, name), RawSQL))
    ]
    with connection.cursor() as cursor:
        cursor.execute(_insertion(model, raw, len(rows), returning), values)
        if returning:
            for row, (pk,) in zip(rows, cursor.fetchall(), strict=True):
                setattr(row, key, pk)
    for row in rows:
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


@functools.cache
def _columns(
    model: type[models.Model],
) -> tuple[dict[str, Callable[[Any, BaseDatabaseWrapper], Any]], str]:
    """How to adapt the value of each column, by attribute, and the primary key."""
    key = model._meta.pk
    assert key is not None  # noqa: S101 - every concrete model has one
    fields = model._meta.local_concrete_fields
    numbered = isinstance(key, models.AutoField)
    return {
        field.attname: field.get_db_prep_save for field in fields if not (numbered and field is key)
    }, key.attname


@functools.cache
def _insertion(
    model: type[models.Model], raw: tuple[tuple[str, str], ...], rows: int, returning: bool
) -> str:
    columns, key = _columns(model)
    quote, given = connection.ops.quote_name, dict(raw)
    names = ", ".join(quote(_field(model, name).column or "") for name in columns)
    places = ", ".join(f"({given[name]})" if name in given else "%s" for name in columns)
    sql = f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES "  # noqa: S608
    sql += ", ".join([f"({places})"] * rows)
    return f"{sql} RETURNING {quote(_field(model, key).column or '')}" if returning else sql


def _field(model: type[models.Model], name: str) -> models.Field[Any, Any]:
    field = model._meta.get_field(name)
    assert isinstance(field, models.Field)  # noqa: S101 - a column, no relation to many
    return field


def _filled(
    params: tuple[Any, ...], values: Mapping[str, Any], changes: Mapping[str, Any]
) -> list[Any]:
    filled = []
    for each in params:
        if not isinstance(each, _Slot):
            filled.append(each)
        elif each.field is None:
            filled.append(_adapted(each.name, values[each.name]))
        else:
            value = changes[each.name]
            if hasattr(value, "prepare_database_save"):  # a row: its key is written
                value = value.prepare_database_save(each.field)
            filled.append(each.field.get_db_prep_save(value, connection))
    return filled


def _adapted(name: str, value: Any) -> Any:
    if value is None:  # the ORM would write IS NULL, which is another statement
        raise ValueError(f"{name}: nothing equals NULL, so the condition needs __isnull")
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return value


def _converted(row: tuple[Any, ...], converters: Any) -> tuple[Any, ...]:
    values = list(row)
    for place, convert, expression in converters:
        value = values[place]
        for each in convert:
            value = each(value, expression, connection)
        values[place] = value
    return tuple(values)
