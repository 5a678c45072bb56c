"""Trial of `docker compose --env-file docker/demo.env up`: backups, and container properties."""

from __future__ import annotations

import re
import subprocess
import time
from functools import partial
from pathlib import Path

from . import document, images
from .compose import ComposeProject, checks_of, podman, wait_for
from .report import Report
from .visitor import Visitor

PASSWORD = "a password of the trial"  # noqa: S105
FIRST = ("postgres", "redis", "simulator")
# Users instead of runs, because the cloud's runs are imported again.
COUNT = "from dashboard.accounts.models import User; print(User.objects.count())"
STOP_SECONDS = {"web": 15, "worker": 60}  # stop_grace_period


def run(report: Report, work: Path, checkout: Path, port: int) -> None:
    """Run the demo, then remove it."""
    subprocess.run(["make", "-s", "secrets"], cwd=checkout, check=True)
    (checkout / "docker" / "clouds").mkdir(exist_ok=True)
    project = ComposeProject(work, checkout, port, "docker/demo.env")
    try:
        _before_the_migrations(report, project)
        if _everything(report, project):
            _main_job(report, project)
            _privileges(report, project)
            _version(report, project)
            _data(report, project)
            _database_copy(report, project)
        _stop(report, project)
    finally:
        project.down()


def _before_the_migrations(report: Report, project: ComposeProject) -> None:
    report.step("demo: web and worker before the migrations")
    project.compose("up", "-d", *FIRST)
    healthy = wait_for(lambda: all(map(project.is_healthy, FIRST)), 60)
    report.check("postgres, redis and simulator become healthy", healthy, project.services())
    project.compose("up", "-d", "--no-deps", "web", "worker")
    visitor = Visitor(project.url)
    wait_for(lambda: visitor.open("/healthz")[0] == 200, 60)
    status, text = visitor.open("/readyz")
    said = checks_of(text).get("migrations", "")
    report.check("web says 503 and names the migrations", status == 503 and "migrate" in said, text)
    waits = wait_for(lambda: "waiting to start" in project.logs("worker"), 30)
    report.check("the worker waits for them", waits, project.logs("worker"))
    report.check("and is not healthy", not project.is_healthy("worker"))


def _everything(report: Report, project: ComposeProject) -> bool:
    report.step("demo: the rest")
    form = "{{.State.StartedAt}}"
    started = {name: project.inspect(name, form) for name in ("web", "worker")}
    project.compose("up", "-d")
    visitor = Visitor(project.url)
    ready = wait_for(visitor.finds_all_well, 90)
    log = project.logs("migrate") + project.logs("worker")
    report.check("it becomes ready by itself", ready, visitor.open("/readyz")[1] + log)
    same = all(project.inspect(name, form) == at for name, at in started.items())
    report.check("without a restart of web or worker", same, started)
    return ready


def _account(project: ComposeProject, name: str) -> str:
    words = ("createsuperuser", "--noinput", f"--username={name}", "--email=")
    return project.manage("web", *words, DJANGO_SUPERUSER_PASSWORD=PASSWORD)


def _main_job(report: Report, project: ComposeProject) -> None:
    report.step("demo: clusters, a backup, health")
    made = _account(project, "anna")
    visitor = Visitor(project.url)
    report.check("the first account signs in", visitor.sign_in("anna", PASSWORD) == 302, made)
    shown = wait_for(lambda: "orders-prod" in visitor.open("/clusters/")[1], 60)
    report.check("the demo shows its clusters", shown, project.logs("sync"))
    done = project.run(
        "worker",
        *("python", "manage.py", "backup", "orders-prod", "--wait", "--timeout", "120"),
    )
    report.check("a backup is verified", done.returncode == 0, done.stdout + done.stderr)
    for service in (*FIRST, "web", "worker"):
        report.check(f"{service} is healthy", wait_for(partial(project.is_healthy, service), 30))


def _privileges(report: Report, project: ComposeProject) -> None:
    looks = "id -u; grep CapEff /proc/1/status; touch /app/x; touch /data/x && echo writes"
    for service in ("web", "worker"):
        done = project.run(service, "sh", "-c", looks)
        words = done.stdout.split()
        good = words == ["10001", "CapEff:", "0" * 16, "writes"]
        good = good and "Read-only file system" in done.stderr
        report.check(f"{service} has no rights, and writes to its data alone", good, done)


def _version(report: Report, project: ComposeProject) -> None:
    version = project.manage("web", "--version")
    form = '{{index .Config.Labels "org.opencontainers.image.version"}}'
    label = podman("image", "inspect", "--format", form, images.OURS).stdout.strip()
    report.check("the image's label is the version inside", label == version, (label, version))


def _key(project: ComposeProject, service: str) -> str:
    said = project.manage(service, "audit_export", "--public-key")
    found = re.search(r"^[\w+/=]{40,}$", said, re.MULTILINE)
    return found[0] if found else ""


def _data(report: Report, project: ComposeProject) -> None:
    report.step("demo: containers made anew")
    before = _key(project, "web")
    report.check("web and worker sign with one key", before and before == _key(project, "worker"))
    old = project.inspect("web", "{{.Id}}")
    project.compose("up", "-d", "--no-deps", "--force-recreate", "web")
    visitor = Visitor(project.url)
    wait_for(lambda: visitor.open("/healthz")[0] == 200, 60)
    report.check("a container is made anew", project.inspect("web", "{{.Id}}") not in ("", old))
    after = _key(project, "web")
    report.check("the key is still the same", before and before == after, (before, after))


def _database_copy(report: Report, project: ComposeProject) -> None:
    """Run the commands from docs/containers.md with podman-compose instead of `docker compose`."""
    report.step("demo: a copy of the database, and back")
    counts = ("shell", "-v", "0", "-c", COUNT)
    before = project.manage("web", *counts)
    back_up, put_back = document.blocks("Backup")
    done = project.script(back_up)
    dump = project.checkout / "dashboard.dump"
    key = project.checkout / "docker" / "secrets" / "audit_signing_key"
    copied = done.returncode == 0 and dump.read_bytes().startswith(b"PGDMP") and key.read_text()
    report.check("database and key are copied as docs/containers.md says", copied, done.stderr)
    _account(project, "bert")
    later = project.manage("web", *counts)
    done = project.script(put_back)
    report.check("and put back, and adopted, as it says", done.returncode == 0, done.stderr)
    visitor = Visitor(project.url)
    ready = wait_for(visitor.finds_all_well, 60)
    report.check("it is ready after the copy was put back", ready, visitor.open("/readyz")[1])
    counted = (before, later, project.manage("web", *counts))
    report.check("and has the accounts of then", before == counted[2] != later, counted)
    verified = project.run("web", "python", "manage.py", "audit_verify")
    report.check("the audit trail is whole", verified.returncode == 0, verified)


def _stop(report: Report, project: ComposeProject) -> None:
    report.step("demo: stop")
    for service, seconds in STOP_SECONDS.items():
        begun = time.monotonic()
        podman("stop", "-t", str(seconds), project.container(service))
        took, status = time.monotonic() - begun, project.inspect(service, "{{.State.ExitCode}}")
        good = took < seconds and status == "0"
        report.check(f"{service} stops in time, with status 0", good, (took, status))
