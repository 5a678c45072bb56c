"""Whose files are in a bucket. No I/O, no models.

The layout below the base path is not documented, the names of the files are observed: they begin
with the cluster's name (docs/css-api.md §8). Files of other names are never credited.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from backups.css_api.object_list import StoredObject

_KINDS = "_deprecation|_index_indexing_slowlog|_index_search_slowlog|_access"
_DATE = r"(?:[-_.]\d[\d_.-]*)?"


@dataclass(frozen=True, slots=True)
class Attribution:
    """What was written in a run's time.

    Attributes:
        mine: the files of the run's cluster.
        unclear: files that may be of another cluster as well, or whose names are of none.
        shared: other clusters write below the same prefix.
    """

    mine: tuple[StoredObject, ...]
    unclear: int
    shared: bool

    @property
    def why(self) -> str:
        """Why some files are not attributable, "" if all are."""
        if not self.unclear:
            return ""
        files = f"{self.unclear} new file" + ("s" if self.unclear > 1 else "")
        if self.shared:
            return f"Shared prefix: not attributable ({files} may be of another cluster)."
        return f"{files}, not named after the cluster."


def belongs(name: str, cluster: str) -> bool:
    """Whether an object's name is that of a log file of a cluster.

    Args:
        name: the object's whole name.
        cluster: the cluster's name.
    """
    base = name.rpartition("/")[2]
    if not cluster or not base.startswith(cluster):
        return False
    rest = base[len(cluster) :]
    ending = rf"(?:\.(?:log|json){_DATE}(?:\.gz)?)"
    return bool(re.fullmatch(rf"(?:(?:{_KINDS}){_DATE}{ending}?|{_DATE}{ending})", rest))


def attribute(
    written: Sequence[StoredObject], cluster: str, others: Collection[str]
) -> Attribution:
    """Tell a cluster's files from those of others.

    Args:
        written: objects below the prefix that were written in the run's time.
        cluster: the cluster's name.
        others: names of other clusters that write below the same prefix, or above or below it.
    """
    mine, unclear = [], 0
    for each in written:
        if each.name.endswith("/"):  # a folder of the console
            continue
        foreign = any(belongs(each.name, other) for other in others)
        if belongs(each.name, cluster):
            if foreign:
                unclear += 1
            else:
                mine.append(each)
        elif not foreign:
            unclear += 1
    return Attribution(tuple(mine), unclear, bool(others))
