"""Tags and filters for runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from django import template
from django.db.models import TextChoices
from django.utils import timezone
from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.translation import ngettext
from heroicons.templatetags.heroicons import heroicon_mini

from backups.choices import Evidence, Outcome, RunState, Trigger
from backups.models import BackupRun
from backups.views import badges, charts, presentation

register = template.Library()
register.filter("counted", charts.counted)
register.filter("day_summary", charts.day_summary)
register.filter("headline", presentation.headline)
register.filter("answer", presentation.answer)
register.filter("explanation", presentation.explanation)
register.filter("why_no_record", presentation.why_no_record)
register.filter("request_text", presentation.request_text)

# A text from outside longer than this is cut on a page; the JSON has all of it.
LONGEST_TEXT = 10_000
NONE = "\N{EN DASH}"  # stands where there is no value


class Clock:
    """Formats times as HTML; the current time and the viewer's zone are looked up once."""

    def __init__(self) -> None:
        self.now = timezone.now()
        self.zone = timezone.get_current_timezone()
        self._agos: dict[presentation.Distance, str] = {}

    def when(self, moment: datetime) -> SafeString:
        """A moment as relative time; the exact one on hover. live.js keeps it current."""
        distance = presentation.distance(moment, self.now)
        if distance not in self._agos:
            self._agos[distance] = str(escape(presentation.distance_words(distance)))
        utc, local = presentation.utc(moment), presentation.local(moment, self.zone)
        hover = utc if local == utc else f"{local} ({utc})"
        return _time(moment, hover, self._agos[distance], " data-ago")

    def at(self, moment: datetime, *, milliseconds: bool = False) -> SafeString:
        """A moment in the viewer's zone, to the second or the millisecond; in UTC on hover."""
        text = presentation.local(moment, self.zone, milliseconds=milliseconds)
        return _time(moment, presentation.utc(moment), text)


def _time(moment: datetime, hover: str, text: str, mark: str = "") -> SafeString:
    # nothing in it but digits, and names of zones and words of ours that are escaped already
    machine = moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6]
    return SafeString(f'<time datetime="{machine}Z" title="{hover}"{mark}>{text}</time>')


@register.simple_tag
def when(moment: datetime | None) -> SafeString | str:
    """A moment as relative time; the exact one on hover."""
    return NONE if moment is None else Clock().when(moment)


@register.simple_tag
def exact(moment: datetime | None) -> SafeString | str:
    """A moment in the viewer's zone, to the millisecond; in UTC on hover."""
    return NONE if moment is None else Clock().at(moment, milliseconds=True)


@register.simple_tag
def at(moment: datetime | None) -> SafeString | str:
    """A moment in the viewer's zone, to the second; in UTC on hover."""
    return NONE if moment is None else Clock().at(moment)


@register.simple_tag
def state_badge(state: str, text: str = "") -> SafeString:
    """A state as icon, word and colour.

    Args:
        state: a RunState.
        text: words in place of the state's label.
    """
    return _run_badge(state, text or str(badges.RUN_STATES[state].label))


@cache  # there are few, and a list has one in each row
def _run_badge(state: str, text: str) -> SafeString:
    return badges.RUN_STATES[state].render(text, f"is-{state}")


@register.simple_tag
def badge(state: badges.Badge) -> SafeString:
    """A badge as HTML."""
    return state.render()


@register.simple_tag
def tone_icon(tone: str) -> str:
    """The icon of a tone that is not a run's state."""
    return _icon(badges.TONE_ICONS.get(tone, "information-circle"))


@cache
def _icon(name: str) -> SafeString:
    return SafeString(heroicon_mini(name, aria_hidden="true"))


@register.filter
def tone(state: str) -> str:
    """The colour token of a state."""
    return badges.RUN_STATES[state].tone


@register.filter
def state_label(state: str) -> str:
    """Label of a state; an unknown value is returned unchanged."""
    return label(RunState, state)


@register.filter
def outcome_label(outcome: str) -> str:
    """Label of an outcome; an unknown value is returned unchanged."""
    return label(Outcome, outcome)


@register.filter
def trigger_label(trigger: str) -> str:
    """What caused a run, in words."""
    return label(Trigger, trigger)


def label(choices: type[TextChoices], value: str) -> str:
    """Label of a value; an unknown value is returned unchanged."""
    try:
        return str(choices(value).label)
    except ValueError:
        return value


@register.filter
def steps(run: BackupRun) -> list[presentation.Step]:
    """The steps of a run."""
    not_accepted = run.settled_by_hand or run.is_unverified_unanswered
    return presentation.steps(run.run_state, accepted=not not_accepted, tried=bool(run.outcome))


@register.filter
def evidence_label(evidence: str) -> str:
    """Label of the evidence for a run's job."""
    return label(Evidence, evidence) if evidence else ""


@register.filter
def evidence_explained(evidence: str) -> str:
    """Explanation of the evidence."""
    return str(presentation.EVIDENCE.get(evidence, ""))


@register.filter
def lasting(duration: timedelta | None) -> str:
    """A duration in words."""
    return NONE if duration is None else presentation.lasting(duration)


@register.filter
def transport_label(kind: str) -> str:
    """How an exchange failed below HTTP."""
    return str(presentation.TRANSPORT_LABELS.get(kind, kind))


@register.filter
def body_label(kind: str) -> str:
    """The kind of a response body."""
    return str(presentation.BODY_LABELS.get(kind, ""))


@register.filter
def despite_answer(run: BackupRun) -> str:
    """Why a run has a job although its request was not accepted; "" elsewhere."""
    return presentation.despite_answer(run)


@register.filter
def purpose_label(purpose: str) -> str:
    """What a call was for."""
    return str(presentation.PURPOSE_LABELS.get(purpose, purpose))


@register.filter
def shortened(text: str, limit: int = 200) -> str:
    """The start of a text, with an ellipsis where it goes on."""
    return text if len(text) <= limit else f"{text[:limit].rstrip()}…"


@register.filter
def displayable(text: str) -> str:
    """A text from outside, truncated to what a page can hold."""
    if len(text) <= LONGEST_TEXT:
        return text
    more = len(text) - LONGEST_TEXT
    told = ngettext(
        "[%(count)s more character: see the JSON]",
        "[%(count)s more characters: see the JSON]",
        more,
    )
    return f"{text[:LONGEST_TEXT]}… {told % {'count': f'{more:,}'}}"
