"""Display preferences, stored in a cookie for each browser and validated when read.

They are not stored in the database because one account can need different preferences on a desktop
and on a phone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

COOKIE = "look"
COOKIE_AGE = 31_536_000  # seconds
COOKIE_LIMIT = 400  # characters; `store_display` never writes a longer value
THEMES: dict[str, str | Promise] = {
    "": _("As the system has it"),
    "light": _("Light"),
    "dark": _("Dark"),
}
DENSITIES: dict[str, str | Promise] = {
    "": _("Compact: one line a row"),
    "comfortable": _("Comfortable: all details"),
}
PAGE_SIZES = (25, 50, 100)
PAGE_SIZE = 50
# Optional columns by list: position in the table and label.
COLUMNS: dict[str, dict[int, str | Promise]] = {
    "clusters": {3: _("Project and region"), 4: _("Readiness"), 5: _("Protection")},
    "history": {3: _("By"), 5: _("Answer"), 6: _("Message"), 7: _("Duration")},
}


@dataclass(frozen=True, slots=True)
class DisplayPreferences:
    """Display preferences of a browser.

    Attributes:
        theme: a key of THEMES; "" follows the system.
        keys: whether keyboard shortcuts are enabled.
        density: a key of DENSITIES; "" is compact.
        rows: rows per page of a list, one of PAGE_SIZES.
        hidden: positions of the hidden columns, by list.
    """

    theme: str = ""
    keys: bool = True
    density: str = ""
    rows: int = PAGE_SIZE
    hidden: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def classes(self, name: str) -> str:
        """Return the CSS classes that hide the hidden columns of a list's table."""
        return " ".join(f"hide-{place}" for place in sorted(self.hidden.get(name, ())))

    def columns(self, name: str) -> list[tuple[int, str | Promise, bool]]:
        """Return (position, label, is shown) for each optional column of a list."""
        hidden = self.hidden.get(name, frozenset())
        return [(place, label, place not in hidden) for place, label in COLUMNS[name].items()]


def display_of(request: HttpRequest) -> DisplayPreferences:
    """Read the display preferences from the cookie of a request.

    Invalid values are replaced by the defaults.

    Args:
        request: the request with its cookies.
    """
    text = request.COOKIES.get(COOKIE, "")
    given = {k: v[-1] for k, v in parse_qs(text).items()} if len(text) <= COOKIE_LIMIT else {}
    theme, rows = given.get("theme", ""), given.get("rows", "")
    density = given.get("density", "")
    return DisplayPreferences(
        theme=theme if theme in THEMES else "",
        keys=given.get("keys") != "off",
        density=density if density in DENSITIES else "",
        rows=int(rows) if rows in map(str, PAGE_SIZES) else PAGE_SIZE,
        hidden={
            name: frozenset(p for p in places if str(p) in given.get(name, "").split("."))
            for name, places in COLUMNS.items()
        },
    )


def store_display(response: HttpResponse, display: DisplayPreferences) -> None:
    """Store display preferences in a cookie.

    Args:
        response: the response on which to set the cookie.
        display: the preferences to store.
    """
    kept = {
        "theme": display.theme,
        "keys": "" if display.keys else "off",
        "density": display.density,
        "rows": "" if display.rows == PAGE_SIZE else str(display.rows),
        **{name: ".".join(map(str, sorted(hidden))) for name, hidden in display.hidden.items()},
    }
    response.set_cookie(
        COOKIE,
        urlencode({name: value for name, value in kept.items() if value}),
        max_age=COOKIE_AGE,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
