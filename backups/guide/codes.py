"""Each code of the API: how it is classified, what it means, who acts, what to do.

Codes and their meaning: docs/css-api.md section 4 (appendix error_codes of the API reference)
and section 6 (API gateway).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

from backups.choices import Outcome

from .explanation import ActionBy, Text


@dataclass(frozen=True, slots=True)
class CodeEntry:
    """One code of the API: what it is classified as, and its own words."""

    outcome: Outcome
    meaning: Text
    actor: ActionBy
    next_step: Text
    retryable: bool = False


def code_family(code: str) -> str:
    """Normalise a code: "css.4" → "CSS.0004", "APIGW.0301" stays; other spellings are kept."""
    match = re.fullmatch(r"\s*([A-Za-z]{2,10})[.\s_-]?(\d{1,5})\s*", code)
    if match is None:
        return code.strip()[:64]
    return f"{match[1].upper()}.{match[2].zfill(4)}"


_O = Outcome
_A = ActionBy


def _busy(meaning: Text) -> CodeEntry:
    return CodeEntry(
        _O.CONFLICT, meaning, _A.WAIT, _("Wait until it has ended, then try again."), True
    )


def _missing(meaning: Text) -> CodeEntry:
    return CodeEntry(
        _O.NOT_FOUND,
        meaning,
        _A.OPERATOR,
        _("Synchronise the clusters; check project, region and the user's permissions."),
    )


def _invalid(meaning: Text, next_step: Text, actor: ActionBy = _A.OPERATOR) -> CodeEntry:
    return CodeEntry(_O.INVALID_REQUEST, meaning, actor, next_step)


def _broken(meaning: Text) -> CodeEntry:
    return CodeEntry(
        _O.SERVER_ERROR,
        meaning,
        _A.PROVIDER,
        _("The cloud's records are read to find out. If it repeats, give support the request id."),
        True,
    )


_FIX_PARAMETERS = _("Compare the cluster's log backup settings with the cloud's rules.")
_UNFREEZE = _("Settle the account or lift the freeze in the cloud's console.")

CODES: dict[str, CodeEntry] = {
    # another operation holds the cluster
    "CSS.0011": _busy(_("Another operation is running on the cluster, or a node is faulty.")),
    "CSS.0029": _busy(_("The cluster is still being created.")),
    "CSS.0077": _busy(_("The cluster is being scaled.")),
    "CSS.3004": _busy(_("A backup of this cluster is already in progress.")),
    "CSS.3016": _busy(_("A backup file of this cluster is being deleted.")),
    "CSS.6013": _busy(_("Another operation is changing the cluster's parameters.")),
    "CSS.0031": CodeEntry(
        _O.CONFLICT,
        _("What was to be made exists already."),
        _A.OPERATOR,
        _("Look at the cluster in the console."),
    ),
    # the cluster is not in the state that the call needs
    "CSS.0004": CodeEntry(
        _O.PRECONDITION_FAILED,
        _("The operation does not fit the cluster's state: most often log backup is switched off."),
        _A.OPERATOR,
        _("Enable log backup for the cluster, then back up again."),
    ),
    # parameters and settings
    "CSS.0001": _invalid(_("The cloud calls the parameters invalid."), _FIX_PARAMETERS),
    "CSS.0006": _invalid(_("The cloud calls the request empty."), _FIX_PARAMETERS),
    "CSS.0026": _invalid(_("The logs asked for are too large."), _("Ask for fewer log lines.")),
    "CSS.0040": _invalid(_("The cloud could not process the request."), _FIX_PARAMETERS),
    "CSS.5018": _invalid(_("The backup start time is invalid."), _FIX_PARAMETERS),
    "CSS.5020": _invalid(_("The backup period is invalid."), _FIX_PARAMETERS),
    "CSS.5037": _invalid(_("A parameter is not known."), _FIX_PARAMETERS),
    "CSS.5038": _invalid(_("A parameter is out of range."), _FIX_PARAMETERS),
    "CSS.5056": _invalid(_("A text is too long."), _FIX_PARAMETERS),
    "CSS.5130": _invalid(
        _("The agency's name is invalid."), _("Correct the agency in the log backup settings.")
    ),
    "CSS.5178": _invalid(_("The time zone is invalid."), _FIX_PARAMETERS),
    "CSS.5108": _invalid(
        _("The cloud does not support this operation."), _("Look at the cluster in the console.")
    ),
    "CSS.5140": _invalid(
        _("This cluster does not support log backup."),
        _("Upgrade the cluster, or leave it out of log backup."),
    ),
    "CSS.5090": CodeEntry(
        _O.INVALID_REQUEST,
        _("The cluster's present status does not allow a log backup."),
        _A.WAIT,
        _("Wait until the cluster is available again, then back up again."),
        True,
    ),
    "CSS.0048": _invalid(
        _("The bucket does not exist, or the agency may not write to it."),
        _("Check bucket and agency in the log backup settings; the agency needs OBS rights."),
    ),
    "CSS.0081": _invalid(
        _("The agency could not be created."),
        _("Create the agency in IAM, or grant the right to."),
        _A.IAM_ADMIN,
    ),
    "CSS.3026": _invalid(_("The backup file is missing."), _("Look at the bucket.")),
    "CSS.5111": _invalid(_("The backup file is missing."), _("Look at the bucket.")),
    "CSS.0082": _invalid(_("The record was not found."), _("Read the records again.")),
    # accounts
    "CSS.0021": _invalid(_("The cloud account is frozen."), _UNFREEZE, _A.PROVIDER),
    "CSS.5301": _invalid(_("The cluster is frozen."), _UNFREEZE, _A.PROVIDER),
    "CSS.0023": CodeEntry(
        _O.INVALID_REQUEST,
        _("The cloud has too few resources or the quota is used up."),
        _A.PROVIDER,
        _("Ask for more quota, or try later."),
        True,
    ),
    # permissions
    "CSS.0010": CodeEntry(
        _O.FORBIDDEN,
        _("The dashboard's cloud user is not authorised for this operation."),
        _A.IAM_ADMIN,
        _("Grant the user the CSS administrator role in this project."),
    ),
    "CSS.0051": CodeEntry(
        _O.FORBIDDEN,
        _("A policy forbids this action to the dashboard's cloud user."),
        _A.IAM_ADMIN,
        _("Allow css:cluster log actions in the user's policy."),
    ),
    "CSS.5045": CodeEntry(
        _O.FORBIDDEN,
        _("This tenant may not use the operation."),
        _A.IAM_ADMIN,
        _("Check the project and the user's roles."),
    ),
    # missing
    "CSS.0002": _missing(_("The cluster does not exist.")),
    "CSS.0015": _missing(_("The cluster was not found, or our user may not see it.")),
    "CSS.0016": _missing(_("The cluster does not exist.")),
    "CSS.0022": _missing(_("The instance does not exist.")),
    "CSS.0028": _missing(_("The object does not exist.")),
    "CSS.0047": _missing(_("The cluster is missing or was deleted.")),
    "CSS.1103": _missing(_("The cluster does not exist.")),
    "CSS.3027": _missing(_("The object does not exist.")),
    # the service itself
    "CSS.0005": _broken(_("The service reported an internal error.")),
    "CSS.0036": _broken(_("The service reported an internal error (as HTTP 400).")),
    "CSS.1004": _broken(_("The service's database failed.")),
    "CSS.9999": _broken(_("The service reported that the operation failed.")),
    # the API gateway
    "APIGW.0101": CodeEntry(
        _O.NOT_FOUND,
        _("The gateway knows no such API: the endpoint is wrong."),
        _A.DASHBOARD_ADMIN,
        _("Check region, catalog and css_endpoint_override in clouds.yaml."),
    ),
    "APIGW.0301": CodeEntry(
        _O.UNAUTHENTICATED,
        _("The gateway did not accept our token."),
        _A.DASHBOARD_ADMIN,
        _("Check the credentials of this cloud in clouds.yaml."),
    ),
    "APIGW.0302": CodeEntry(
        _O.FORBIDDEN,
        _("The gateway refuses this user or address."),
        _A.IAM_ADMIN,
        _("Check access policies of the account."),
    ),
    "APIGW.0305": CodeEntry(
        _O.UNAUTHENTICATED,
        _("The gateway could not verify our sign-in."),
        _A.DASHBOARD_ADMIN,
        _("Check the credentials of this cloud in clouds.yaml."),
    ),
    "APIGW.0306": CodeEntry(
        _O.FORBIDDEN,
        _("The gateway refuses access to this API."),
        _A.IAM_ADMIN,
        _("Check the user's permissions."),
    ),
    "APIGW.0307": CodeEntry(
        _O.UNAUTHENTICATED,
        _("The token must be renewed, or belongs to another region."),
        _A.DASHBOARD_ADMIN,
        _("Check region_name of this cloud in clouds.yaml."),
    ),
    "APIGW.0308": CodeEntry(
        _O.THROTTLED,
        _("The gateway's limit of requests a second was passed."),
        _A.WAIT,
        _("It is tried again by itself while attempts remain."),
        True,
    ),
    "APIGW.0310": CodeEntry(
        _O.FORBIDDEN,
        _("The project is not allowed to use this API."),
        _A.IAM_ADMIN,
        _("Check the project and the user's roles."),
    ),
    "APIGW.0601": _broken(_("The gateway reported an internal error.")),
    "APIGW.0613": _broken(_("The gateway is not available.")),
}
