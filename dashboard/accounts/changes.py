"""Announcements of changes to accounts and grants, before and after they are made.

`dashboard.members.recording` listens and records them in the audit trail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from django.db import models, transaction
from django.dispatch import Signal

# Sent before rows are changed, with their keys. A receiver returns a function, which is called
# after the change with the keys of all changed and new rows.
rows_changing = Signal()


@contextmanager
def announced(model: type[models.Model], keys: Iterable[Any] = ()) -> Iterator[list[Any]]:
    """Change rows in one transaction with what the receivers of `rows_changing` write.

    Args:
        model: the model of the rows.
        keys: primary keys of the rows that are about to change.

    Yields:
        The keys. The body appends those of new rows.
    """
    with transaction.atomic():
        changed = list(keys)
        sent = rows_changing.send(sender=model, keys=tuple(changed))
        finishers = [cast(Callable[[list[Any]], None], answer) for _receiver, answer in sent]
        yield changed
        for finish in finishers:
            finish(changed)


class AnnouncedQuerySet(models.QuerySet[Any]):
    """A queryset that announces its changes in bulk.

    Attributes:
        announced_fields: fields whose changes are announced.
    """

    announced_fields: frozenset[str] = frozenset()

    def update(self, **values: Any) -> int:
        if not self.announced_fields & values.keys():
            return super().update(**values)
        with transaction.atomic():
            keys = list(self.order_by().values_list("pk", flat=True))
            with announced(self.model, keys):
                return self._update_announced(keys, values)

    update.alters_data = True  # type: ignore[attr-defined]

    def _update_announced(self, keys: list[Any], values: dict[str, Any]) -> int:
        return super().update(**values)

    def bulk_create(self, objs: Iterable[Any], *args: Any, **options: Any) -> list[Any]:
        if options.get("ignore_conflicts") or options.get("update_conflicts"):
            raise TypeError("It would not be known which rows are new.")
        with announced(self.model) as keys:
            made = super().bulk_create(objs, *args, **options)
            keys.extend(each.pk for each in made)
        return made
