"""A DATA_DIR that cannot be written is one clear line, whichever process meets it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dashboard.checks import check_everywhere
from dashboard.generated import storage_problem
from tests.instances import ROOT, clean_environment

COMMANDS = {
    "run": ["manage.py", "run"],
    "check": ["manage.py", "check"],
    "migrate": ["manage.py", "migrate", "--noinput"],
    "web": ["-m", "gunicorn", "-c", "python:dashboard.gunicorn", "--bind", "127.0.0.1:0"],
    "worker": ["-m", "celery", "-A", "dashboard", "worker", "--pool", "threads", "-c", "1"],
}


def restrained() -> list[str]:
    """What makes root obey the modes of folders, as everybody else does."""
    if os.getuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root, and no setpriv (util-linux): every folder can be written")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_process_says_so_in_a_line(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    answer = subprocess.run(
        [*restrained(), sys.executable, *COMMANDS[name]],
        cwd=ROOT,
        env=clean_environment(tmp_path, DATA_DIR=str(folder / "data")),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    text = answer.stdout + answer.stderr
    assert answer.returncode != 0
    assert f"(css.E021) DATA_DIR={folder / 'data'} cannot keep the database" in text
    assert f"this user cannot write to {folder}" in text
    assert "Traceback" not in text


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert storage_problem(tmp_path / "file" / "data") == f"{tmp_path / 'file'} is not a folder"
    assert storage_problem(tmp_path / "file") == f"{tmp_path / 'file'} is not a folder"
    assert storage_problem(tmp_path / "new" / "data") == ""


def test_where_nothing_is_kept_the_folder_does_not_matter(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings.DATA_DIR = tmp_path / "file"
    settings.DATABASE_URL_GIVEN = settings.SECRET_KEY_GIVEN = True
    assert [each.id for each in check_everywhere()] == ["css.W003"]
    settings.AUDIT_SIGNING_KEY = "k3y-" * 10 + "aaa="
    settings.CHANNEL_KEY = "k3y-" * 16
    assert "css.W003" not in [each.id for each in check_everywhere()]
    settings.SECRET_KEY_GIVEN = False
    assert "css.E021" in [each.id for each in check_everywhere()]
