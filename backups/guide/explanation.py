"""The parts of an explanation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise


class ActionBy(StrEnum):
    """Who has to act."""

    NOBODY = "nobody"
    WAIT = "wait"
    OPERATOR = "operator"
    IAM_ADMIN = "iam_admin"
    DASHBOARD_ADMIN = "dashboard_admin"
    PROVIDER = "provider"


ACTION_BY_LABELS: dict[ActionBy, Text] = {
    ActionBy.NOBODY: _("Nobody: nothing to do"),
    ActionBy.WAIT: _("Nobody yet: wait"),
    ActionBy.OPERATOR: _("Cluster operator"),
    ActionBy.IAM_ADMIN: _("Cloud IAM administrator"),
    ActionBy.DASHBOARD_ADMIN: _("Dashboard administrator"),
    ActionBy.PROVIDER: _("Cloud support"),
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Texts for operators.

    Attributes:
        meaning: what happened, in one or two sentences.
        actor: who has to act.
        next_step: what to do.
        retryable: whether the same request can succeed later.
    """

    meaning: Text
    actor: ActionBy
    next_step: Text
    retryable: bool

    @property
    def actor_label(self) -> Text:
        return ACTION_BY_LABELS[self.actor]
