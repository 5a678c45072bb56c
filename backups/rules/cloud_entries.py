"""Entries of clouds.yaml by kind of credentials. No I/O, no models, and no secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import yaml
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Values = Mapping[str, str]
Document = dict[str, object]


class _ToFillIn(str):
    """Is written in quotes, so that what replaces it stays a text."""


class _Lines(yaml.SafeDumper):
    """Writes an entry."""


_Lines.add_representer(
    _ToFillIn,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"'),
)


# Stands where a secret has to be filled in.
TO_FILL_IN = _ToFillIn("…")


@dataclass(frozen=True, slots=True)
class EntryKind:
    """A kind of entry.

    Attributes:
        label: what it is for.
        defaults: the values that it asks for, with examples, in the order of the form.
        write: makes the entry of the values.
    """

    label: str | Promise
    defaults: Values
    write: Callable[[Values], Document]


def entry_lines(kind: str, values: Values) -> str:
    """The lines of clouds.yaml for an entry.

    Args:
        kind: a key of KINDS.
        values: what was filled in; where a value is empty, the kind's example is used.
    """
    wanted = KINDS[kind]
    filled = {name: values.get(name) or default for name, default in wanted.defaults.items()}
    document = {"clouds": {filled["name"]: wanted.write(filled)}}
    return yaml.dump(document, Dumper=_Lines, sort_keys=False, allow_unicode=True)


def region_of(kind: str, values: Values) -> str:
    """The region that the entry names."""
    return values.get("region") or KINDS[kind].defaults["region"]


def _otc_address(region: str) -> str:
    if region == "eu-ch2":
        return "https://iam-pub.eu-ch2.sc.otc.t-systems.com/v3"
    return f"https://iam.{region}.otc.t-systems.com/v3"


def _user(values: Values, address: str) -> Document:
    return {
        "auth_url": address,
        "username": values["username"],
        "password": TO_FILL_IN,
        "user_domain_name": values["user_domain"],
    }


def _otc_password(values: Values) -> Document:
    auth = _user(values, _otc_address(values["region"])) | {"project_name": values["project"]}
    return {"auth": auth, "region_name": values["region"]}


def _with_key(values: Values, address: str) -> Document:
    return {
        "auth": {"auth_url": address, "project_name": values["project"]},
        "region_name": values["region"],
        "access_key": TO_FILL_IN,
        "secret_key": TO_FILL_IN,
    }


def _otc_key(values: Values) -> Document:
    return _with_key(values, _otc_address(values["region"]))


def _huawei_key(values: Values) -> Document:
    return _with_key(values, f"https://iam.{values['region']}.myhuaweicloud.com/v3")


def _agency(values: Values) -> Document:
    target = {
        "target_domain_name": values["target_domain"],
        "target_agency_name": values["agency"],
        "target_project_name": values["project"],
    }
    auth = _user(values, _otc_address(values["region"])) | target
    return {"auth_type": "agency", "auth": auth, "region_name": values["region"]}


def _keystone(values: Values) -> Document:
    project = {
        "project_name": values["project"],
        "project_domain_name": values["user_domain"],
    }
    auth = _user(values, values["auth_url"]) | project
    return {"auth": auth, "region_name": values["region"]}


_OTC = {"name": "otc", "region": "eu-de", "project": "eu-de"}
_OTC_USER = {"username": "css-log-backup", "user_domain": "OTC00000000001000012345"}
_HUAWEI = {"name": "huawei", "region": "cn-north-4", "project": "cn-north-4"}
KINDS: dict[str, EntryKind] = {
    "otc-password": EntryKind(_("Open Telekom Cloud, password"), _OTC | _OTC_USER, _otc_password),
    "otc-key": EntryKind(_("Open Telekom Cloud, access key (AK/SK)"), _OTC, _otc_key),
    "huawei-key": EntryKind(_("Huawei Cloud, access key (AK/SK)"), _HUAWEI, _huawei_key),
    "agency": EntryKind(
        _("Agency of another account"),
        _OTC | _OTC_USER | {"target_domain": "OTC00000000001000067890", "agency": "css_log_backup"},
        _agency,
    ),
    "keystone": EntryKind(
        _("Keystone, password"),
        {
            "name": "other",
            "auth_url": "https://identity.example.com/v3",
            "region": "region-1",
            "project": "logs",
            "username": "css-log-backup",
            "user_domain": "Default",
        },
        _keystone,
    ),
}
