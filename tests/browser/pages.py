"""Every page of the site: a URL name that is not here fails tests/browser/test_every_page.py.

To add a page, add a line to PAGES under its URL's name. URLs that answer with something else than a
page are in NOT_PAGES; those without a GET are left out by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.urls import reverse

from tests.access.access_matrix import MATRIX

# How somebody is signed in; tests/browser/world.py makes them.
ROOT = "root"  # may do everything
KEYHOLDER = "keyholder"  # has an app and a security key
NOBODY = "nobody"  # has no role
HALFWAY = "halfway"  # has given the password, but not the second factor
VISITOR = "visitor"  # has not signed in


@dataclass(frozen=True, slots=True)
class Entry:
    """How a page is opened.

    Attributes:
        of: the kind of thing whose key is in the URL, as in World.things; "" for none.
        who: as whom.
        queries: the page is looked at with each of these.
        statuses: of the answer.
    """

    of: str = ""
    who: tuple[str, ...] = (ROOT,)
    queries: tuple[str, ...] = ("",)
    statuses: frozenset[int] = frozenset({200})


PAGES: dict[str, Entry] = {
    # --- sign-in and one's own account
    "login": Entry(who=(VISITOR,), queries=("", "?next=/history/")),
    "sign-in-link": Entry(of="link", who=(VISITOR,)),
    "mfa_authenticate": Entry(who=(HALFWAY,)),
    "account": Entry(who=(ROOT, KEYHOLDER)),
    "preferences": Entry(),
    "tokens:own": Entry(),
    "tokens:create": Entry(),
    "tokens:all": Entry(),
    "account_change_password": Entry(),
    "account_reauthenticate": Entry(),
    "mfa_reauthenticate": Entry(who=(KEYHOLDER,)),
    "mfa_reauthenticate_webauthn": Entry(who=(KEYHOLDER,)),
    "mfa_index": Entry(who=(ROOT, KEYHOLDER)),
    "mfa_activate_totp": Entry(),
    "mfa_deactivate_totp": Entry(who=(KEYHOLDER,)),
    "mfa_add_webauthn": Entry(),
    "mfa_remove_webauthn": Entry(of="security_key", who=(KEYHOLDER,)),
    "mfa_view_recovery_codes": Entry(who=(KEYHOLDER,)),
    "mfa_generate_recovery_codes": Entry(who=(KEYHOLDER,)),
    # --- home, search
    "backups:home": Entry(who=(ROOT, NOBODY)),
    "backups:api-reference": Entry(),
    "backups:search": Entry(queries=("", "?q=orders", "?q=no-such-thing")),
    # --- clusters
    "backups:clusters": Entry(
        who=(ROOT, NOBODY),
        queries=("", "?presence=all&sort=-verified", "?presence=archived", "?q=no-such-cluster"),
    ),
    "backups:cluster-detail": Entry(of="cluster"),
    "backups:log-settings": Entry(of="cluster", queries=("", "?confirm=disable")),
    "backups:cluster-bucket": Entry(of="cluster"),
    "backups:log-search": Entry(of="node", statuses=frozenset({200, 400, 502})),
    "backups:protection": Entry(queries=("", "?protection=overdue")),
    "backups:handle": Entry(queries=("?cause=never", "?cause=backup_off&back=/protection/")),
    "backups:report": Entry(queries=("", "?span=this_month", "?span=this_month&zone=Asia/Tokyo")),
    # --- batches
    "backups:batches": Entry(),
    "backups:batch-new": Entry(
        queries=("", "?show=all&work=label", "?work=settings", "?q=no-such-cluster")
    ),
    "backups:batch": Entry(of="batch"),
    # --- schedules
    "backups:schedules": Entry(),
    "backups:schedule-new": Entry(queries=("", "?engine=opensearch")),
    "backups:schedule": Entry(of="schedule"),
    "backups:schedule-edit": Entry(of="schedule"),
    # --- history and runs
    "backups:history": Entry(
        queries=(
            "?window=all",
            "?window=all&state=rejected&outcome=conflict&trigger=button&http_status=409&sort=oldest",
            "?q=no-such-run",
        )
    ),
    "backups:exports": Entry(),
    "backups:run-detail": Entry(of="run"),
    # --- settings and audit trail
    "backups:settings": Entry(),
    "backups:connections": Entry(),
    "backups:connection-entry": Entry(),
    "backups:retention": Entry(),
    "backups:notifications": Entry(),
    "backups:channel-add": Entry(),
    "backups:channel": Entry(of="channel"),
    "backups:delivery-log": Entry(),
    "backups:adoption": Entry(),
    "members:grants": Entry(queries=("", "?q=no-such-name")),
    "members:accounts": Entry(queries=("", "?q=no-such-name")),
    "members:account": Entry(of="account"),
    "members:account-sign-in": Entry(of="account"),
    "members:groups": Entry(queries=("", "?q=no-such-name")),
    "members:group": Entry(of="group"),
    "audit:events": Entry(queries=("", "?action=sign_in&window=all", "?object=nothing")),
    "audit:event-detail": Entry(of="audit_event"),
}

# Answers to a GET that are no pages.
NOT_PAGES = {
    "account_login": "another name of login",
    "oidc-start": "404 without a provider; tests/sign_in look at it",
    "oidc-callback": "leads on",
    "backups:home-live": "parts of a page",
    "backups:frame-live": "parts of every page",
    "backups:clusters-live": "parts of a page",
    "backups:cluster-detail-live": "parts of a page",
    "backups:batch-live": "parts of a page",
    "backups:batch-json": "a file",
    "backups:history-live": "parts of a page",
    "backups:history-count": "part of a page",
    "backups:exports-live": "parts of a page",
    "backups:run-live": "parts of a page",
    "backups:connections-live": "parts of a page",
    "backups:run-json": "a file",
    "audit:chain-status": "part of a page",
    "backups:report-csv": "a file",
    "version": "JSON",
}


def names_of_pages() -> set[str]:
    """The names of all URLs that answer a GET with a page, by the matrix of access."""
    return {name for name, url in MATRIX.items() if url.GET is not None} - set(NOT_PAGES)


@dataclass(frozen=True, slots=True)
class Shown:
    """One look at one page.

    Attributes:
        label: of the page and of what it shows, for messages.
        path: with the query.
        who: as whom.
        statuses: that the answer may have.
    """

    label: str
    path: str
    who: str
    statuses: frozenset[int]


def looks_at(name: str, things: dict[str, dict[str, str]]) -> Iterator[Shown]:
    """All looks at one page.

    Args:
        name: of the URL.
        things: the key in the URL by what the thing shows, by kind.
    """
    entry = PAGES[name]
    keys = things.get(entry.of, {}) if entry.of else {"": ""}
    for who in entry.who:
        for what, key in keys.items():
            for query in entry.queries:
                key_in_path, _mark, more = key.partition("?")
                path = reverse(name, args=[key_in_path] if key_in_path else [])
                label = " ".join(filter(None, (name, what, query, "" if who == ROOT else who)))
                yield Shown(label, path + (f"?{more}" if more else query), who, entry.statuses)
