"""Imports go the way that the table in docs/architecture.md says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("backups", "dashboard", "simulator", "chaos", "tests")


def allowed() -> dict[str, list[str]]:
    """The table: module → what of ours it may import."""
    found = {}
    for line in (ROOT / "docs" / "architecture.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 3 and (module := re.fullmatch(r"`([a-z_/]+)`", cells[0])):
            found[module[1]] = re.findall(r"`([a-z_/]+)`", cells[2])
    return found


def sources(module: str) -> list[Path]:
    """The files of a module, which is a package or a file."""
    file = ROOT / f"{module}.py"
    return [file] if file.exists() else sorted((ROOT / module).rglob("*.py"))


def imported(path: Path, source: str) -> Iterator[str]:
    """What of ours a file imports when it is loaded, as paths without suffix."""
    package = path.relative_to(ROOT).parent.parts
    tree = ast.parse(source)
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.replace(".", "/") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            target = "/".join([*base, *(node.module or "").split(".")]).strip("/")
            names = [f"{target}/{alias.name}" for alias in node.names]
            are_modules = (ROOT / target).is_dir()
            yield from names if are_modules else [target]


def is_within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}/")


def foreign(module: str, names: Iterator[str], may: list[str]) -> set[str]:
    """Those of ours that the table does not allow."""
    return {
        name
        for name in names
        if name.split("/")[0] in OURS
        and not any(is_within(name, each) for each in [module, *may])
        and name != module.split("/")[0]
    }


def test_the_table_names_every_module_of_the_domain() -> None:
    folders = {f"backups/{p.parent.name}" for p in ROOT.glob("backups/*/__init__.py")}
    files = {f"backups/{p.stem}" for p in ROOT.glob("backups/*.py")}
    framework = {"backups/__init__", "backups/apps", "backups/urls", "backups/migrations"}
    assert not (folders | files) - framework - set(allowed())


@pytest.mark.parametrize("module", sorted(allowed()))
def test_a_module_imports_what_the_table_allows(module: str) -> None:
    files = sources(module)
    assert files
    wrong = {
        str(path.relative_to(ROOT)): found
        for path in files
        if (found := foreign(module, imported(path, path.read_text()), allowed()[module]))
    }
    assert not wrong


def test_a_forbidden_import_would_be_found() -> None:
    path = ROOT / "backups" / "css_api" / "x.py"
    source = "from ..models import BackupRun\nfrom . import parse\nimport dashboard.settings\n"
    names = imported(path, source)
    assert foreign("backups/css_api", names, []) == {
        "backups/models/BackupRun",
        "dashboard/settings",
    }
