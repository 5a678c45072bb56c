"""Everything a browser may send, validated."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

MAX_WAIT_MINUTES = 1440
MAX_SHOWN = 200


class BackupForm(forms.Form):
    """The button "Back up logs" and its options."""

    reason = forms.CharField(label=_("Reason"), max_length=500, required=False)
    wait_minutes = forms.IntegerField(
        label=_("Minutes to wait"), min_value=0, max_value=MAX_WAIT_MINUTES, required=False
    )
    # random per page: a form that is sent twice is one request
    idempotency_key = forms.RegexField(
        r"^[A-Za-z0-9_-]{8,64}\Z", label=_("Idempotency key"), required=False
    )


class ClusterFilterForm(forms.Form):
    """The query string of the clusters page."""

    q = forms.CharField(label=_("Name or id"), max_length=100, required=False)
    page = forms.IntegerField(label=_("Page"), min_value=1, required=False)


class ShownField(forms.CharField):
    """What a page shows: "pk:token,pk:token,…"; cleans to a list of (pk, token).

    The token says how the shown thing looked; the server compares it with the one it would give
    now, so it never has to understand one that came from outside.
    """

    item = forms.RegexField(r"^[0-9]{1,18}:[0-9a-z.]{0,60}\Z")

    def __init__(self) -> None:
        super().__init__(label=_("Shown rows"), max_length=MAX_SHOWN * 80, required=False)

    def clean(self, value: str | None) -> list[tuple[int, str]]:
        items = [item for item in super().clean(value).split(",") if item]
        if len(items) > MAX_SHOWN:
            raise forms.ValidationError(
                _("At most %(limit)d rows can be asked for at once."), params={"limit": MAX_SHOWN}
            )
        pairs = (self.item.clean(item).split(":") for item in items)
        return [(int(pk), token) for pk, token in pairs]


class LiveForm(forms.Form):
    """The question of a page that keeps itself up to date."""

    shown = ShownField()


def form_problems(form: forms.Form) -> list[str]:
    """The form's errors as sentences that name their field."""
    return [
        f"{form.fields[name].label}: {error}" if name in form.fields else str(error)
        for name, errors in form.errors.items()
        for error in errors
    ]
