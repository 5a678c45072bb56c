"""When a schedule fires: cron texts and intervals as moments. Pure functions.

A cron text is read on the clock of its time zone. A slot whose local time does not exist, because
clocks are set forward, comes at the end of the gap; several of one gap are one slot. A local time
that occurs twice, because clocks are set back, is a slot once, the first time. A text that names
every hour also fires in the repeated hour: it asks for every hour, and an hour has passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from cron_descriptor import CasingTypeEnum, ExpressionDescriptor, Options
from cron_descriptor.Exception import FormatError, MissingFieldError, WrongArgumentError
from cronsim import CronSim, CronSimError
from django.utils.translation import get_language, gettext_lazy, ngettext, to_locale
from django.utils.translation import gettext as _

LONGEST_TEXT = 100  # characters of a cron text
LONGEST_INTERVAL = 366 * 86_400  # seconds
SAMPLE = 100  # slots whose distances are looked at, within
HORIZON = timedelta(days=400)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = {
    "second": gettext_lazy("second"),
    "minute": gettext_lazy("minute"),
    "hour": gettext_lazy("hour"),
    "day-of-month": gettext_lazy("day of the month"),
    "month": gettext_lazy("month"),
    "day-of-week": gettext_lazy("day of the week"),
}


class BadTiming(ValueError):
    """The cron text or interval cannot be used; the message says why and what to write instead."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When a schedule fires.

    Attributes:
        zone: the time zone of the cron text.
        cron: a text that `parse_cron` returned; "" for an interval.
        interval: seconds between two slots, counted from the anchor; 0 for a cron text.
        anchor: where intervals are counted from, aware.
    """

    zone: ZoneInfo
    cron: str = ""
    interval: int = 0
    anchor: datetime = datetime(2000, 1, 1, tzinfo=UTC)

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the slots after a moment, in UTC, in order, each once.

        Args:
            moment: aware; a slot at this very moment is left out.
        """
        last = moment.astimezone(UTC)
        if self.interval:
            passed = (last - self.anchor) // timedelta(seconds=self.interval)
            while True:
                passed += 1
                yield self.anchor.astimezone(UTC) + passed * timedelta(seconds=self.interval)
        sources = [_read_on_the_clock(self.cron, last, self.zone)]
        if names_every_hour(self.cron):
            sources.append(_as_time_passes(self.cron, last, self.zone))
        waiting = [next(source, None) for source in sources]
        while found := [slot for slot in waiting if slot is not None]:
            slot = min(found)
            if slot > last:
                yield slot
                last = slot
            for place, source in enumerate(sources):
                if waiting[place] == slot:
                    waiting[place] = next(source, None)

    def next(self, moment: datetime) -> datetime | None:
        """Return the first slot after a moment, in UTC; None if there is none within 50 years."""
        return next(self.after(moment), None)

    def latest(self, first: datetime, until: datetime) -> datetime:
        """Return the newest slot that is not later than a moment.

        Looks back in growing steps, so a year without a worker costs no more than an hour.

        Args:
            first: a slot; the result if there is no newer one.
            until: aware.
        """
        back = timedelta(hours=1)
        while back < until - first:
            if found := list(_until(self.after(until - back), until)):
                return found[-1]
            back *= 8
        return max([first, *_until(self.after(first), until)])

    def words(self) -> str:
        """Describe the timing in the active language; a cron text without words as it is."""
        if self.interval:
            return _interval_words(self.interval)
        options = Options()
        options.use_24hour_time_format = True
        options.casing_type = CasingTypeEnum.Sentence
        language = to_locale(get_language() or "en")
        # its catalogues are called de_DE, fr_FR; without one it is English
        options.locale_code = language if "_" in language else f"{language}_{language.upper()}"
        try:
            return str(ExpressionDescriptor(self.cron, options).get_description())
        except (FormatError, MissingFieldError, WrongArgumentError, ValueError, IndexError):
            return self.cron


