"""Debian's Chromium, and how it is started."""

from playwright.sync_api import expect

# milliseconds until an expectation has failed: other tests run on the same machine
expect.set_options(timeout=20_000)

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-sync",
]
