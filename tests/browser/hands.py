"""Three ways to use a page: with a mouse, with the keyboard alone, with a mouse and no script."""

from __future__ import annotations

from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

WAYS = ("mouse", "keyboard", "no script")
MOST_TABS = 400


@dataclass
class Hands:
    """Somebody at a page.

    Attributes:
        page: the window.
        way: one of WAYS.
    """

    page: Page
    way: str

    @property
    def scripted(self) -> bool:
        return self.way != "no script"

    def press(self, target: Locator) -> None:
        """Use a link, a button, or the head of something that opens."""
        if self.way == "keyboard":
            self._reach(target)
            self.page.keyboard.press("Enter")
        else:
            target.click()

    def tick(self, target: Locator) -> None:
        """Tick a box or choose a radio button."""
        if self.way == "keyboard":
            self._reach(target)
            self.page.keyboard.press("Space")
        else:
            target.check()
        expect(target).to_be_checked()

    def write(self, target: Locator, text: str) -> None:
        """Replace what is in a field."""
        if self.way == "keyboard":
            self._reach(target)
            self.page.keyboard.press("Control+a")
            self.page.keyboard.type(text)
        else:
            target.fill(text)

    def choose(self, target: Locator, label: str) -> None:
        """Choose from a list by the word that it shows."""
        if self.way == "keyboard":
            self._reach(target)
            self.page.keyboard.type(label)
        else:
            target.select_option(label=label)
        chosen = "e => e.selectedOptions[0].textContent.trim()"
        assert target.evaluate(chosen) == label

    def _reach(self, target: Locator) -> None:
        """Press Tab until the target has the focus, as a person does who has nothing else."""
        expect(target).to_be_visible()
        # who uses the keyboard must see where they are; one evaluation, because a live row can be
        # replaced between two
        shown = (
            "e => { const s = getComputedStyle(e);"
            " return e === document.activeElement && e.matches(':focus-visible') &&"
            " (s.outlineStyle !== 'none' || s.boxShadow !== 'none'); }"
        )
        for _each in range(MOST_TABS):
            if target.evaluate(shown):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{MOST_TABS} tabs do not reach {target} with a focus that is seen")
