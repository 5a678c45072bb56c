"""What can be decided about a cluster's log backup settings, and what can come of it. No I/O."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from backups.css_api.errors import CssApiError
from backups.css_api.types import Answer, LogSettingsInfo, LogStorage
from backups.models import LogSettings as StoredSettings
from backups.rules.outcomes import Next, classify


class Change(StrEnum):
    """What can be decided."""

    ENABLE = "enable"
    CHANGE = "change"
    DISABLE = "disable"
    SET_POLICY = "set_policy"
    STOP_POLICY = "stop_policy"


class Ending(StrEnum):
    """What came of a decision."""

    DONE = "done"  # accepted or not answered, and read back as wanted
    ACCEPTED = "accepted"  # accepted, but the cloud shows something else, or cannot be read
    REFUSED = "refused"  # the cloud said no
    UNKNOWN = "unknown"  # it may have arrived, and what was read back does not show it
    NOT_SENT = "not_sent"  # no token, no way to the cloud, or its settings could not be read
    STALE = "stale"  # the settings are others than those that were looked at: nothing was sent
    OCCUPIED = "occupied"  # another change of the same cluster is under way: nothing was sent


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody wants.

    Attributes:
        change: what.
        storage: where to, for ENABLE and CHANGE.
        period: the hour in the cloud's notation, for SET_POLICY.
        seen: `fingerprint` of the settings that it was decided on.
        reason: why, in their words.
    """

    change: Change
    storage: LogStorage | None = None
    period: str = ""
    seen: str = ""
    reason: str = ""

    def as_facts(self) -> dict[str, Any]:
        """What is wanted, as the audit trail keeps it."""
        facts: dict[str, Any] = {"change": self.change.value}
        if self.storage is not None:
            facts["bucket"] = self.storage.bucket
            facts["base_path"] = self.storage.base_path
            facts["agency"] = self.storage.agency
        if self.period:
            facts["period"] = self.period
        return facts


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    Attributes:
        ending: in one word.
        why: the cloud's or the network's reason, "" where all is well.
        answer: the cloud's answer that decided, None when there was none.
        before: the settings just before, None where they could not be read.
        now: the settings read afterwards, None where they could not be.
    """

    ending: Ending
    why: str = ""
    answer: Answer | None = None
    before: LogSettingsInfo | None = None
    now: LogSettingsInfo | None = None

    @property
    def has_changed(self) -> bool | None:
        """Whether the cloud's settings are others than before; None where that cannot be told."""
        if self.before is None or self.now is None:
            return None
        return as_facts(self.before) != as_facts(self.now)

    @property
    def ended_policy(self) -> bool:
        """Whether the cloud's daily backup was on before, and is off although log backup is on."""
        if self.before is None or self.now is None:
            return False
        return self.before.auto_enabled and self.now.enabled and not self.now.auto_enabled


def as_facts(settings: LogSettingsInfo | StoredSettings) -> dict[str, Any]:
    """Settings as the audit trail keeps them."""
    automatic = (
        settings.auto_enabled if isinstance(settings, LogSettingsInfo) else settings.automatic
    )
    return {
        "enabled": settings.enabled,
        "bucket": settings.bucket,
        "base_path": settings.base_path,
        "agency": settings.agency,
        "automatic": automatic,
        "period": settings.period,
    }


def fingerprint(settings: LogSettingsInfo | StoredSettings) -> str:
    """What tells settings from others: a short digest for a form."""
    return hashlib.sha256(repr(sorted(as_facts(settings).items())).encode()).hexdigest()[:32]


def as_wanted(decision: Decision, now: LogSettingsInfo) -> bool:
    """Whether settings are what a decision asked for."""
    if decision.change in (Change.ENABLE, Change.CHANGE):
        found = LogStorage(bucket=now.bucket, base_path=now.base_path, agency=now.agency)
        return now.enabled and found == decision.storage
    if decision.change is Change.DISABLE:
        return not now.enabled
    if decision.change is Change.SET_POLICY:
        return now.auto_enabled and now.period == decision.period
    return not now.auto_enabled


def ending_of(
    decision: Decision, outcome: Answer | CssApiError, now: LogSettingsInfo | None
) -> Ending:
    """Judge a call by its answer and by what was read afterwards.

    Args:
        decision: what was wanted.
        outcome: the answer, or what stands in its place.
        now: the settings read afterwards, None where they could not be.
    """
    what_next = classify(outcome).next
    if not isinstance(outcome, Answer) and what_next is not Next.SETTLE:
        return Ending.NOT_SENT
    if what_next not in (Next.FOLLOW, Next.SETTLE):
        return Ending.REFUSED
    if now is not None and as_wanted(decision, now):
        return Ending.DONE
    return Ending.ACCEPTED if what_next is Next.FOLLOW else Ending.UNKNOWN
