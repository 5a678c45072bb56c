"""Labels of our own: what one may look like. Tags from the cloud are taken as they come."""

from __future__ import annotations

import re
from collections.abc import Mapping

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

MOST_LABELS = 20  # of a cluster
LONGEST_VALUE = 128
_KEY = re.compile(r"[\w.:/@+-]{1,64}")


def parse_labels(text: str) -> dict[str, str]:
    """Read labels as somebody types them.

    Args:
        text: `key` or `key=value`, one a line or separated by commas.

    Returns:
        Value by key in the order of the keys; "" for a label without a value.

    Raises:
        ValidationError: with a sentence for each label that cannot be taken.
    """
    labels: dict[str, str] = {}
    problems = []
    for word in filter(None, (part.strip() for part in re.split(r"[,\r\n]", text))):
        key, _equals, value = (part.strip() for part in word.partition("="))
        if key in labels:
            problems.append(_("“%(key)s” is given twice.") % {"key": key})
        labels[key] = value
    problems += label_problems(labels)
    if problems:
        raise ValidationError(problems)
    return dict(sorted(labels.items()))


def label_problems(labels: Mapping[str, str]) -> list[str]:
    """What is wrong with a cluster's labels, as sentences; none where they can be stored.

    Args:
        labels: value by key.
    """
    problems = []
    if len(labels) > MOST_LABELS:
        problems.append(_("At most %(limit)d labels.") % {"limit": MOST_LABELS})
    for key, value in labels.items():
        shown = {"label": f"{key}={value}"[:80]}
        if not _KEY.fullmatch(key):
            problems.append(
                _("“%(label)s”: a key is 1 to 64 letters, digits and . _ - : / @ +") % shown
            )
        elif len(value) > LONGEST_VALUE or not value.isprintable() or "," in value:
            problems.append(
                _("“%(label)s”: a value is at most %(limit)d characters in one line, no comma.")
                % {**shown, "limit": LONGEST_VALUE}
            )
    return problems


def labels_as_text(labels: Mapping[str, str]) -> str:
    """Labels as `parse_labels` reads them, one a line."""
    return "\n".join(f"{key}={value}" if value else key for key, value in sorted(labels.items()))
