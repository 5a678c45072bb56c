"""Pages that stay current: live.js polls a URL with a token for each part that a page shows.

A part has `data-live="<key>:<token>"`. The server compares the token with the one that it would
give now, answers with the parts that differ, and htmx swaps them in.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backups import work
from backups.forms import LiveForm

from .common import PageRequest, bad_request

P = ParamSpec("P")
Shown = list[tuple[int, str]]


def token(*facts: object) -> str:
    """A digest of the facts that a part of a page shows; it changes when one of them changes."""
    return f"{zlib.crc32(repr(facts).encode()):x}"


def live_view(
    view: Callable[Concatenate[PageRequest, Shown, P], HttpResponse | None],
) -> Callable[Concatenate[PageRequest, P], HttpResponse]:
    """Decorator for the view of a URL that live.js polls.

    The view is called with the key and token of each part that the page shows. It returns a
    response with the parts that have changed, or None where none has: live.js then gets a 204.
    """

    @require_safe
    @wraps(view)
    def wrapped(request: PageRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        form = LiveForm(request.GET)
        if not form.is_valid():
            return bad_request(request, form)
        response = view(request, form.cleaned_data["shown"], *args, **kwargs)
        return mark_live(response or HttpResponse(status=204))

    return wrapped


def live_response(
    request: PageRequest,
    context: dict[str, Any],
    *,
    parts: Sequence[str] = (),
    row_template: str = "",
) -> HttpResponse:
    """Parts that replace those on the page.

    Args:
        request: of live.js.
        context: of the page; `rows` in it are rows of its table.
        parts: templates of the parts.
        row_template: renders each of the `rows`.
    """
    context = {**context, "parts": parts, "row_template": row_template}
    if not row_template:
        context["rows"] = ()
    return render(request, "components/live.html", context)


def mark_live(response: HttpResponse) -> HttpResponse:
    """Add the headers that live.js reads.

    X-Live tells its answers from the sign-in page, which a request gets when the session has
    ended. X-Presence says why work does not flow: when that changes, live.js updates the banners.
    """
    response["X-Live"] = "1"
    response["X-Presence"] = work.token()
    response["Cache-Control"] = "no-store"
    return response
