"""The SQL of the guards agrees with the code, and the two databases with each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.apps import apps

from backups.choices import CORRECTABLE, TERMINAL, RunState
from backups.guards import GUARDS as OF_RUNS
from dashboard.audit.guards import GUARDS as OF_THE_TRAIL
from dashboard.audit.models import Action
from dashboard.audit.values import GENESIS
from dashboard.db.triggers import Guards

TRIGGER = re.compile(r"^CREATE TRIGGER (\w+) BEFORE (\w+) ON (\w+)", re.MULTILINE)
FILES = [
    guards.folder / f"guards.{vendor}.sql"
    for guards in (OF_RUNS, OF_THE_TRAIL)
    for vendor in ("sqlite", "postgresql")
]


def read(guards: Guards, vendor: str) -> str:
    return (guards.folder / f"guards.{vendor}.sql").read_text()


def words(texts: list[str]) -> list[set[str]]:
    return [set(re.findall(r"'(\w+)'", text)) for text in texts]


@pytest.mark.parametrize("guards", [OF_RUNS, OF_THE_TRAIL], ids=lambda guards: guards.app)
def test_both_databases_have_the_same_triggers(guards: Guards) -> None:
    postgresql = set(TRIGGER.findall(read(guards, "postgresql")))
    without_truncate = {each for each in postgresql if each[1] != "TRUNCATE"}
    assert set(TRIGGER.findall(read(guards, "sqlite"))) == without_truncate
    guarded = {table for _, _, table in without_truncate}
    assert {table for _, _, table in postgresql - without_truncate} == guarded


@pytest.mark.parametrize("guards", [OF_RUNS, OF_THE_TRAIL], ids=lambda guards: guards.app)
def test_sqlite_keeps_every_column_that_postgresql_keeps(guards: Guards) -> None:
    """PostgreSQL compares whole rows, SQLite column by column: a new column must be added there."""
    postgresql, sqlite = read(guards, "postgresql"), read(guards, "sqlite")
    tables = {model._meta.db_table: model for model in apps.get_models()}
    seen = 0
    for name, operation, table in TRIGGER.findall(sqlite):
        body = sqlite.partition(f"CREATE TRIGGER {name} ")[2].partition("\nEND;")[0]
        if operation != "UPDATE" or "WHEN" not in body:
            continue
        function = postgresql.partition(f"CREATE FUNCTION {name}()")[2].partition("\nEND $$")[0]
        may_change = set(re.findall(r"'(\w+)'", function.partition("ARRAY[")[2].partition("]")[0]))
        columns = {field.column for field in tables[table]._meta.concrete_fields}
        assert may_change <= columns, name
        compared = re.findall(r"\bNEW\.(\S+) IS OLD\.(\S+)$", body, re.MULTILINE)
        assert all(new == old for new, old in compared), name
        kept = {new.strip('"') for new, _ in compared}
        assert columns - may_change <= kept, (name, columns - may_change - kept)
        seen += 1
    assert seen


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parts[-3]}-{file.name}")
def test_states_and_actions_are_those_of_the_code(file: Path) -> None:
    sql = file.read_text()
    lists = words(re.findall(r"(?:OLD|run)\.state IN \(([^)]*)\)", sql))
    assert all(each in (set(TERMINAL), set(CORRECTABLE)) for each in lists)
    assert all(
        each == {RunState.SUCCEEDED, RunState.FAILED}
        for each in words(re.findall(r"NEW\.state IN \(([^)]*)\)", sql))
    )
    actions = set(re.findall(r"action = '(\w+)'", sql))
    assert actions <= set(Action)
    if file.is_relative_to(OF_RUNS.folder):
        assert lists.count(set(TERMINAL)) >= 3
        assert lists.count(set(CORRECTABLE)) == 1
    else:
        assert f"'{GENESIS}'" in sql