def parse_cron(text: str) -> str:
    """Check a cron text and return it in capitals, with five or six fields.

    Args:
        text: five fields (minute, hour, day of the month, month, day of the week), six with the
            seconds first, or a nickname such as @daily.

    Raises:
        BadTiming: it is none, or no date fits it.
    """
    text = " ".join(text.split())
    if not text or len(text) > LONGEST_TEXT:
        raise BadTiming(
            _("Enter a cron text of at most %(most)d characters.") % {"most": LONGEST_TEXT}
        )
    if text.startswith("@"):
        if (plain := NICKNAMES.get(text.lower())) is None:
            known = ", ".join(NICKNAMES)
            raise BadTiming(
                _("%(text)s is not known. Use one of %(known)s.") % {"text": text, "known": known}
            )
        return plain
    if len(text.split()) not in (5, 6):
        raise BadTiming(
            _(
                "A cron text has five fields (minute, hour, day of the month, month, day of the "
                "week), or six with the seconds first; this one has %(count)d."
            )
            % {"count": len(text.split())}
        )
    try:
        slot = next(CronSim(text, datetime(2000, 1, 1)), None)
    except CronSimError as error:
        name = str(error).removeprefix("Bad ")
        if name == "day-of-month" and text.split()[-3].replace(",", "").isdigit():
            raise BadTiming(_("No date fits: such a month does not have that day.")) from error
        raise BadTiming(
            _("The field for the %(field)s cannot be read.") % {"field": _FIELDS.get(name, name)}
        ) from error
    except (AssertionError, TypeError, ValueError) as error:
        raise BadTiming(_("This cron text cannot be read.")) from error
    if slot is None:
        raise BadTiming(_("No date within the next 50 years fits this cron text."))
    return text.upper()


def check(timing: Timing, now: datetime, *, shortest: int, jitter: int) -> None:
    """Refuse a timing that fires too often, or never.

    Args:
        timing: with a cron text that `parse_cron` returned.
        now: its slots from then on are looked at.
        shortest: seconds that two slots must be apart.
        jitter: seconds by which a firing may be late; it must come before the next slot.

    Raises:
        BadTiming: it does; the message says what is the limit.
    """
    if timing.interval > LONGEST_INTERVAL:
        raise BadTiming(_("An interval is at most 366 days."))
    slots = list(islice(_until(timing.after(now), now + HORIZON), SAMPLE))
    closest = min((b - a for a, b in pairwise(slots)), default=timedelta(days=1))
    if closest < timedelta(seconds=shortest):
        raise BadTiming(
            _("Two firings must be at least %(shortest)s apart.") % {"shortest": _length(shortest)}
        )
    if timedelta(seconds=jitter) >= closest:
        raise BadTiming(
            _("The jitter must be shorter than the time between two firings (%(time)s).")
            % {"time": _length(int(closest.total_seconds()))}
        )


def names_every_hour(cron: str) -> bool:
    """Return whether a cron text fires in each of the 24 hours of its days."""
    return len(CronSim(cron, datetime(2000, 1, 1)).hours) == 24


def _until(slots: Iterator[datetime], until: datetime) -> Iterator[datetime]:
    for slot in slots:
        if slot > until:
            return
        yield slot


def _read_on_the_clock(cron: str, moment: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Slots by the local clock: a repeated time once, a skipped one at the end of its gap."""
    for clock in CronSim(cron, moment.astimezone(zone).replace(tzinfo=None)):
        while _is_skipped(clock, zone):
            clock = clock.replace(second=0) + MINUTE
        yield clock.replace(tzinfo=zone, fold=0).astimezone(UTC)


def _as_time_passes(cron: str, moment: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Slots of all local times that occur, a repeated one twice."""
    if len(cron.split()) == 5:  # with six fields CronSim adds nothing of its own to DST
        cron = f"0 {cron}"
    for slot in CronSim(cron, moment.astimezone(zone)):
        yield slot.astimezone(UTC)


def _is_skipped(clock: datetime, zone: ZoneInfo) -> bool:
    there = clock.replace(tzinfo=zone)
    return there.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) != clock


def _interval_words(seconds: int) -> str:
    return _("Every %(time)s") % {"time": _length(seconds)}


def _length(seconds: int) -> str:
    """A duration in the largest unit that divides it."""
    if seconds % 86_400 == 0:
        days = seconds // 86_400
        return ngettext("%(n)d day", "%(n)d days", days) % {"n": days}
    if seconds % 3600 == 0:
        hours = seconds // 3600
        return ngettext("%(n)d hour", "%(n)d hours", hours) % {"n": hours}
    if seconds % 60 == 0:
        minutes = seconds // 60
        return ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes}
    return ngettext("%(n)d second", "%(n)d seconds", seconds) % {"n": seconds}
