"""Every page, with nothing to show, with everything, and with too much: right for everyone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize

from tests.browser.axe import ALL_RULES, CONTRAST, findings
from tests.browser.everyone import focus, motion, sideways, structure
from tests.browser.pages import PAGES, Shown, looks_at, names_of_pages
from tests.browser.watch import Watch
from tests.browser.world import DATA_SETS, World

WIDE: ViewportSize = {"width": 1440, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}


View = tuple[ViewportSize, Literal["light", "dark"], list[str]]
# Each size and each theme with all rules; only contrast depends on both. The sets of data share
# the four views among them: a page without rows or with more of them has the same colours.
VIEWS: dict[str, list[View]] = {
    "empty": [(WIDE, "dark", ALL_RULES), (NARROW, "light", ALL_RULES)],
    "typical": [
        (WIDE, "light", ALL_RULES),
        (NARROW, "dark", ALL_RULES),
        (WIDE, "dark", CONTRAST),
        (NARROW, "light", CONTRAST),
    ],
    "crowded": [(WIDE, "light", ALL_RULES), (NARROW, "dark", ALL_RULES)],
}

# as the tests divide the pages: by how a URL's name begins
PARTS = ("account", "backups:schedule", "backups:c", "backups:r", "backups", "audit")


def part_of(name: str) -> str:
    """Which of PARTS a page belongs to: the first that its name begins with."""
    named = [part for part in PARTS if name.startswith(part)]
    return named[0] if named else "account"


def opened(
    part: str, world: World, chromium: Browser, watch: Watch
) -> Iterator[tuple[Page, Shown]]:
    """Each look at the pages of a part, in a window of whom it is for."""
    pages: dict[str, Page] = {}
    looks = [
        look for name in PAGES if part_of(name) == part for look in looks_at(name, world.things)
    ]
    for look in looks:
        if look.who not in pages:
            context = watch.follow(chromium.new_context(viewport=WIDE, reduced_motion="reduce"))
            context.add_cookies(world.cookies[look.who])
            pages[look.who] = context.new_page()
        page = pages[look.who]
        answer = page.goto(world.url + look.path)
        assert answer, look.label
        assert page.url == world.url + look.path, look.label
        assert answer.status in look.statuses, look.label
        if answer.status >= 400:
            watch.expect_answers(answer.status)
        yield page, look
    for page in pages.values():
        page.context.close()


def test_every_page_has_an_entry() -> None:
    missing = names_of_pages() - set(PAGES)
    assert not missing, f"pages without an entry in tests/browser/pages.py: {sorted(missing)}"
    assert set(PAGES) <= names_of_pages()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("world", DATA_SETS, indirect=True)
def test_every_page_is_right_for_everyone(
    world: World, chromium: Browser, watch: Watch, part: str
) -> None:
    found = []
    for page, look in opened(part, world, chromium, watch):
        found += [f"{look.label} [wide, light]: {each}" for each in structure(page)]
        found += [f"{look.label} [wide, light]: {each}" for each in motion(page)]
        for size, scheme, rules in VIEWS[world.data_set]:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(size)
            where = f"{look.label} [{'wide' if size is WIDE else 'narrow'}, {scheme}]"
            found += [f"{where}: {each}" for each in findings(page, rules)]
            if rules is ALL_RULES:
                found += [f"{where}: {each}" for each in focus(page)]
        found += [f"{look.label} [small]: {each}" for each in sideways(page)]
    assert not found, "\n".join(found)
