#!/usr/bin/env python3
"""Write the screenshots of README and documentation: `make screenshots`.

Starts the product with its simulated cloud in a temporary folder, backs up some clusters, and takes
screenshots of pages in windows of one width. A screenshot that looks like the existing one is not
written, so that a different time of day does not change the repository.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.chromium import ARGUMENTS, CHROMIUM  # noqa: E402
from tests.instances import Instance  # noqa: E402
from tests.visitor import Visitor  # noqa: E402

WIDTH = 1440
COLOURS = 128
SAME = 0.003  # share of a picture's pixels that may differ: clocks, ids
SECONDS = 60_000
# Clusters to back up, in this order; the simulator accepts some, and refuses or fails others.
BACKED_UP = (
    *("orders-prod", "search-eu", "warehouse-nl", "webshop-nl", "throttled-iot"),
    *("payments-logs", "billing-01", "frozen-archive", "forbidden-hr", "analytics-late-fail"),
)
SHOWN_RUN, SHOWN_CLUSTER, UNDER_WAY = "payments-logs", "orders-prod", "search-eu"
BUSY = "growing-cache"
# Runs of the previous days, which a new instance does not have. All other data is real.
DAYS_BEFORE = """
import datetime, random
from django.db import connection
from django.utils import timezone
from backups.guards import BEGINNINGS
from backups.models import BackupRun, Cluster
from backups.services.clusters.protection import verified
chance, rows = random.Random(7), []
never = ("payments-logs", "brand-new", "never-created", "vanished-test", "growing-cache")
for cluster in Cluster.objects.exclude(name__in=never).select_related("project").order_by("name"):
    project = cluster.project
    for day in range(30):
        at = timezone.now() - datetime.timedelta(days=day, minutes=30 + chance.randrange(600))
        state, outcome, status = chance.choices(
            (("succeeded", "accepted", 200), ("rejected", "conflict", 409),
             ("failed", "accepted", 200)),
            (90, 7, 3))[0]
        if day == 0 and state == "succeeded":
            verified(cluster.pk, at)
        rows.append(BackupRun(
            cluster=cluster, project=project, cluster_cloud_id=cluster.cluster_id,
            cluster_name=cluster.name, cloud=project.cloud, region=project.region,
            project_id_in_cloud=project.project_id, project_name=project.name,
            requested_by_name=chance.choice(("anna", "ben")), trigger="button", state=state,
            outcome=outcome, http_status=status, requested_at=at, sent_at=at,
            finished_at=at + datetime.timedelta(seconds=chance.randrange(5, 90))))
with BEGINNINGS.lifted(connection):
    BackupRun.objects.bulk_create(rows)
"""


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture: its name, the page, a text that the page must show, and its height in CSS px."""

    name: str
    path: str
    seen: str
    height: int = 900


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "images", help="the folder")
    folder: Path = parser.parse_args().to
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="css-log-backup-screenshots-") as scratch:
        instance = Instance(Path(scratch), DEMO_CLOUD="1")
        try:
            instance.wait_ready()
            instance.wait_for_text("clusters registered")
            instance.wait_for_worker()
            take(instance, folder)
        finally:
            instance.stop()


def take(instance: Instance, folder: Path) -> None:
    """Create the data that the pages show, and take the pictures.

    Args:
        instance: a running product.
        folder: folder to write the pictures to.
    """
    made = instance.manage("shell", "-c", DAYS_BEFORE)
    if made.returncode:
        raise SystemExit(made.stderr)
    visitor = Visitor(instance.url).sign_in("admin", instance.password)
    numbers = {name: visitor.back_up(name, anyway="1") for name in BACKED_UP}
    for number in numbers.values():
        visitor.wait_for_run(number, seconds=120)
    waits = visitor.back_up(BUSY, anyway="1", reason="CHG-1234", wait_minutes="30")
    off = cluster_key(visitor, SHOWN_RUN)
    shots = (
        Shot("clusters", "/clusters/", SHOWN_CLUSTER),
        Shot("cluster", f"/clusters/{cluster_key(visitor, SHOWN_CLUSTER)}/", "Protected"),
        Shot("run", f"/runs/{numbers[SHOWN_RUN]}/", "412"),
        Shot("history", "/history/?window=all", SHOWN_CLUSTER),
        # the tour
        Shot("verified", f"/runs/{numbers[SHOWN_CLUSTER]}/", "Verified"),
        Shot("log-backup", f"/clusters/{off}/log-backup/", "OBS bucket", 700),
        Shot("conflicts", "/history/?window=all&outcome=conflict", "Conflict", 700),
        Shot("waiting", f"/runs/{waits}/", "409", 700),
        Shot("batch", "/batches/new/?show=present", "Back up", 700),
        Shot("schedule", "/schedules/new/", "Clusters that are not ready"),
        Shot("protection", "/protection/", SHOWN_CLUSTER),
        Shot("access", "/settings/access/", "Role", 700),
        Shot("audit", "/audit/", "Signed in", 700),
        Shot("connections", "/settings/connections/", "demo-nl", 500),
        Shot("home", "/", "Outcomes", 1300),
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = signed_in(browser, instance)
        for shot in shots:
            if shot.name == "home":  # with a run in progress
                visitor.back_up(UNDER_WAY, anyway="1")
            page.set_viewport_size({"width": WIDTH, "height": shot.height})
            page.goto(shot.path)
            expect(page.locator("main")).to_contain_text(shot.seen, timeout=SECONDS)
            page.wait_for_load_state("networkidle" if shot.name != "home" else "load")
            keep(page.screenshot(animations="disabled", caret="hide"), folder / f"{shot.name}.png")
        browser.close()


def cluster_key(visitor: Visitor, name: str) -> str:
    """The primary key of a cluster, as in the address of its page."""
    page = visitor.get("/clusters/", params={"q": name}).text
    found = re.search(r"/clusters/(\d+)/", page)
    if found is None:
        raise SystemExit(f"no cluster {name}")
    return found[1]


def signed_in(browser: Browser, instance: Instance) -> Page:
    """A page in which the administrator has signed in."""
    context = browser.new_context(
        base_url=instance.url, color_scheme="light", reduced_motion="reduce",
        timezone_id="Europe/Berlin", locale="en-GB",
    )  # fmt: skip
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    page.goto("/sign-in/")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password", exact=True).fill(instance.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("/")
    return page


def keep(taken: bytes, path: Path) -> None:
    """Write a picture with a reduced palette, unless it looks like the existing one.

    Args:
        taken: a PNG.
        path: file to write.
    """
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    if path.exists() and looks_same(picture, Image.open(path).convert("RGB")):
        sys.stdout.write(f"{path.name}: as it was\n")
        return
    few = picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    sys.stdout.write(f"{path.name}: {path.stat().st_size // 1024} KB\n")


def looks_same(one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures differ in at most the share SAME of their pixels."""
    if one.size != other.size:
        return False
    difference = ImageChops.difference(one, other).convert("L").point(lambda value: value > 24)
    differing = difference.histogram()[1:]
    return sum(differing) < SAME * one.width * one.height


if __name__ == "__main__":
    main()
