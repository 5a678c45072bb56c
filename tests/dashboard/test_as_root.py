"""Commands of root's leave no files of root's in another user's DATA_DIR."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dashboard.generated import refuse_root
from tests.instances import ROOT, clean_environment

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a folder away")
SOMEBODY = 54_321  # no user of this machine


@pytest.mark.parametrize("owner", [1, SOMEBODY])
def test_root_is_refused_in_the_folder_of_another_user(tmp_path: Path, owner: int) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    os.chown(folder, owner, owner)
    for command in ("migrate", "run"):
        answer = subprocess.run(
            [sys.executable, "manage.py", command],
            cwd=ROOT,
            env=clean_environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 1
        assert f"sudo -u {'daemon' if owner == 1 else repr(f'#{owner}')}" in answer.stderr
        assert len(answer.stderr.splitlines()) == 1
    assert not list(folder.iterdir())


def test_root_may_use_what_is_its_own_or_not_there(tmp_path: Path) -> None:
    refuse_root(tmp_path)
    refuse_root(tmp_path / "nowhere")
