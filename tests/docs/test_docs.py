"""The documentation is true of the code: links, commands, paths, arrows, outcomes, checks."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from django.core.management import call_command, get_commands

from backups.choices import ALLOWED, RunState
from backups.css_api import config, session
from dashboard.http.wire import Timeouts

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OWN_FOLDERS = ("docs", "simulator", "chaos", "benchmarks", "dashboard", "backups", ".github")
PAGES = sorted([*ROOT.glob("*.md"), *(p for f in OWN_FOLDERS for p in ROOT.glob(f"{f}/**/*.md"))])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
CODE = re.compile(r"^```[a-z]*\n(.*?)^```|`([^`\n]+)`", re.M | re.S)
OWN_PATH = re.compile(
    r"(?:backups|dashboard|simulator|tests|docs|docker|tools|chaos|static)/[\w./-]+"
)

every_document = pytest.mark.parametrize(
    "document", PAGES, ids=lambda path: str(path.relative_to(ROOT))
)


def code_in(page: Path) -> list[str]:
    """The page's code blocks and code spans."""
    return [block or span for block, span in CODE.findall(page.read_text())]


def anchors(page: Path) -> set[str]:
    """The fragments that a page's headings can be reached by."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def rows(page: Path, columns: int) -> Iterator[list[str]]:
    """The cells of a page's tables of so many columns."""
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == columns:
            yield cells


@every_document
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", document.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        file = document.parent / path if path else document
        if not file.exists() or (fragment and fragment not in anchors(file)):
            broken.append(target)
    assert not broken


@every_document
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {
        target
        for code in code_in(document)
        for target in re.findall(r"(?:^|[\s=]|\w )make ([a-z][a-z-]*)", f" {code}")
    }
    assert not named - targets


@every_document
def test_every_management_command_that_is_named_exists(document: Path) -> None:
    named = {
        command
        for code in code_in(document)
        for command in re.findall(r"manage\.py ([a-z][a-z_]*)", code)
    }
    assert not named - set(get_commands())


@every_document
def test_every_path_of_ours_that_is_named_exists(document: Path) -> None:
    made_later = ("docker/secrets", "docker/clouds")
    named = {
        path.rstrip("./")
        for code in code_in(document)
        for path in OWN_PATH.findall(code)
        if re.match(r"(?:^|.*\s)" + re.escape(path), code, re.S) and not path.startswith(made_later)
    }
    missing = {p for p in named if not (ROOT / p).exists() and not (ROOT / f"{p}.py").exists()}
    assert not missing


def test_the_readme_has_the_two_commands() -> None:
    code = "\n".join(code_in(ROOT / "README.md"))
    assert "make run" in code
    assert "make test" in code


def clouds_files() -> list[str]:
    """Every clouds.yaml in README and docs/clouds.md, with secrets in place of the dots."""
    pages = [(ROOT / "README.md").read_text(), (DOCS / "clouds.md").read_text()]
    found = [text for page in pages for text in re.findall(r"```yaml\n(.*?)```", page, re.S)]
    return [text.replace("…", "A" * 20) for text in found]


@pytest.mark.parametrize("example", clouds_files())
def test_the_clouds_file_of_a_page_can_be_used(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clouds.yaml"
    path.write_text(example)
    for variable in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    entries = yaml.safe_load(example)["clouds"]
    assert [cloud for cloud, _ in config.list_clouds()] == list(entries)
    for cloud, region in config.list_clouds():
        connection = session.connect(cloud, region, timeouts=Timeouts())
        assert connection.region == entries[cloud]["region_name"]


def test_the_outcomes_guide_is_up_to_date() -> None:
    printed = io.StringIO()
    call_command("outcomes_guide", stdout=printed)
    assert (DOCS / "outcomes.md").read_text() == printed.getvalue(), (
        "run: python manage.py outcomes_guide > docs/outcomes.md"
    )


def test_the_arrows_of_the_run_states_are_those_of_the_code() -> None:
    names = {state.name for state in RunState}
    drawn = {
        (cells[0], cells[1])
        for cells in rows(DOCS / "run-states.md", 4)
        if cells[0] in names and cells[1] in names
    }
    assert drawn == {(a.name, b.name) for a, targets in ALLOWED.items() for b in targets}


def test_the_run_states_page_names_every_time_with_its_default() -> None:
    listed = {cells[0]: cells[1] for cells in rows(DOCS / "run-states.md", 3)}
    settings = {
        cells[0]: cells[2] for cells in rows(DOCS / "settings.md", 5) if cells[1] != "switch"
    }
    times = {
        name: default
        for name, default in settings.items()
        if re.match(r"`(BACKUP|HEARTBEAT|WORKER_SHUTDOWN|CSS)_", name)
    }
    assert len(times) > 15
    assert {n: float(listed[n]) for n in times} == {n: float(d) for n, d in times.items()}


def test_every_system_check_is_explained() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "dashboard").rglob("*.py"))
    ids = set(re.findall(r'"(css\.[EWI]\d{3})"', sources))
    listed = {cells[0].strip("`") for cells in rows(DOCS / "operations.md", 2)}
    assert ids
    assert ids == {each for each in listed if each.startswith("css.")}


def test_every_folder_of_tests_is_described() -> None:
    folders = {f"`{p.parent.relative_to(ROOT)}`" for p in ROOT.glob("tests/*/test_*.py")}
    assert folders <= {cells[0] for cells in rows(ROOT / "CONTRIBUTING.md", 2)}
