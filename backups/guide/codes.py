"""Error codes of the API: outcome, meaning, who acts, and what to do.

Sources: docs/css-api.md section 4 (appendix error_codes of the API reference)
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
    """One error code: its outcome and its own texts."""

    outcome: Outcome
    meaning: Text
    actor: ActionBy
    next_step: Text
    retryable: bool = False


def code_family(code: str) -> str:
    """Normalise a code ("css.4" → "CSS.0004"); unknown spellings are kept."""
    match = re.fullmatch(r"\s*([A-Za-z]{2,10})[.\s_-]?(\d{1,5})\s*", code)
    if match is None:
        return code.strip()[:64]
    return f"{match[1].upper()}.{match[2].zfill(4)}"


_O = Outcome
_A = ActionBy


def _busy(meaning: Text) -> CodeEntry:
    return CodeEntry(
        _O.CONFLICT, meaning, _A.WAIT, _("Wait until it ends, then back up again."), True
    )


def _missing(meaning: Text) -> CodeEntry:
    return CodeEntry(
        _O.NOT_FOUND,
        meaning,
        _A.OPERATOR,
        _("Synchronise the clusters. Check project, region and the user's permissions."),
    )


def _invalid(meaning: Text, next_step: Text, actor: ActionBy = _A.OPERATOR) -> CodeEntry:
    return CodeEntry(_O.INVALID_REQUEST, meaning, actor, next_step)


def _broken(meaning: Text) -> CodeEntry:
    return CodeEntry(
        _O.SERVER_ERROR,
        meaning,
        _A.PROVIDER,
        _("The dashboard checks the cloud's records. If it repeats, send support the request id."),
        True,
    )


_FIX_PARAMETERS = _("Check the cluster's log backup settings against the cloud's rules.")
_UNFREEZE = _("Pay outstanding bills or unfreeze it in the cloud console.")

CODES: dict[str, CodeEntry] = {
    # another operation is running on the cluster
    "CSS.0011": _busy(_("Another operation is running on the cluster, or a node is faulty.")),
    "CSS.0029": _busy(_("The cluster is still being created.")),
    "CSS.0077": _busy(_("The cluster is being scaled.")),
    "CSS.0012": _busy(_("The operation conflicts with the cluster's state.")),
    "CSS.3004": _busy(_("A backup of this cluster is already in progress.")),
    "CSS.3016": _busy(_("A backup file of this cluster is being deleted.")),
    "CSS.6013": _busy(_("The cluster's parameters are being changed.")),
    "CSS.0031": CodeEntry(
        _O.CONFLICT,
        _("The object already exists."),
        _A.OPERATOR,
        _("Check the cluster in the cloud console."),
    ),
    # the cluster is in the wrong state
    "CSS.0004": CodeEntry(
        _O.PRECONDITION_FAILED,
        _("The cluster's state does not allow the operation. Usually log backup is off."),
        _A.OPERATOR,
        _("Enable log backup for the cluster, then back up again."),
    ),
    # parameters and settings
    "CSS.0001": _invalid(_("Invalid parameters."), _FIX_PARAMETERS),
    "CSS.0006": _invalid(_("The request was empty."), _FIX_PARAMETERS),
    "CSS.0017": _invalid(_("A parameter's letter case is wrong."), _FIX_PARAMETERS),
    "CSS.0026": _invalid(_("The requested logs are too large."), _("Request fewer log lines.")),
    "CSS.0040": _invalid(_("The cloud could not process the request."), _FIX_PARAMETERS),
    "CSS.5018": _invalid(_("Invalid backup start time."), _FIX_PARAMETERS),
    "CSS.5020": _invalid(_("Invalid backup period."), _FIX_PARAMETERS),
    "CSS.5037": _invalid(_("Unknown parameter."), _FIX_PARAMETERS),
    "CSS.5038": _invalid(_("Parameter out of range."), _FIX_PARAMETERS),
    "CSS.5056": _invalid(_("A value is too long."), _FIX_PARAMETERS),
    "CSS.5130": _invalid(
        _("Invalid agency name."), _("Correct the agency in the log backup settings.")
    ),
    "CSS.5178": _invalid(_("Invalid time zone."), _FIX_PARAMETERS),
    "CSS.5108": _invalid(
        _("The cloud does not support this operation."),
        _("Check the cluster in the cloud console."),
    ),
    "CSS.5140": CodeEntry(
        _O.INVALID_REQUEST,
        _("The cluster's status is not normal, so the cloud rejects the operation."),
        _A.WAIT,
        _("Wait until the cluster is available, then back up again."),
        True,
    ),
    "CSS.5090": CodeEntry(
        _O.INVALID_REQUEST,
        _("The cluster's current status does not allow a log backup."),
        _A.WAIT,
        _("Wait until the cluster is available, then back up again."),
        True,
    ),
    "CSS.0048": _invalid(
        _("The bucket does not exist, or the agency cannot write to it."),
        _("Check bucket and agency in the log backup settings. The agency needs OBS access."),
    ),
    "CSS.0081": _invalid(
        _("The agency could not be created."),
        _("Create the agency in IAM, or grant permission to create agencies."),
        _A.IAM_ADMIN,
    ),
    "CSS.3026": _invalid(_("The backup file is missing."), _("Check the bucket.")),
    "CSS.5111": _invalid(_("The backup file is missing."), _("Check the bucket.")),
    "CSS.0082": _invalid(_("Record not found."), _("Load the records again.")),
    # accounts
    "CSS.0021": _invalid(_("The cloud account is frozen."), _UNFREEZE, _A.PROVIDER),
    "CSS.5301": _invalid(_("The cluster is frozen."), _UNFREEZE, _A.PROVIDER),
    "CSS.0023": CodeEntry(
        _O.INVALID_REQUEST,
        _("The cloud has too few resources, or the quota is used up."),
        _A.PROVIDER,
        _("Request more quota, or try again later."),
        True,
    ),
    # permissions
    "CSS.0010": CodeEntry(
        _O.FORBIDDEN,
        _("The dashboard's cloud user is not authorised for this operation."),
        _A.IAM_ADMIN,
        _("Grant the user the role CSS Administrator, or css:log:backup, in this project."),
    ),
    "CSS.0051": CodeEntry(
        _O.FORBIDDEN,
        _("A policy denies this action to the dashboard's cloud user."),
        _A.IAM_ADMIN,
        _("Allow css:log:backup and css:log:listJob in the user's policy."),
    ),
    "CSS.5045": CodeEntry(
        _O.FORBIDDEN,
        _("This tenant is not allowed to use the operation."),
        _A.IAM_ADMIN,
        _("Check the project and the user's roles."),
    ),
    # not found
    "CSS.0002": _missing(_("The cluster does not exist.")),
    "CSS.0015": CodeEntry(
        _O.NOT_FOUND,
        _("The cluster was not found, or the dashboard's cloud user may not see it."),
        _A.IAM_ADMIN,
        _("If the cluster list still shows it, grant the role CSS Administrator, or css:log:*."),
    ),
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
        _("The gateway does not know this API: the endpoint is wrong."),
        _A.DASHBOARD_ADMIN,
        _("Check region, catalog and css_endpoint_override in clouds.yaml."),
    ),
    "APIGW.0301": CodeEntry(
        _O.UNAUTHENTICATED,
        _("The gateway rejected the dashboard's token or signature."),
        _A.DASHBOARD_ADMIN,
        _("Check the credentials of this cloud in clouds.yaml."),
    ),
    "APIGW.0302": CodeEntry(
        _O.FORBIDDEN,
        _("The gateway denies access to this user or address."),
        _A.IAM_ADMIN,
        _("Check the account's access policies."),
    ),
    "APIGW.0305": CodeEntry(
        _O.UNAUTHENTICATED,
        _("The gateway could not verify the dashboard's sign-in."),
        _A.DASHBOARD_ADMIN,
        _("Check the credentials of this cloud in clouds.yaml."),
    ),
    "APIGW.0306": CodeEntry(
        _O.FORBIDDEN,
        _("The gateway denies access to this API."),
        _A.IAM_ADMIN,
        _("Check the user's permissions."),
    ),
    "APIGW.0307": CodeEntry(
        _O.UNAUTHENTICATED,
        _("The token has expired or belongs to another region."),
        _A.DASHBOARD_ADMIN,
        _("Check region_name of this cloud in clouds.yaml."),
    ),
    "APIGW.0308": CodeEntry(
        _O.THROTTLED,
        _("The gateway's rate limit was exceeded."),
        _A.WAIT,
        _("The dashboard retries automatically while attempts remain."),
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
