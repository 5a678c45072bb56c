"""Merkle trees: one hash for many items, and a short proof for each of them.

docs/audit.md specifies the form. `tools/verify_audit_export.py` implements it a second time on
purpose: a verifier that shared this code would share its bugs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from .values import canonical

# Leaves and inner nodes are hashed with different prefixes, so neither can pass for the other.
_LEAF, _NODE = b"\x00", b"\x01"


def leaf_hash(value: Any) -> str:
    """Return the hash of an item, in hexadecimal.

    Args:
        value: as for `canonical`.
    """
    return hashlib.sha256(_LEAF + canonical(value)).hexdigest()


def root_of(leaves: Sequence[str]) -> str:
    """Return the root of a tree, in hexadecimal.

    Args:
        leaves: hashes of the items, at least one, in their order.
    """
    level = list(leaves)
    while len(level) > 1:
        level = _above(level)
    return level[0]


def path_of(leaves: Sequence[str], place: int) -> list[dict[str, str]]:
    """Return what is needed to compute the root from one leaf.

    Args:
        leaves: as for `root_of`.
        place: index of the leaf.

    Returns:
        From the leaf upwards, the `hash` beside it and the `side`, "left" or "right", where that
        hash stands. A node without a neighbour moves up unchanged and has no entry.
    """
    path = []
    level = list(leaves)
    while len(level) > 1:
        neighbour = place ^ 1
        if neighbour < len(level):
            side = "left" if neighbour < place else "right"
            path.append({"side": side, "hash": level[neighbour]})
        level, place = _above(level), place // 2
    return path


def _above(level: Sequence[str]) -> list[str]:
    pairs = [_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    return [*pairs, level[-1]] if len(level) % 2 else pairs


def _node(left: str, right: str) -> str:
    return hashlib.sha256(_NODE + bytes.fromhex(left) + bytes.fromhex(right)).hexdigest()
