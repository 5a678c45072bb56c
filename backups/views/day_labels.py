"""What days brought, in words and figures: "5 verified, 2 backup failed, …"."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import ngettext

from backups.services.clusters.history import ClusterDay
from backups.services.statistics import Result


def counted(counts: Mapping[Result, int]) -> str:
    """How many runs had each result.

    Args:
        counts: of each result.
    """
    return ", ".join(_phrase(result, count) for result, count in counts.items())


def brought(day: ClusterDay) -> str:
    """How many of a cluster's runs of one day were verified, and how many were not."""
    verified = ngettext("%(count)d verified", "%(count)d verified", day.verified)
    bad = ngettext("%(count)d ended badly", "%(count)d ended badly", day.bad)
    return f"{verified % {'count': day.verified}}, {bad % {'count': day.bad}}"


def _phrase(result: Result, count: int) -> str:
    if result is Result.VERIFIED:
        text = ngettext("%(count)d verified", "%(count)d verified", count)
    elif result is Result.FAILED:
        text = ngettext("%(count)d backup failed", "%(count)d backup failed", count)
    elif result is Result.REJECTED:
        text = ngettext("%(count)d rejected", "%(count)d rejected", count)
    else:
        text = ngettext(
            "%(count)d unknown, not verified or not started",
            "%(count)d unknown, not verified or not started",
            count,
        )
    return text % {"count": count}
