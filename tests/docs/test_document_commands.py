"""Every command in README and docs runs, read from the document, in the order written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe

import pytest

from dashboard.local_run.clouds import clouds_file
from tests.docs.commands import ELSEWHERE, LEFT_OUT, PAGES, SHELL, Block, blocks, commands, left_out
from tests.instances import ROOT, Instance
from tests.places import own_database

CHECKOUT = ("manage.py", "backups", "dashboard", "simulator", "static", "templates", "tools")
ACCOUNTS = """
from django.contrib.auth.models import Group
from backups.models import Project
from dashboard.accounts.models import User
User.objects.create_user("anna", password="a-password")
Group.objects.create(name="on-call")
Project.objects.create(cloud="otc", region="eu-de", project_id="p" * 32, name="eu-de_logging")
"""
MANAGE = ".venv/bin/python manage.py"
HEAD_OF_EXPORT = """tail -n 1 2026-01.jsonl > seal
.venv/bin/python -c 'import json
s = json.load(open("seal"))
print(s["last"], s["head"], sep=":")' > head
"""
# of what is stopped only its files are left: here, copies of them
COPY = """copy() {
mkdir $1
cp var/secret_key $1/
.venv/bin/python -c 'import sqlite3, sys
s, d = map(sqlite3.connect, ("var/db.sqlite3", sys.argv[1] + "/db.sqlite3"))
s.backup(d)' $1
export DATA_DIR=$PWD/$1
}
copy """
# what a web process does when it starts
START = """.venv/bin/python -c 'import dashboard.wsgi
from backups.instance import uid
uid()'
"""
PRODUCTION = "set -a; . {etc}/environment; set +a\n"
FACTOR = """.venv/bin/python manage.py shell -v0 -c 'from allauth.mfa.models import Authenticator
from dashboard.accounts.models import User
Authenticator.objects.create(user=User.objects.get(username="anna"), type="totp", data={})'
"""
NEW = "a-new-password-42"
NEW_PASSWORD = f"printf '{NEW}\\n{NEW}\\n' |"

# What stands in a document for something that everybody has another one of, and what asks a person.
# document → what is written → what is run
STAND_INS: dict[str, dict[str, str]] = {
    "docs/command-line.md": {
        # the demo has clusters that fail, and some that take minutes
        "backup --all --wait --json": "backup --all --wait --json --timeout 3 || test $? -eq 3",
    },
    "docs/audit.md": {
        "48213:9f0c…": "$(cat head)",
        "--since 2026-01-01 --until 2026-02-01": "--since 2020-01-01 --until 2090-01-01",
        "python verify": ".venv/bin/python verify",
    },
    "docs/operations.md": {
        "/etc/css-log-backup": "{etc}",
        "createsuperuser": "createsuperuser --noinput",
        f'{MANAGE} adopt --moved --reason "new': (
            f'copy moved; {START}{MANAGE} adopt --moved --reason "new'
        ),
        f"{MANAGE} changepassword": f"{NEW_PASSWORD} {MANAGE} changepassword",
        # it was changed, further up
        "password=$(cat var/admin_password)": f"password={NEW}",
        "http://127.0.0.1:8000": "{url}",
    },
    "docs/sign-in.md": {"createsuperuser": "createsuperuser --noinput"},
}
# document → how a block begins → what has been done before, where that is written above it in words
BEFORE: dict[str, dict[str, str]] = {
    "docs/audit.md": {
        f"{MANAGE} audit_verify --head": f"{MANAGE} audit_verify | sed 's/.*head //' > head\n",
        "python verify_audit_export.py": "cp tools/verify_audit_export.py .\n" + HEAD_OF_EXPORT,
    },
    "docs/operations.md": {
        f"{MANAGE} migrate\n{MANAGE} audit_verify": COPY + "stopped\n",
        f"{MANAGE} migrate\n{MANAGE} load_dump": (
            "export DATA_DIR=$PWD/stopped DATABASE_URL={moved}\n"
        ),
        f'{MANAGE} adopt --moved --reason "from': (
            "export DATA_DIR=$PWD/stopped DATABASE_URL={moved}\n" + START
        ),
        f"{MANAGE} adopt --reason": COPY + "from-a-backup\n" + START,
        "export PGPASSWORD": PRODUCTION,
        "pg_restore": PRODUCTION,
    },
    "docs/sign-in.md": {f"{MANAGE} remove_second_factor": FACTOR},
}
NEEDS_POSTGRESQL = "docs/operations.md"


@dataclass
class Place:
    """Where the commands are run.

    Attributes:
        folder: looks like a checkout in which the product runs.
        instance: the product.
        values: what the braces of stand-ins hold.
    """

    folder: Path
    instance: Instance
    values: dict[str, str]

    def run(self, block: Block) -> str:
        """Run the commands of a block as one script; returns what it wrote."""
        script = "".join(f"{each}\n" for each in block.commands if not left_out(block.page, each))
        if not script:
            return ""
        before = [t for b, t in BEFORE.get(block.page, {}).items() if script.startswith(b)]
        for written, run in STAND_INS.get(block.page, {}).items():
            script = script.replace(written, run)
        script = "".join(before) + script
        for name, value in self.values.items():
            script = script.replace(f"{{{name}}}", value)
        environ = {**self.instance.environ, "PWD": str(self.folder)}
        done = subprocess.run(
            ["sh", "-euxc", script],
            cwd=self.folder,
            env={
                **environ,
                "NO_PROXY": "*",
                "DJANGO_SUPERUSER_USERNAME": f"admin-{block.page.replace('/', '-')}",
                "DJANGO_SUPERUSER_EMAIL": "",
                "DJANGO_SUPERUSER_PASSWORD": "n0t-a-guess-42",
            },
            capture_output=True,
            text=True,
            timeout=400,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # no terminal: a password is read from the pipe
            check=False,
        )
        where = f"{block.page}:{block.line}"
        assert done.returncode == 0, f"{where} ended with {done.returncode}\n{done.stderr[-4000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    outer = tmp_path_factory.mktemp("commands")
    folder = outer / "checkout"
    folder.mkdir()
    for name in CHECKOUT:
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    data = outer / "home" / "css-log-backup"
    (folder / "var").symlink_to(data)
    instance = Instance(outer, DATA_DIR=str(data), DEMO_CLOUD="1")
    try:
        instance.wait_ready()
        # the grant is an event of the audit trail
        for command in (("shell", "-c", ACCOUNTS), ("grant", "anna", "auditor")):
            made = instance.manage(*command)
            assert made.returncode == 0, made.stderr
        instance.wait_for_text("clusters registered")
        instance.wait_for_worker()
        values = {"url": instance.url, "etc": str(outer / "etc")}
        yield Place(folder, instance, values)
    finally:
        instance.stop()


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program} on this machine")


def run_page(place: Place, page: str) -> list[str]:
    printed = []
    for block in blocks(page):
        if block.language in SHELL:
            begun = time.monotonic()
            printed.append(place.run(block))
            print(f"{page}:{block.line}: {time.monotonic() - begun:.1f} s")
    return printed


@pytest.mark.e2e
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page", [p for p in PAGES if p not in ELSEWHERE and p != NEEDS_POSTGRESQL and commands(p)]
)
def test_the_commands_of_a_page(place: Place, page: str) -> None:
    if "openssl" in "".join(commands(page)):
        needs("openssl", "sed", "tail")
    printed = run_page(place, page)
    if page == "docs/command-line.md":
        assert '"state": "succeeded"' in printed[0]  # the backup of one cluster
        assert "PROBLEM" not in printed[0]
        assert '"run_id"' in printed[2]  # those of all
    if page == "docs/audit.md":
        assert any("are intact" in text for text in printed)


@pytest.mark.e2e
@pytest.mark.timeout(900)  # a minute where nothing else runs
def test_the_commands_of_operations(place: Place, tmp_path: Path) -> None:
    server = os.environ.get("DATABASE_URL", "")
    if not server.startswith("postgres"):
        pytest.skip("needs PostgreSQL: DATABASE_URL is not set")
    needs("curl", "pg_dump", "pg_restore", "awk", "openssl")
    with own_database(server) as database, own_database(server) as moved:
        place.values["moved"] = moved
        environment_file(place, database, tmp_path)
        parts = run_page(place, NEEDS_POSTGRESQL)
        printed = "\n".join(parts)
    heads = re.findall(r"are intact \(\d+\), head (\d+:[0-9a-f]{64})", printed)
    assert len(heads) == 2
    assert heads[0] == heads[1], "the audit trail arrived as it was"
    assert re.search(r"302$", printed, re.M), "signed in by curl"
    assert '"status": "ok"' in printed


def environment_file(place: Place, database: str, folder: Path) -> None:
    """The file of docs/operations.md, with hosts and folders of this machine."""
    (text,) = [b.text for b in blocks(NEEDS_POSTGRESQL) if b.text.startswith("# /etc/css-log-b")]
    etc = Path(place.values["etc"])
    etc.mkdir()
    for written, here in {
        "/etc/css-log-backup": str(etc),
        "/var/lib/css-log-backup": str(folder),
        "postgres://dashboard@db.example.com:5432/dashboard": database,
        "redis.example.com:6379": "127.0.0.1:1",
    }.items():
        assert written in text
        text = text.replace(written, here)
    (etc / "environment").write_text(text)
    # each file that it names has a secret
    for name in re.findall(r"^\w+_FILE=.*/etc/(\w+)$", text, re.M):
        (etc / name).write_text(token_urlsafe(48))
    new_key = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(etc / "audit.pem")]
    subprocess.run(new_key, check=True)
    shutil.copy(clouds_file(place.instance.data_dir / "simulator"), etc / "clouds.yaml")


# --- the lists


@pytest.mark.parametrize("page", PAGES)
def test_what_is_left_out_or_stood_in_for_is_still_there(page: str) -> None:
    written = commands(page)
    for pattern in LEFT_OUT.get(page, {}):
        assert any(re.fullmatch(pattern, each, re.S) for each in written), pattern
    script = "\n".join(written)
    for text in (*STAND_INS.get(page, {}), *BEFORE.get(page, {})):
        assert text in script, text


def test_the_documents_that_are_run_elsewhere_are_there() -> None:
    for page, test in ELSEWHERE.items():
        assert commands(page)
        assert Path(page).name in (ROOT / test).read_text()


def test_only_commands_are_in_blocks_of_commands() -> None:
    """Settings, output and files are in blocks of another kind."""
    for page in PAGES:
        for block in blocks(page):
            if block.language in SHELL:
                only_settings = all(re.fullmatch(r"[A-Z_]+=\S.*", c) for c in block.commands)
                assert not only_settings or page in ELSEWHERE, f"{page}:{block.line}"


def test_the_reader_finds_commands_over_several_lines() -> None:
    text = "# a\nA=1 b  # c\nx \\\n  -y\nz 'one\ntwo'\nuntil q; do\n  s\ndone\n"
    assert Block("p", 1, "sh", text).commands == [
        "A=1 b",
        "x \\\n  -y",
        "z 'one\ntwo'",
        "until q; do\n  s\ndone",
    ]
