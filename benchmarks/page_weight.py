"""Benchmark of a page's size, first paint and layout shifts, in Chromium with an empty cache.

Fills a new database with clusters and runs, serves it with gunicorn on loopback, signs in, and
opens each page in a new window. It measures the bytes transferred according to the browser (headers
and bodies of the page and everything it loads), first contentful paint from the start of the
navigation, and the sum of all layout shifts until some time after the load.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from typing import NamedTuple

PAGES = ("/", "/clusters/", "/history/", "/protection/", "/runs/{run}/")
CHROMIUM = "/usr/bin/chromium"
STILL = 1500  # milliseconds to wait for content that is loaded after the page
FIGURES = """() => {
  const entries = [
    ...performance.getEntriesByType("navigation"),
    ...performance.getEntriesByType("resource"),
  ];
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return {
    bytes: entries.reduce((sum, entry) => sum + entry.transferSize, 0),
    requests: entries.length,
    first: entries[0].responseStart,
    fcp: paint ? paint.startTime : -1,
    shift: window.shifted,
  };
}"""
WATCH = """window.shifted = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });"""


class Weight(NamedTuple):
    """Measurements of a page: medians, and the largest layout shift."""

    path: str
    bytes: float
    requests: int
    first: float
    paint: float
    shift: float


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page_weight", description=__doc__)
    parser.add_argument("--clusters", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=7)
    return parser.parse_args()


def main() -> None:
    """Prepare, measure, print."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="bench-weight-") as folder:
        os.environ["DATA_DIR"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.watchers.settings"
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
        import django

        django.setup()
        from benchmarks.watchers.__main__ import prepare, serving

        key, _ = prepare(options.clusters)
        run = _newest_run()
        with serving(2) as (port, _server):
            rows = [
                _measure(f"http://localhost:{port}", path.format(run=run), key, options.repeats)
                for path in PAGES
            ]
    print(f"\n{options.clusters:,} clusters; medians of {options.repeats}\n")
    print("| Page | over the wire | requests | first byte | first paint | layout shift |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| `{row.path}` | {row.bytes / 1000:.1f} kB | {row.requests} | {row.first:.0f} ms "
            f"| {row.paint:.0f} ms | {row.shift:.4f} |"
        )


def _newest_run() -> int:
    from backups.models import BackupRun

    return BackupRun.objects.latest("pk").pk


def _measure(url: str, path: str, key: str, repeats: int) -> Weight:
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        for _ in range(repeats):
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            context.add_cookies([{"name": "sessionid", "value": key, "url": url}])
            page = context.new_page()
            page.add_init_script(WATCH)
            page.goto(url + path)
            page.wait_for_timeout(STILL)
            found.append(page.evaluate(FIGURES))
            context.close()
        browser.close()
    median = {name: statistics.median(each[name] for each in found) for name in found[0]}
    worst = max(each["shift"] for each in found)
    return Weight(
        path, median["bytes"], int(median["requests"]), median["first"], median["fcp"], worst
    )


if __name__ == "__main__":
    main()
