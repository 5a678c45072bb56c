"""The orders of the list. Every order ends in name and id, so that a page is the same twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Case, F, IntegerField, OrderBy, Q, TextChoices, Value, When
from django.utils.translation import gettext_lazy as _

from backups.models.cluster import WORST_FIRST, protection_q
from backups.rules.readiness import RANK


class Sort(TextChoices):
    """What the list can be sorted by."""

    NAME = "name", _("Name")
    PROJECT = "project", _("Project")
    ENGINE = "engine", _("Engine")
    READINESS = "readiness", _("Readiness")
    PROTECTION = "protection", _("Protection")
    VERIFIED = "verified", _("Last verified")


@dataclass(frozen=True, slots=True)
class Order:
    """One order of the list.

    Attributes:
        sort: by what.
        descending: from the other end. Readiness and protection begin with the worst otherwise,
            the last verified backup with the oldest, where none at all is the oldest.
    """

    sort: Sort = Sort.NAME
    descending: bool = False

    @classmethod
    def parse(cls, text: str) -> Order:
        """Read an order as it stands in a URL: `name`, or `-name` for descending.

        Raises:
            ValueError: there is no such order.
        """
        return cls(Sort(text.removeprefix("-")), text.startswith("-"))

    def __str__(self) -> str:
        return f"-{self.sort.value}" if self.descending else self.sort.value

    @property
    def label(self) -> str:
        """The order in words, as in “Readiness, worst first”."""
        return str(_ORDER % {"sort": self.sort.label, "end": _ENDS[self.sort][self.descending]})

    def reversed(self) -> Order:
        """The same from the other end."""
        return Order(self.sort, not self.descending)

    def expressions(self, now: datetime) -> list[OrderBy]:
        """For `order_by` of clusters.

        Args:
            now: the moment at which protection is judged.
        """
        if self.sort is Sort.NAME:
            # both in one direction: what the index has
            return [OrderBy(F(key), descending=self.descending) for key in ("name", "id")]
        keys = _keys(self.sort, now)
        return [*(self._directed(key) for key in keys), F("name").asc(), F("id").asc()]

    def _directed(self, key: F | Case) -> OrderBy:
        if key not in _NULLABLE:
            return OrderBy(key, descending=self.descending)
        if self.descending:
            return OrderBy(key, descending=True, nulls_last=True)
        return OrderBy(key, nulls_first=True)


_NULLABLE = (F("overdue_at"), F("verified_at"))


def _keys(sort: Sort, now: datetime) -> list[F | Case]:
    if sort is Sort.PROJECT:
        return [F("project__cloud"), F("project__region"), F("project__name"), F("project_id")]
    if sort is Sort.ENGINE:
        return [F("engine"), F("version")]
    if sort is Sort.READINESS:
        return [_rank([Q(readiness=each) for each in RANK])]
    if sort is Sort.PROTECTION:
        return [_rank([protection_q(each, now) for each in WORST_FIRST]), F("overdue_at")]
    return [F("verified_at")]


def _rank(conditions: list[Q]) -> Case:
    whens = [When(condition, then=Value(rank)) for rank, condition in enumerate(conditions)]
    return Case(*whens, default=Value(len(whens)), output_field=IntegerField())


_ORDER = _("%(sort)s, %(end)s")  # as in “Readiness, worst first”
_LETTERS = (_("A to Z"), _("Z to A"))
_WORSE = (_("worst first"), _("best first"))
_ENDS = {
    Sort.NAME: _LETTERS,
    Sort.PROJECT: _LETTERS,
    Sort.ENGINE: _LETTERS,
    Sort.READINESS: _WORSE,
    Sort.PROTECTION: _WORSE,
    Sort.VERIFIED: (_("oldest first"), _("newest first")),
}

ORDERS = [Order(sort, descending) for sort in Sort for descending in (False, True)]
