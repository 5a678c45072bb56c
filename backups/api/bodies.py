"""What requests may contain. Unknown fields are refused by name, and types are not converted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import ConfigDict, Field

from backups.choices import (
    RULE_KINDS,
    AttentionCause,
    CatchUp,
    Ruling,
    ScheduledWork,
    WhenNotReady,
    Work,
)
from backups.forms import LONGEST_REASON, MAX_WAIT_MINUTES, STOP_AFTER
from backups.lists.report import Span
from backups.models.project import LONGEST_OBJECTIVE_HOURS
from backups.models.run_log import LONGEST_RULING

MOST_NAMED = 1000  # clusters that a request names; a filter selects more
MOST_LABELS = 50

# what other work than a backup takes
FIELDS_OF_WORK: dict[Work, frozenset[str]] = {
    Work.LABEL: frozenset({"labels", "remove"}),
    Work.OBJECTIVE: frozenset({"hours"}),
    Work.SETTINGS: frozenset({"bucket", "base_path", "agency", "stop_after"}),
}

_NO_NUL = r"^[^\x00]*$"  # PostgreSQL stores none
Reason = Annotated[str, Field(max_length=LONGEST_REASON, pattern=_NO_NUL)]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$|^$")]
Hours = Annotated[int, Field(ge=1, le=LONGEST_OBJECTIVE_HOURS)]
Number = Annotated[int, Field(ge=1, lt=2**63)]
Name = Annotated[str, Field(max_length=100, pattern=_NO_NUL)]
Text = Annotated[str, Field(max_length=512, pattern=_NO_NUL)]
# read as those of queries are
Moment = Annotated[
    str,
    Field(
        max_length=40,
        pattern=r"^[^\s\x00][^\x00]*$",  # empty would be none
        json_schema_extra={"format": "date-time"},
    ),
]
Labels = Annotated[dict[Text, Text], Field(max_length=MOST_LABELS)]


class NoFields(Schema):
    """An empty body."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ReasonBody(NoFields):
    """An optional reason."""

    reason: Reason = ""


class AgainBody(ReasonBody):
    """Optional fields of a retry."""

    idempotency_key: Key = ""
    anyway: bool = False


class BackupBody(AgainBody):
    """Optional fields of a request for a backup."""

    wait_minutes: Annotated[int, Field(ge=0, le=MAX_WAIT_MINUTES)] = 0


class BatchBody(AgainBody):
    """Fields of a request for a batch: either `filter` or `clusters`, and what the work needs."""

    filter: Annotated[str, Field(max_length=2000)] = ""
    clusters: Annotated[list[Number], Field(max_length=MOST_NAMED)] = []
    work: Literal[*Work.values] = Work.BACKUP.value  # type: ignore[valid-type]
    labels: Labels = {}
    remove: Annotated[list[Text], Field(max_length=MOST_LABELS)] = []
    hours: Hours | None = None
    bucket: Text = ""
    base_path: Text = ""
    agency: Text = ""
    stop_after: Annotated[int, Field(ge=0, le=10_000)] = STOP_AFTER

    def values(self) -> dict[str, Any]:
        """What other work than a backup needs, as `BatchForm.values`."""
        return self.model_dump(include=set(FIELDS_OF_WORK.get(Work(self.work), ())))


class SettleBody(NoFields):
    """What became of a run, and how that is known."""

    ruling: Literal[*Ruling.values]  # type: ignore[valid-type]
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_RULING, pattern=_NO_NUL)]


class ExportBody(NoFields):
    """Optional fields of an export."""

    format: Literal["csv", "excel", "jsonl"] = "csv"
    time_zone: Annotated[str, Field(max_length=64)] = ""


class RegisterBody(NoFields):
    """A cluster by the cloud's id, and the connection that reaches it."""

    connection: Number
    cluster_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class LabelsBody(NoFields):
    """All labels of a cluster; "" for a label without a value."""

    labels: Labels


class ObjectiveBody(NoFields):
    """The objective of a cluster; null for its project's."""

    hours: Hours | None


class ProjectObjectiveBody(NoFields):
    """The objective of a project."""

    hours: Hours


class LogSettingsBody(ReasonBody):
    """Log backup on, with its place, or off."""

    enabled: bool
    bucket: Text = ""
    base_path: Text = ""
    agency: Text = ""


class LogPolicyBody(ReasonBody):
    """The cloud's daily log backup: hour and UTC offset, or off."""

    enabled: bool
    hour: Annotated[int, Field(ge=0, le=23)] | None = None
    offset: Annotated[str, Field(pattern=r"^[+-]\d\d:\d\d$")] = "+00:00"


class EntryBody(NoFields):
    """An entry of clouds.yaml and a region."""

    cloud: Annotated[Name, Field(min_length=1)]
    region: Name = ""


class FileChecksBody(NoFields):
    """Whether files in the bucket are checked."""

    enabled: bool


class ScheduleBody(ReasonBody):
    """A schedule as a whole: what is left out is as in a new one, but the ping URL stays."""

    name: Annotated[Name, Field(min_length=1)]
    cron: Name = ""
    minutes: Annotated[int, Field(ge=1, le=527_040)] | None = None
    zone: Annotated[str, Field(max_length=64)] = "UTC"
    jitter: Annotated[int, Field(ge=0, le=3600)] = 0
    work: Literal[*ScheduledWork.values] = ScheduledWork.BACKUP.value  # type: ignore[valid-type]
    filter: Annotated[str, Field(max_length=2000, pattern=_NO_NUL)] = ""
    clusters: Annotated[list[Number], Field(max_length=MOST_NAMED)] = []
    when_not_ready: Literal[*WhenNotReady.values] = WhenNotReady.SKIP.value  # type: ignore[valid-type]
    wait_minutes: Annotated[int, Field(ge=0, le=MAX_WAIT_MINUTES)] = 0
    catch_up: Literal[*CatchUp.values] = CatchUp.ONE.value  # type: ignore[valid-type]
    overlap: bool = False
    report_channel: Number | None = None
    report_span: Literal[Span.LAST_MONTH.value, Span.LAST_WEEK.value] | None = None  # type: ignore[name-defined]
    ping_url: Annotated[str, Field(max_length=500, pattern=_NO_NUL)] | None = None


class ChannelBody(NoFields):
    """A channel by its name."""

    name: Annotated[Name, Field(min_length=1)]
    url: Annotated[str, Field(max_length=2000, pattern=_NO_NUL)] = ""
    enabled: bool | None = None


class ChangedChannelBody(ChannelBody):
    """A channel by its number, which may get another name or signing secret."""

    renew_secret: bool = False


class RuleBody(NoFields):
    """A rule; null for all projects, "" for clusters with any labels."""

    channel: Number
    kinds: Annotated[list[Literal[*(kind.value for kind in RULE_KINDS)]], Field(min_length=1)]  # type: ignore[valid-type]
    project: Number | None
    label: Annotated[str, Field(max_length=200, pattern=r"^$|^[^\s\x00][^\x00]*$")] = ""


class HandlingBody(NoFields):
    """What is handled: a cluster, or a cause in a project, or with null in all that one may."""

    cause: Literal[*AttentionCause.values]  # type: ignore[valid-type]
    cluster: Number | None = None
    project: Number | None = None
    reason: Annotated[Reason, Field(min_length=1)]
    until: Moment | None = None
