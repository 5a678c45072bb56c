"""docs/licences.md lists just what requirements.txt pins, with licences that let us ship it."""

from __future__ import annotations

import re
from pathlib import Path

from tools.licences import PINNED

ROOT = Path(__file__).resolve().parent.parent.parent
ROW = re.compile(r"^\| ([\w.-]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
# licences that ask the whole product to be under theirs
VIRAL = re.compile(r"\bA?GPL|Affero|General Public License(?! v2 or later)", re.IGNORECASE)
ALLOWED_ALL_THE_SAME = {"psycopg", "psycopg-binary"}  # LGPL: used as a library


def test_the_list_is_what_is_pinned() -> None:
    listed = {(name, version) for name, version, _ in ROW.findall(_page()) if name != "Package"}
    assert listed == set(PINNED.findall((ROOT / "requirements.txt").read_text()))


def test_every_licence_is_known_and_lets_us_ship() -> None:
    rows = [row for row in ROW.findall(_page()) if row[0] not in ("Package", "---")]
    assert len(rows) > 40
    unknown = [name for name, _version, licence in rows if licence == "not stated"]
    assert not unknown
    viral = [n for n, _v, licence in rows if VIRAL.search(licence) and "LGPL" not in licence]
    assert not [name for name in viral if name not in ALLOWED_ALL_THE_SAME], viral


def _page() -> str:
    return (ROOT / "docs" / "licences.md").read_text()
