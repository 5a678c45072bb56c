"""The words of a message: what a group of notices has in common, and a line for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.urls import reverse

from backups.choices import NoticeKind, in_english
from backups.models import Notice

MOST_LINES = 50
MOST_ITEMS = 200  # of a webhook
# Where a reader of several notices finds all of them, and what to do.
_PAGES = {
    NoticeKind.RUN_FAILED: ("backups:home", ""),
    NoticeKind.RUN_REJECTED: ("backups:home", ""),
    NoticeKind.RUN_UNKNOWN: ("backups:home", ""),
    NoticeKind.PROTECTION_OVERDUE: ("backups:protection", "?protection=overdue"),
    NoticeKind.PROTECTION_RECOVERED: ("backups:protection", ""),
    NoticeKind.BATCH_ENDED: ("backups:batches", ""),
    NoticeKind.AUDIT_BROKEN: ("audit:events", ""),
}


def title_of(kind: NoticeKind, notices: Sequence[Notice]) -> str:
    """One line in English: how many, what, of which cluster or project, and why."""
    first = notices[0]
    words = in_english(kind.label)
    if len(notices) > 1:
        words = f"{len(notices)} × {words}"  # noqa: RUF001
        names = {str(each.facts.get("project") or "") for each in notices}
        name = names.pop() if len(names) == 1 else ""
    else:
        name = str(first.facts.get("cluster") or first.facts.get("project") or "")
    return ": ".join(filter(None, (words, name, first.cause)))[:300]


def body_of(kind: NoticeKind, notices: Sequence[Notice]) -> str:
    """The text: a line for each of the first MOST_LINES notices, and the page to go to."""
    lines = [_line(notice) for notice in notices[:MOST_LINES]]
    if (more := len(notices) - MOST_LINES) > 0:
        lines.append(f"and {more} more")
    if address := link_of(kind, notices):
        lines += ["", address]
    return "\n".join(lines)


def data_of(kind: NoticeKind, notices: Sequence[Notice]) -> dict[str, Any]:
    """What a webhook gets beside title and text."""
    return {
        "count": len(notices),
        "cause": notices[0].cause,
        "url": link_of(kind, notices),
        "items": [
            {**notice.facts, "key": notice.key, "at": notice.at.isoformat(), "url": _own(notice)}
            for notice in notices[:MOST_ITEMS]
        ],
    }


def link_of(kind: NoticeKind, notices: Sequence[Notice]) -> str:
    """The page of one notice, or of several; "" without PUBLIC_URL."""
    if len(notices) == 1 and (own := _own(notices[0])):
        return own
    name, query = _PAGES.get(kind, ("backups:home", ""))
    return _absolute(reverse(name) + query)


def _line(notice: Notice) -> str:
    facts = notice.facts
    name = ", ".join(str(facts[key]) for key in ("cluster", "project") if facts.get(key))
    return ": ".join(filter(None, (name, str(facts.get("text") or notice.cause))))


def _own(notice: Notice) -> str:
    return _absolute(str(notice.facts.get("path") or ""))


def _absolute(path: str) -> str:
    return settings.PUBLIC_URL + path if settings.PUBLIC_URL and path else ""
