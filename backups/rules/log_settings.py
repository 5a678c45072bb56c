"""Valid log backup settings. docs/css-api.md section 1a has the sources. No I/O."""

from __future__ import annotations

import ipaddress
import re

from django.utils.translation import gettext as _

MOST_PATH = 512
CLUSTER = "{cluster}"  # in the path of many clusters: the name of each
LOG_TYPES = ("instance", "deprecation", "indexingSlow", "searchSlow")
LEVELS = ("ERROR", "WARN", "INFO", "DEBUG")
USUAL_LINES, MOST_LINES = 100, 10_000
KEYWORD = r"^[A-Za-z0-9_\-. \[\]]{0,64}\Z"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PATH_FORBIDDEN = "\\:*?\"<>|'{}"
_AGENCY = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_PERIOD = re.compile(r"([01]\d|2[0-3]):00 GMT[+-](0\d|1[0-4]):(00|15|30|45)", re.ASCII)

# UTC offsets in use, from west to east.
OFFSETS = (
    "-12:00",
    "-11:00",
    "-10:00",
    "-09:30",
    "-09:00",
    "-08:00",
    "-07:00",
    "-06:00",
    "-05:00",
    "-04:00",
    "-03:30",
    "-03:00",
    "-02:00",
    "-01:00",
    "+00:00",
    "+01:00",
    "+02:00",
    "+03:00",
    "+03:30",
    "+04:00",
    "+04:30",
    "+05:00",
    "+05:30",
    "+05:45",
    "+06:00",
    "+06:30",
    "+07:00",
    "+08:00",
    "+08:45",
    "+09:00",
    "+09:30",
    "+10:00",
    "+10:30",
    "+11:00",
    "+12:00",
    "+12:45",
    "+13:00",
    "+14:00",
)


def bucket_problem(name: str) -> str:
    """Error message for the name of an OBS bucket, "" if it is valid."""
    if not _BUCKET.fullmatch(name):
        return _(
            "Enter 3 to 63 lower-case letters, digits, dots and hyphens. The name must start and "
            "end with a letter or digit."
        )
    if any(pair in name for pair in ("..", ".-", "-.")):
        return _("A bucket name cannot have a dot next to another dot or a hyphen.")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return ""
    return _("A bucket name cannot be an IP address.")


def path_problem(path: str) -> str:
    """Error message for a base path, "" if it is valid.

    The API reference forbids dots anywhere, but also lists where they are forbidden. The manual has
    only the list, which is applied here; the cloud decides.
    """
    if not path or len(path) > MOST_PATH:
        return _("Enter 1 to %(most)d characters.") % {"most": MOST_PATH}
    if bad := sorted({c for c in path if c in _PATH_FORBIDDEN or not c.isprintable()}):
        return _("The path cannot contain: %(bad)s") % {"bad": " ".join(map(repr, bad))}
    if path.startswith("/"):
        return _("The path cannot start with a slash.")
    if path[0] == "." or path[-1] == ".":
        return _("The path cannot start or end with a dot.")
    if "///" in path or "..." in path:
        return _("The path cannot have more than two slashes or dots in a row.")
    return ""


def pattern_problem(pattern: str) -> str:
    """Error message for a base path in which CLUSTER stands for a cluster's name, "" if valid."""
    return path_problem(path_of(pattern, "x"))


def path_of(pattern: str, name: str) -> str:
    """The base path of one cluster, not validated.

    Args:
        pattern: a base path, with CLUSTER where the name belongs.
        name: the cluster's name.
    """
    return pattern.replace(CLUSTER, name)


def agency_problem(name: str) -> str:
    """Error message for the name of an IAM agency, "" if it is valid."""
    if _AGENCY.fullmatch(name):
        return ""
    return _("Enter 1 to 64 letters, digits, hyphens and underscores.")


def period(hour: int, offset: str) -> str:
    """A daily hour in the cloud's notation.

    Args:
        hour: 0 to 23; the cloud accepts whole hours only.
        offset: UTC offset, one of OFFSETS.
    """
    return f"{hour:02d}:00 GMT{offset}"


def split_period(text: str) -> tuple[int, str] | None:
    """Hour and UTC offset of a period in the cloud's notation, None if it is not valid."""
    if not _PERIOD.fullmatch(text):
        return None
    return int(text[:2]), text[-6:]
