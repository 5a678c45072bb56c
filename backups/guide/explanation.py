"""Who acts, and how an explanation is made."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise


class ActionBy(StrEnum):
    """Who has to do something now."""

    NOBODY = "nobody"
    WAIT = "wait"
    OPERATOR = "operator"
    IAM_ADMIN = "iam_admin"
    DASHBOARD_ADMIN = "dashboard_admin"
    PROVIDER = "provider"


ACTION_BY_LABELS: dict[ActionBy, Text] = {
    ActionBy.NOBODY: _("Nobody: nothing to do"),
    ActionBy.WAIT: _("Nobody yet: wait"),
    ActionBy.OPERATOR: _("An operator of the cluster"),
    ActionBy.IAM_ADMIN: _("Whoever manages permissions in the cloud (IAM)"),
    ActionBy.DASHBOARD_ADMIN: _("The administrator of this dashboard"),
    ActionBy.PROVIDER: _("The cloud's support"),
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Words for an outcome.

    Attributes:
        meaning: what happened, a sentence or two.
        actor: who has to act.
        next_step: what to do.
        retryable: whether asking again, unchanged, can help.
    """

    meaning: Text
    actor: ActionBy
    next_step: Text
    retryable: bool

    @property
    def actor_label(self) -> Text:
        return ACTION_BY_LABELS[self.actor]
