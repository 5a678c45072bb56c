"""Imports go the way that the table in docs/architecture.md says: down, and never in a circle.

Imports made late, inside a function, count as all others do; imports for types alone do not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("backups", "dashboard", "simulator", "chaos", "tests")


def allowed() -> dict[str, list[str]]:
    """The table: room → rooms that it may import."""
    found = {}
    for line in (ROOT / "docs" / "architecture.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 3 and (module := re.fullmatch(r"`([a-z_/]+)`", cells[0])):
            found[module[1]] = re.findall(r"`([a-z_/]+)`", cells[2])
    return found


@cache
def modules() -> dict[str, Path]:
    """Every module of the product, as a path without suffix; a package under its own name."""
    files = [path for name in ("backups", "dashboard") for path in (ROOT / name).rglob("*.py")]
    return {
        str(path.relative_to(ROOT).with_suffix("")).removesuffix("/__init__"): path
        for path in files
        if "migrations" not in path.parts
    }


def for_types_alone(tree: ast.AST) -> set[int]:
    tests = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    names = [t for t in tests if isinstance(t.test, ast.Name) and t.test.id == "TYPE_CHECKING"]
    return {id(node) for each in names for part in each.body for node in ast.walk(part)}


def imported(path: Path, source: str) -> Iterator[str]:
    """What of ours a file imports, as paths without suffix."""
    package = path.relative_to(ROOT).parent.parts
    tree = ast.parse(source)
    left_out = for_types_alone(tree)
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.replace(".", "/") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            target = "/".join([*base, *(node.module or "").split(".")]).strip("/")
            names = [f"{target}/{alias.name}" for alias in node.names]
            yield from (name if name in modules() else target for name in names)


@cache
def arrows() -> dict[str, set[str]]:
    """Module → modules of the product that it imports."""
    return {
        name: {each for each in imported(path, path.read_text()) if each in modules()} - {name}
        for name, path in modules().items()
    }


def room_of(name: str, rooms: list[str]) -> str:
    """The room of the table that a module is in, the narrowest one; "" for none."""
    found = [room for room in rooms if name == room or name.startswith(f"{room}/")]
    return max(found, key=len, default="")


def foreign(module: str, names: Iterator[str] | set[str], may: list[str]) -> set[str]:
    """Those of ours that the table does not allow."""
    within = [module, *may]
    return {
        name
        for name in names
        if name.split("/")[0] in OURS and not room_of(name, within) and name not in OURS
    }


def test_the_table_names_every_room() -> None:
    framework = {"backups/apps", "backups/urls"}
    framework |= {f"dashboard/{name}" for name in ("apps", "settings", "urls", "wsgi", "gunicorn")}
    without = {
        name for name in modules() if "/" in name and not room_of(name, list(allowed()))
    } - framework
    assert not without


@pytest.mark.parametrize("room", sorted(allowed()))
def test_a_room_imports_what_the_table_allows(room: str) -> None:
    rooms = list(allowed())
    if room in ("simulator",):
        files = sorted((ROOT / room).rglob("*.py"))
        found = {path.stem: set(imported(path, path.read_text())) for path in files}
    else:
        found = {name: arrows()[name] for name in modules() if room_of(name, rooms) == room}
    assert found
    wrong = {
        name: other
        for name, each in found.items()
        if (other := foreign(room, each, allowed()[room]))
    }
    assert not wrong


def test_no_module_imports_itself_by_way_of_others() -> None:
    try:
        TopologicalSorter(arrows()).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_no_room_imports_itself_by_way_of_others() -> None:
    try:
        TopologicalSorter({room: set(may) for room, may in allowed().items()}).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_the_project_knows_nothing_of_clusters() -> None:
    """`dashboard` calls what is above it by names in its settings, or by signals."""
    wrong = {
        name: up
        for name, each in arrows().items()
        if name.startswith("dashboard")
        and (up := {other for other in each if other.startswith("backups")})
    }
    assert not wrong
    # nor for types alone
    files = [path for name, path in modules().items() if name.startswith("dashboard")]
    assert not [
        path for path in files if re.search(r"^\s*(from|import) backups", path.read_text(), re.M)
    ]


def test_a_forbidden_import_would_be_found() -> None:
    path = ROOT / "backups" / "css_api" / "x.py"
    source = (
        "from ..models import BackupRun\nfrom . import parse\ndef f():\n  import dashboard.celery\n"
    )
    assert foreign("backups/css_api", imported(path, source), []) == {
        "backups/models",
        "dashboard/celery",
    }
