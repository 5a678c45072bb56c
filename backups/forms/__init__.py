"""Forms: validation of what browsers and API clients send."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from backups.choices import Ruling, Work
from backups.models import ExportAs, Listing, RetentionKind
from backups.models.cluster import parse_labels
from backups.models.project import LONGEST_OBJECTIVE_HOURS
from backups.models.retention import LONGEST_DAYS
from backups.models.run_log import LONGEST_RULING
from backups.rules import cloud_entries, log_settings
from dashboard.web.display import COLUMNS, DENSITIES, PAGE_SIZES, THEMES
from dashboard.web.moments import MomentField

MAX_SHOWN = 200


class LabelsField(forms.CharField):
    """Labels as text, cleaned to a mapping of keys to values."""

    def clean(self, value: str | None) -> dict[str, str]:
        return parse_labels(super().clean(value))


class LabelsForm(forms.Form):
    """A cluster's labels, and those that the form was rendered with."""

    labels = LabelsField(label=_("Labels"), max_length=6000, required=False)
    seen = LabelsField(label=_("Shown labels"), max_length=6000, required=False)


class ArchiveForm(forms.Form):
    """Reason for archiving a cluster."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        error_messages={"required": _("Enter a reason for archiving the cluster.")},
    )


class AdoptForm(forms.Form):
    """How to adopt a copied or moved database, and why."""

    queued = forms.ChoiceField(
        choices=[
            (
                "cancel",
                _("Cancel: this is a copy, and the original instance may have sent them"),
            ),
            (
                "send",
                _("Send from here: the instance was moved, and no other instance uses its data"),
            ),
        ],
        error_messages={"required": _("Choose one.")},
    )
    reason = forms.CharField(
        max_length=500,
        error_messages={"required": _("Enter a reason for adopting the database.")},
    )


class ObjectiveForm(forms.Form):
    """Maximum age of the last verified backup; empty for the project's default."""

    hours = forms.IntegerField(
        label=_("Objective in hours"),
        min_value=1,
        max_value=LONGEST_OBJECTIVE_HOURS,
        required=False,
    )


class ShownField(forms.CharField):
    """Rows on a page, as "pk:token,pk:token,…"; cleaned to a list of (pk, token).

    A token identifies the displayed state of a row. The server compares it with the current token
    and never interprets it.
    """

    # one regular expression for all: every open page sends this each second
    items = re.compile(r"(?:[0-9]{1,18}:[0-9a-z._]{0,60}(?:,|\Z))*", re.ASCII)

    def __init__(self) -> None:
        super().__init__(label=_("Shown rows"), max_length=MAX_SHOWN * 80, required=False)

    def clean(self, value: str | None) -> list[tuple[int, str]]:
        text: str = super().clean(value)
        if not self.items.fullmatch(text):
            raise forms.ValidationError(_("The list of shown rows is not valid."))
        items = [item for item in text.split(",") if item]
        if len(items) > MAX_SHOWN:
            raise forms.ValidationError(
                _("At most %(limit)d rows can be requested at once."), params={"limit": MAX_SHOWN}
            )
        pairs = (item.split(":") for item in items)
        return [(int(pk), token) for pk, token in pairs]


class LiveForm(forms.Form):
    """The poll of a page that updates itself."""

    shown = ShownField()


def _name_input() -> forms.TextInput:
    return forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})


