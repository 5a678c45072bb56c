"""Trial of docker-compose.yml's defaults: a real cloud's entry, settings in .env, a TLS proxy."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from .compose import ComposeProject, wait_for
from .report import Report
from .visitor import Visitor

HOST = "css-logs.example.com"
SETTINGS = f"""# settings of the trial
ALLOWED_HOSTS={HOST}
MFA_REQUIRED_ROLES=admin
SESSION_IDLE_MINUTES=17
SIGN_IN_TRIES=40
"""
CLOUDS = """clouds:
  real:
    auth:
      auth_url: https://127.0.0.1:9/v3
      username: u
      password: p
      project_name: p
      user_domain_name: d
    region_name: eu-de
"""
USER = 10001
CLIENTS = 14  # more than the wrong passwords allowed from one address


def run(report: Report, work: Path, checkout: Path, port: int) -> None:
    """Run it, then remove it."""
    (checkout / ".env").write_text(SETTINGS)
    clouds = checkout / "docker" / "clouds" / "clouds.yaml"
    clouds.write_text(CLOUDS)
    clouds.chmod(0o600)
    project = ComposeProject(work, checkout, port)
    try:
        _unreadable_clouds(report, project)
        os.chown(clouds, USER, USER)
        if _ready(report, project):
            _settings(report, project)
            _addresses(report, project)
    finally:
        project.down()
        (checkout / ".env").unlink()
        clouds.unlink()


def _unreadable_clouds(report: Report, project: ComposeProject) -> None:
    report.step("production: a clouds.yaml that only its owner reads")
    first = ("postgres", "redis")
    project.compose("up", "-d", *first)
    wait_for(lambda: all(map(project.is_healthy, first)), 60)
    project.compose("up", "-d")
    named = f"(css.E011) /etc/openstack/clouds.yaml cannot be read by this user (uid {USER})"
    for service in ("migrate", "web", "worker"):
        said = wait_for(partial(_says, project, service, named), 30)
        report.check(f"{service} names it and does not start", said, project.logs(service))
    status, text = Visitor(project.url).open("/readyz")
    report.check("nothing is called ready", status != 200, text)


def _says(project: ComposeProject, service: str, text: str) -> bool:
    return text in project.logs(service)


def _ready(report: Report, project: ComposeProject) -> bool:
    report.step("production: the file belongs to the container's user")
    project.compose("up", "-d")
    visitor = Visitor(project.url)
    ready = wait_for(visitor.finds_all_well, 90)
    log = "".join(map(project.logs, ("migrate", "web", "worker")))
    return report.check("it becomes ready", ready, visitor.open("/readyz")[1] + log)


def _settings(report: Report, project: ComposeProject) -> None:
    for service in ("web", "worker"):
        there = project.run(service, "env").stdout.splitlines()
        wanted = [line for line in SETTINGS.splitlines() if line[0] != "#"]
        missing = [line for line in [*wanted, "DEPLOYMENT=production"] if line not in there]
        report.check(f"settings of .env are in {service}", not missing, missing)
    asked = "from django.conf import settings; print(settings.SESSION_IDLE_MINUTES)"
    shown = project.manage("web", "shell", "-v", "0", "-c", asked)
    report.check("and in force", shown.endswith("17"), shown)


def _addresses(report: Report, project: ComposeProject) -> None:
    report.step("production: users behind a proxy")
    proxied = {"Host": HOST, "X_Forwarded_Proto": "https", "Referer": f"https://{HOST}/sign-in/"}
    statuses = []
    for number in range(1, CLIENTS + 1):
        visitor = Visitor(project.url, X_Forwarded_For=f"192.0.2.{number}", **proxied)
        statuses.append(visitor.sign_in(f"user{number}", "not the password"))
    report.check("each has an own limit of tries", set(statuses) == {200}, statuses)
    query = "select count(distinct ip) from audit_event where action = 'sign_in_failed'"
    psql = ["psql", "-U", "dashboard", "-d", "dashboard", "-Atc", query]
    counted = project.run("postgres", *psql).stdout.strip()
    report.check("and is on record with the own address", counted == str(CLIENTS), counted)
