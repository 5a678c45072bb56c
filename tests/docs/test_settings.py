"""docs/settings.md lists what is read from the environment: all of it, no more, true defaults."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "settings.md"
SOURCES = [ROOT / "manage.py", *sorted(ROOT.glob("dashboard/**/*.py"))]
SOURCES += sorted(ROOT.glob("backups/**/*.py"))
ENVIRON = {"environ", "env", "_env"}
READERS = {"get", "setdefault", "pop"}
NAME = re.compile(r"[A-Z][A-Z0-9_]+")
OPENSTACK = re.compile(r"OS_[A-Z_]+|SNAP_REAL_HOME")
SET_BY_THE_SHELL = {"MAKEFILE_LIST", "BIN", "INSTALL", "COMPILE", "HOSTNAME"}
SWITCHES = {"on": True, "off": False}


@dataclass(frozen=True)
class Variable:
    """A variable that the code reads; `default` is None where it is no plain value."""

    name: str
    where: str
    default: object = None


def _text(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _default(node: ast.Call) -> object:
    if len(node.args) < 2:
        return None
    try:
        return ast.literal_eval(node.args[1])
    except ValueError:
        return None


def _read_by(node: ast.AST) -> Iterator[tuple[str, object]]:
    """The variables that one expression reads, with their defaults."""
    if isinstance(node, ast.Call) and node.args:
        name = _text(node.args[0])
        if isinstance(node.func, ast.Name) and node.func.id == "secret" and name:
            yield name, None
            yield f"{name}_FILE", None
        elif (
            isinstance(node.func, ast.Attribute) and _last_name(node.func.value) in ENVIRON and name
        ):
            own = isinstance(node.func.value, ast.Name) and node.func.value.id == "env"
            if own or node.func.attr in READERS:
                yield name, _default(node) if own else None
        elif _last_name(node.func) == "getenv" and name:
            yield name, None
    elif isinstance(node, ast.Subscript) and _last_name(node.value) in ENVIRON:
        if isinstance(node.ctx, ast.Load) and (name := _text(node.slice)):
            yield name, None
    elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
        if _last_name(node.comparators[0]) in ENVIRON and (name := _text(node.left)):
            yield name, None
    elif OPENSTACK.fullmatch(_text(node)):  # read in a loop over a list of names
        yield _text(node), None


def in_python() -> list[Variable]:
    """What the product's Python reads."""
    return [
        Variable(name, f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", default)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        for name, default in _read_by(node)
        if NAME.fullmatch(name)
    ]


def elsewhere() -> list[Variable]:
    """What the Makefile and the compose file read."""
    found = []
    makefile = re.sub(r"\$\$.", "", (ROOT / "Makefile").read_text())
    found += [Variable(n, "Makefile") for n in re.findall(r"\$\(([A-Z_]+)\)", makefile)]
    found += [Variable(n, "Makefile") for n in re.findall(r"^([A-Z_]+) *\?=", makefile, re.M)]
    for path in (ROOT / "docker-compose.yml", *ROOT.glob("docker/*.env")):
        text = re.sub(r"\$\$\w+", "", path.read_text())
        names = re.findall(r"\$\{([A-Z_]+)", text) + re.findall(r"^([A-Z_]+)=", text, re.M)
        found += [Variable(n, path.name) for n in names]
    return [v for v in found if v.name not in SET_BY_THE_SHELL]


def documented() -> dict[str, str]:
    """Each variable of the tables, with the cell that names its default."""
    found = {}
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 5 and cells[0].startswith("`"):
            for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", cells[0]):
                assert name not in found, f"{name} is listed twice"
                found[name] = cells[2]
    return found


def test_every_variable_that_is_read_is_documented() -> None:
    missing = {v.name: v.where for v in in_python() + elsewhere() if v.name not in documented()}
    assert not missing, f"not in docs/settings.md: {missing}"


def test_every_documented_variable_is_read() -> None:
    read = {v.name for v in in_python() + elsewhere()}
    assert sorted(set(documented()) - read) == []


DEFAULTS = sorted(
    {
        (v.name, str(v.default))
        for v in in_python()
        if isinstance(v.default, bool | int | float) or (v.default and isinstance(v.default, str))
    }
)


@pytest.mark.parametrize(("name", "default"), DEFAULTS)
def test_a_documented_default_is_the_codes(name: str, default: str) -> None:
    cell = documented()[name].strip("`")
    assert str(SWITCHES.get(cell, cell)) == default


def test_the_reading_of_the_source_finds_each_way_to_read_a_variable() -> None:
    source = """
env.float("A_NUMBER", 1.5)
secret("A_SECRET")
os.environ.get("GOT")
environ["TAKEN"]
os.environ["WRITTEN"] = "x"
"ASKED_FOR" in environ
for name in ("OS_LISTED",): environ.get(name)
"""
    found = dict(pair for node in ast.walk(ast.parse(source)) for pair in _read_by(node))
    assert found == {
        "A_NUMBER": 1.5,
        "A_SECRET": None,
        "A_SECRET_FILE": None,
        "GOT": None,
        "TAKEN": None,
        "ASKED_FOR": None,
        "OS_LISTED": None,
    }
    assert len(DEFAULTS) > 20