class SettingsFormBase(forms.Form):
    """Fields of every form that changes settings in the cloud."""

    # fingerprint of the settings that the form was rendered with
    seen = forms.RegexField(
        r"^[0-9a-f]{32}\Z",
        label=_("Shown settings"),
        error_messages={
            "required": _("The form is out of date. Reload the page."),
            "invalid": _("The form is out of date. Reload the page."),
        },
    )
    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        required=False,
        help_text=_("Optional. Stored in the audit trail."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class LogStorageForm(SettingsFormBase):
    """Destination of log backups."""

    bucket = forms.CharField(
        label=_("OBS bucket"),
        max_length=63,
        widget=_name_input(),
        help_text=_("In the cluster's region, with storage class Standard or Warm."),
    )
    base_path = forms.CharField(
        label=_("Path in the bucket"),
        max_length=log_settings.MOST_PATH,
        widget=_name_input(),
        help_text=_("For example css/log, without a leading slash."),
    )
    agency = forms.CharField(
        label=_("IAM agency"),
        max_length=64,
        widget=_name_input(),
        help_text=_("Allows CSS to read, write, list and delete objects in the bucket."),
    )
    field_order = ["seen", "bucket", "base_path", "agency", "reason"]

    def _checked(self, name: str, problem: Callable[[str], str]) -> str:
        value: str = self.cleaned_data[name]
        if found := problem(value):
            raise forms.ValidationError(found)
        return value

    def clean_bucket(self) -> str:
        return self._checked("bucket", log_settings.bucket_problem)

    def clean_base_path(self) -> str:
        return self._checked("base_path", log_settings.path_problem)

    def clean_agency(self) -> str:
        return self._checked("agency", log_settings.agency_problem)


class LogBackupOffForm(SettingsFormBase):
    """Turning log backup off, after the warning was confirmed."""

    confirmed = forms.BooleanField(
        label=_("I have read this"),
        error_messages={"required": _("Confirm that you have read the warning.")},
    )


class LogPolicyForm(SettingsFormBase):
    """Hour of the cloud's daily backup; cleaned to `period` in the cloud's notation."""

    hour = forms.TypedChoiceField(
        label=_("Hour"), choices=[(hour, f"{hour:02d}:00") for hour in range(24)], coerce=int
    )
    offset = forms.ChoiceField(
        label=_("Time zone"), choices=[(each, f"GMT{each}") for each in log_settings.OFFSETS]
    )
    field_order = ["seen", "hour", "offset", "reason"]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if "hour" in cleaned and "offset" in cleaned:
            cleaned["period"] = log_settings.period(cleaned["hour"], cleaned["offset"])
        return cleaned


class LogSearchForm(forms.Form):
    """Search in a node's log."""

    node = forms.CharField(label=_("Node"), max_length=255)
    type = forms.ChoiceField(
        label=_("Log"), choices=[(each, each) for each in log_settings.LOG_TYPES], required=False
    )
    level = forms.MultipleChoiceField(
        label=_("Level"), choices=[(each, each) for each in log_settings.LEVELS], required=False
    )
    keyword = forms.RegexField(
        log_settings.KEYWORD,
        label=_("Keyword"),
        required=False,
        strip=False,
        error_messages={
            "invalid": _(
                "At most 64 letters, digits, spaces and _ - . [ ]; the cloud accepts no others."
            )
        },
    )
    before = MomentField(label=_("Before"), required=False, latest=True)
    limit = forms.IntegerField(
        label=_("Lines"),
        min_value=1,
        max_value=log_settings.MOST_LINES,
        required=False,
        initial=log_settings.USUAL_LINES,
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        some = 0 < len(set(cleaned.get("level", []))) < len(log_settings.LEVELS)
        if cleaned.get("type") == "deprecation" and some:
            self.add_error("level", _("The cloud returns deprecation logs only for all levels."))
        return cleaned


_ENTRY_LABELS = {
    "name": _("Name of the entry"),
    "auth_url": _("Address of the identity service"),
    "region": _("Region"),
    "project": _("Project"),
    "username": _("User"),
    "user_domain": _("Domain of the user"),
    "target_domain": _("Domain that created the agency"),
    "agency": _("Agency"),
}
_ENTRY_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


class CloudEntryForm(forms.Form):
    """What an entry of clouds.yaml names, without secrets; an empty field means the example.

    Args:
        kind: a key of KINDS.
    """

    def __init__(self, kind: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in cloud_entries.KINDS[kind].defaults:
            field = forms.CharField(label=_ENTRY_LABELS[name], max_length=100, required=False)
            field.widget.attrs["spellcheck"] = "false"
            self.fields[name] = field

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        if name and not _ENTRY_NAME.fullmatch(name):
            raise forms.ValidationError(_("Letters, digits and . _ - only."))
        return name


class EntryForm(forms.Form):
    """An entry of clouds.yaml and a region."""

    cloud = forms.CharField(label=_("Entry"), max_length=100)
    region = forms.CharField(label=_("Region"), max_length=100, required=False)


class RegisterForm(forms.Form):
    """A cluster to register by its id."""

    connection = forms.IntegerField(label=_("Connection"), min_value=1)
    cluster_id = forms.RegexField(
        r"^[A-Za-z0-9._-]{1,64}\Z",
        label=_("Cluster id"),
        error_messages={
            "invalid": _("Enter 1 to 64 letters, digits, dots, dashes and underscores.")
        },
    )


class SavedViewForm(forms.Form):
    """A named filter of a list."""

    listing = forms.ChoiceField(label=_("List"), choices=Listing.choices, required=False)
    name = forms.CharField(label=_("Name"), max_length=80)
    query = forms.CharField(label=_("Filter"), max_length=2000, required=False)
    shared = forms.BooleanField(label=_("Offer it to everyone"), required=False)


class ExportForm(forms.Form):
    """Filter and format of an export."""

    format = forms.ChoiceField(label=_("Format"), choices=ExportAs.choices)
    local = forms.BooleanField(label=_("Times"), required=False)  # of CSV for Excel
    query = forms.CharField(label=_("Filter"), max_length=2000, required=False)


def _days(label: Any) -> forms.IntegerField:
    return forms.IntegerField(label=label, min_value=1, max_value=LONGEST_DAYS, required=False)


class RetentionRunForm(forms.Form):
    """Running the clean-up by the policy that the page showed."""

    seen = forms.RegexField(
        r"^[0-9a-f]{16}\Z",
        label=_("Shown policy"),
        error_messages=dict.fromkeys(
            ("required", "invalid"), _("The form is out of date. Reload the page.")
        ),
    )


class RetentionForm(RetentionRunForm):
    """Days after which data is deleted or masked; empty for never."""

    successes_days = _days(_("Verified runs"))
    failures_days = _days(_("All other runs"))
    audit_days = _days(_("Audit trail"))
    personal_days = _days(_("Names and addresses"))
    reason = forms.CharField(label=_("Reason"), max_length=500, required=False)
    confirmed = forms.BooleanField(required=False)

    def days(self) -> dict[str, int | None]:
        """The columns of the policy."""
        return {
            f"{kind.value}_days": self.cleaned_data[f"{kind.value}_days"] for kind in RetentionKind
        }


def form_problems(form: forms.Form) -> list[str]:
    """The form's errors, each prefixed by the label of its field."""
    return [
        f"{form.fields[name].label}: {error}" if name in form.fields else str(error)
        for name, errors in form.errors.items()
        for error in errors
    ]


_SIZES = [(str(size), str(size)) for size in PAGE_SIZES]
_PLACES = sorted({str(place) for places in COLUMNS.values() for place in places})


class DisplayForm(forms.Form):
    """Theme, density, shortcut keys and page size."""

    theme = forms.ChoiceField(label=_("Theme"), choices=list(THEMES.items()), required=False)
    density = forms.ChoiceField(label=_("Density"), choices=[*DENSITIES.items()], required=False)
    keys = forms.BooleanField(label=_("Shortcut keys"), required=False)
    rows = forms.ChoiceField(label=_("Rows on a page"), choices=_SIZES)


class ListForm(forms.Form):
    """Density, page size and shown columns of a list."""

    list = forms.ChoiceField(label=_("List"), choices=[(name, name) for name in COLUMNS])
    density = forms.ChoiceField(label=_("Density"), choices=[*DENSITIES.items()], required=False)
    rows = forms.ChoiceField(label=_("Rows on a page"), choices=_SIZES)
    column = forms.MultipleChoiceField(
        label=_("Columns"), choices=[(place, place) for place in _PLACES], required=False
    )


MAX_WAIT_MINUTES = 1440
MOST_SELECTED = 100  # a page of clusters
LONGEST_REASON = 500
STOP_AFTER = 5  # failures of one kind that end a batch of changes
IDEMPOTENCY_KEY = r"^[A-Za-z0-9_-]{8,64}\Z"


class BackupForm(forms.Form):
    """The button "Back up logs" and its options."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=LONGEST_REASON,
        required=False,
        error_messages={"required": _("A reason is required for every backup.")},
    )
    wait_minutes = forms.IntegerField(
        label=_("Minutes to wait"), min_value=0, max_value=MAX_WAIT_MINUTES, required=False
    )
    # random for each page, so a form submitted twice makes one request
    idempotency_key = forms.RegexField(IDEMPOTENCY_KEY, label=_("Idempotency key"), required=False)
    # the user has seen why the cloud would reject it
    anyway = forms.BooleanField(label=_("Back up anyway"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = settings.BACKUP_REASON_REQUIRED


class ClustersField(forms.MultipleChoiceField):
    """Selected clusters, cleaned to a list of primary keys."""

    def validate(self, value: list[str]) -> None:
        if self.required and not value:
            raise forms.ValidationError(self.error_messages["required"], code="required")
        if len(value) > MOST_SELECTED:
            raise forms.ValidationError(
                _("At most %(most)d clusters can be backed up at once."),
                params={"most": MOST_SELECTED},
            )
        if not all(each.isascii() and each.isdigit() and len(each) < 19 for each in value):
            raise forms.ValidationError(_("One of the selected clusters is not valid."))

    def clean(self, value: Any) -> list[int]:
        return list(dict.fromkeys(map(int, super().clean(value))))


class SelectedForm(forms.Form):
    """The rows that were selected on a list of clusters, and what to do with them.

    Without rows a filter selects.
    """

    cluster = ClustersField(label=_("Clusters"), required=False)
    work = forms.ChoiceField(label=_("Work"), choices=Work.choices, required=False)

    def clean_work(self) -> Work:
        return Work(self.cleaned_data["work"] or Work.BACKUP)


class BatchForm(SelectedForm, BackupForm):
    """A batch: its rows or its filter, and what to do with those that are not ready."""

    wait = forms.BooleanField(label=_("Wait"), required=False)  # for busy clusters: wait_minutes
    query = forms.CharField(label=_("Filter"), max_length=2000, required=False)
    labels = LabelsField(label=_("Labels"), max_length=6000, required=False)
    remove = forms.CharField(label=_("Labels to remove"), max_length=2000, required=False)
    hours = forms.IntegerField(label=_("Objective in hours"), required=False)
    bucket = forms.CharField(label=_("OBS bucket"), max_length=63, required=False)
    base_path = forms.CharField(
        label=_("Path in the bucket"), max_length=log_settings.MOST_PATH, required=False
    )
    agency = forms.CharField(label=_("IAM agency"), max_length=64, required=False)
    stop_after = forms.IntegerField(label=_("Failures"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.data.get("work") not in (None, "", Work.BACKUP):
            self.fields["reason"].required = False

    def values(self) -> dict[str, Any]:
        """What other work than a backup needs."""
        match self.cleaned_data["work"]:
            case Work.LABEL:
                keys = re.split(r"[,\s]+", self.cleaned_data["remove"])
                return {"labels": self.cleaned_data["labels"], "remove": [k for k in keys if k]}
            case Work.OBJECTIVE:
                return {"hours": self.cleaned_data["hours"]}
            case Work.SETTINGS:
                values = {
                    name: self.cleaned_data[name] for name in ("bucket", "base_path", "agency")
                }
                failures = self.cleaned_data["stop_after"]
                return {**values, "stop_after": STOP_AFTER if failures is None else failures}
        return {}


class RetryForm(BackupForm):
    """What failed in a batch, again."""

    wait_minutes = None  # type: ignore[assignment]  # Django's way to leave a field out


class SettleForm(forms.Form):
    """What somebody found out about a run that the cloud's records cannot settle."""

    ruling = forms.ChoiceField(
        label=_("What happened"),
        choices=Ruling.choices,
        error_messages={"required": _("Choose one.")},
    )
    reason = forms.CharField(
        label=_("How you know"),
        max_length=LONGEST_RULING,
        error_messages={"required": _("Enter where you looked. It is stored with the run.")},
    )
