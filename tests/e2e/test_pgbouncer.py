"""The product behind a real PgBouncer that gives each transaction another connection."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.instances import Instance
from tests.places import own_database
from tests.visitor import Visitor

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
SERVER = os.environ.get("DATABASE_URL", "")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not SERVER.startswith("postgres"), reason="DATABASE_URL is no PostgreSQL"),
    pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed (Debian: pgbouncer)"),
]

CONFIG = """
[databases]
{name} = host={host} port={port} dbname={name} user={user} {password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 300
"""


@pytest.fixture(scope="module")
def pooled_url() -> Iterator[str]:
    """A database of its own, by way of the pooler."""
    with ExitStack() as stack:
        parts = urlsplit(stack.enter_context(own_database(SERVER)))
        with socket.create_server(("127.0.0.1", 0)) as probe:
            listen = probe.getsockname()[1]
        # outside of pytest's folders: PgBouncer does not run as root, and another user cannot
        # enter them
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgbouncer-")))
        folder.chmod(0o755)
        config = folder / "pgbouncer.ini"
        password = f"password='{unquote(parts.password)}'" if parts.password else ""
        config.write_text(
            CONFIG.format(
                name=parts.path[1:],
                host=parts.hostname or "127.0.0.1",
                port=parts.port or 5432,
                user=unquote(parts.username or "postgres"),
                password=password,
                listen=listen,
            )
        )
        config.chmod(0o644)
        command = [str(PGBOUNCER), *(["-u", "nobody"] if os.getuid() == 0 else []), str(config)]
        log = (folder / "log").open("w+b")
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            _await_listening(process, listen, folder / "log")
            yield f"postgres://postgres@127.0.0.1:{listen}{parts.path}"
        finally:
            process.terminate()
            process.wait(30)
            log.close()


def _await_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="module")
def product(pooled_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    folder = tmp_path_factory.mktemp("pooled")
    instance = Instance(
        folder, DEMO_CLOUD="1", DATABASE_URL=pooled_url, DATABASE_POOLER="transaction"
    )
    try:
        instance.wait_ready()
        instance.wait_for_text("clusters registered")
        instance.wait_for_worker()
        yield instance
    finally:
        tails = instance.log_tails()
        assert instance.stop() == 0, tails


@pytest.fixture(scope="module")
def visitor(product: Instance) -> Visitor:
    return Visitor(product.url).sign_in("admin", product.password)


@pytest.mark.timeout(300)
def test_all_clusters_are_backed_up(product: Instance) -> None:
    """Runs end as they do without a pooler: the demo's cloud refuses some on purpose."""
    answer = product.manage("backup", "--all", "--wait", "--json", "--timeout", "200", timeout=240)
    runs = [json.loads(line) for line in answer.stdout.splitlines()]
    assert len(runs) > 15, answer.stderr
    ended = {"succeeded", "failed", "rejected", "not_started", "unverified"}
    assert {run["state"] for run in runs} <= ended
    assert sum(run["state"] == "succeeded" for run in runs) >= 5
    _no_lost_cursor(product)


def test_pages_answer_while_transactions_change_places(product: Instance, visitor: Visitor) -> None:
    """Also those that read much at once, with cursors of the server where Django uses them."""
    pages = ["/", "/clusters/", "/history/", "/history/?q=backup", "/audit/", "/protection/"]
    pages += [
        "/settings/access/accounts/1/",
        "/settings/access/accounts/",
        "/settings/connections/",
    ]

    def statuses(_: int) -> list[int]:
        one = Visitor(product.url)
        one.cookies.update(visitor.cookies)
        return [one.get(page).status_code for page in pages]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(statuses, range(16)))
    assert {status for each in found for status in each} == {200}, found
    _no_lost_cursor(product)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_exports_hold_every_run(product: Instance, visitor: Visitor, form: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda _: visitor.post("/history/exports/", data={"format": form, "query": ""}),
                range(4),
            )
        )
    assert {answer.status_code for answer in answers} == {200}
    assert {len(answer.content.splitlines()) for answer in answers} - {0, 1}
    _no_lost_cursor(product)


def test_the_audit_trail_is_whole_and_the_database_can_be_dumped(product: Instance) -> None:
    """Events were chained under advisory locks that end with their transactions."""
    answer = product.manage("audit_verify")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "are intact" in answer.stdout
    dumped = product.manage("dumpdata", "--natural-foreign", "-e", "sessions", "-o", os.devnull)
    assert dumped.returncode == 0, dumped.stderr


def _no_lost_cursor(product: Instance) -> None:
    logs = "".join(log.read_text(errors="replace") for log in product.data_dir.glob("logs/*.log"))
    assert "does not exist" not in logs
    assert "Traceback" not in logs, product.log_tails()
