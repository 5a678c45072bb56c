"""The units in deploy/systemd, as systemd reads them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
MOST_EXPOSED = 20  # tenths of systemd's exposure level; up to 2.0 it calls a unit "OK" or better
OF_SYSTEMD = Path("/usr/lib/systemd/system")  # the targets that every unit is ordered by


@pytest.fixture
def analyze(tmp_path: Path) -> Path:
    """A root with the units and the programs that they start."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    shutil.copytree(OF_SYSTEMD, tmp_path / "usr/lib/systemd/system", symlinks=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    units = tmp_path / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    for unit in UNITS:
        shutil.copy(unit, units)
    programs = tmp_path / "opt" / "css-log-backup" / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "gunicorn", "celery"):
        shutil.copy("/bin/true", programs / name)
    return tmp_path


def _analyze(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", f"--root={root}", "--man=no", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def _instance(unit: Path) -> str:
    return unit.name.replace("@.", "@1.")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong(analyze: Path, unit: Path) -> None:
    answer = _analyze(analyze, "verify", "--recursive-errors=one", _instance(unit))
    assert (answer.returncode, _ours(answer.stderr)) == (0, []), answer.stderr


def test_the_test_would_see_a_mistake(analyze: Path) -> None:
    unit = analyze / "etc/systemd/system/css-log-backup-web.service"
    unit.write_text(unit.read_text() + "\n[Service]\nRestartSecs=3\n")
    assert _ours(_analyze(analyze, "verify", unit.name).stderr)
    (analyze / "opt/css-log-backup/.venv/bin/celery").unlink()
    assert _analyze(analyze, "verify", "css-log-backup-worker@1.service").returncode


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_unit_is_shut_in(analyze: Path, unit: Path) -> None:
    limits = ["--offline=true", f"--threshold={MOST_EXPOSED}"]
    answer = _analyze(analyze, "security", *limits, _instance(unit))
    assert answer.returncode == 0, answer.stdout[-600:]


def test_units_start_what_compose_starts() -> None:
    """The commands are in two places; here they are compared."""
    import yaml

    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name, unit in (("web", "web"), ("worker", "worker@"), ("migrate", "migrate")):
        text = (ROOT / "deploy" / "systemd" / f"css-log-backup-{unit}.service").read_text()
        started = re.findall(r"^ExecStart=\S*/bin/(.*)$", text, re.MULTILINE)[0].split()
        given = iter(started)
        own = {"-n", "--bind"}  # names and addresses differ
        words = [word for word in given if word not in own or not next(given, None)]
        wanted = iter(services[name]["command"])
        assert words == [str(w) for w in wanted if w not in own or not next(wanted, None)], name


def test_web_is_not_reloaded() -> None:
    text = (ROOT / "deploy" / "systemd" / "css-log-backup-web.service").read_text()
    assert not re.search(r"^ExecReload", text, re.MULTILINE)


def _ours(text: str) -> list[str]:
    return [line for line in text.splitlines() if "css-log-backup" in line]
