"""The script detects exports that were altered, truncated or rebuilt."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError

from dashboard.audit.export import FORMAT
from dashboard.audit.values import canonical
from tests.audit.conftest import MakeEvents, Tamper
from tests.audit.exports import Items, check, items_of, written

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_data_dir")]


def alter_reason(items: Items) -> None:
    items[2]["content"]["reason"] = "forged"


def alter_and_rehash(items: Items) -> None:
    import hashlib

    items[2]["content"]["reason"] = "forged"
    items[2]["hash"] = hashlib.sha256(canonical(items[2]["content"])).hexdigest()


def alter_actor(items: Items) -> None:
    items[2]["personal"]["actor"] = "eve"


def hide_actor(items: Items) -> None:
    items[2] |= {"masked_by": 3, "personal": None, "salt": None}


def leave_out(items: Items) -> None:
    del items[2]


def leave_out_the_first(items: Items) -> None:
    del items[1]


def swap(items: Items) -> None:
    items[1], items[2] = items[2], items[1]


def alter_seal(items: Items) -> None:
    items[-1]["events"] = 2


def alter_header(items: Items) -> None:
    items[0]["exported_by"] = "eve"


def cut_off(items: Items) -> None:
    del items[-1]


def cut_off_events_and_count_again(items: Items) -> None:
    del items[-2]
    items[-1] |= {"events": 2, "last": 2, "head": items[-2]["hash"]}


def append(items: Items) -> None:
    items.append(items[-2])


def empty(items: Items) -> None:
    items.clear()


def no_objects(items: Items) -> None:
    items[1]["content"] = "text"


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (alter_reason, "the content of event 2 is not what was hashed"),
        (alter_and_rehash, "event 3 does not follow"),
        (alter_actor, "the personal part of event 2"),
        (hide_actor, "the seal does not belong"),
        (leave_out, "event 2 is missing"),
        (leave_out_the_first, "event 1 is missing"),
        (swap, "event 1 is missing"),
        (alter_seal, "events differs"),
        (alter_header, "sha256 differs"),
        (cut_off, "there is no seal"),
        (cut_off_events_and_count_again, "sha256 differs"),
        (append, "something follows the seal"),
        (empty, "there is no seal"),
        (no_objects, "of the wrong kind"),
    ],
)
def test_an_altered_export_does_not_verify(
    make_events: MakeEvents,
    exported: Callable[..., Path],
    forge: Callable[[Items], None],
    words: str,
) -> None:
    make_events(3)
    path = exported()
    items = items_of(path)
    forge(items)
    result = check(written(path, items))
    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_truncated_export_does_not_verify(
    make_events: MakeEvents, exported: Callable[..., Path], cut: int
) -> None:
    make_events(3)
    path = exported()
    path.write_bytes(path.read_bytes()[:-cut])
    result = check(path)
    assert result.returncode == 1
    assert "NOT VERIFIED" in result.stderr


@pytest.mark.parametrize("line", [b"\xff\n", b'{"a":1,"a":2}\n', b"[]\n", b'{ "type": "header"}\n'])
def test_what_is_no_export_does_not_verify(
    make_events: MakeEvents, exported: Callable[..., Path], line: bytes
) -> None:
    make_events(1)
    path = exported()
    path.write_bytes(line)
    result = check(path)
    assert result.returncode == 1
    assert "NOT VERIFIED: line 1" in result.stderr


def test_another_key_does_not_verify(
    make_events: MakeEvents, exported: Callable[..., Path], tmp_path: Path
) -> None:
    """Also if a forger signs everything with their own key and includes it."""
    make_events(2)
    path = exported()
    other = Ed25519PrivateKey.generate()
    raw = base64.b64encode(other.public_key().public_bytes_raw())
    (tmp_path / "other.key").write_bytes(raw)
    assert check(path, key=tmp_path / "other.key").returncode == 1
    items = items_of(path)
    seal = {name: value for name, value in items[-1].items() if name != "signature"}
    signature = other.sign(FORMAT.encode() + b"\n" + canonical(seal))
    items[-1]["signature"] = base64.b64encode(signature).decode()
    forged = check(written(path, items))
    assert forged.returncode == 1
    assert "not that of the given key" in forged.stderr


def test_a_head_that_was_kept_must_be_in_it(
    make_events: MakeEvents, exported: Callable[..., Path]
) -> None:
    make_events(2)
    path = exported()
    assert check(path, f"2:{'0' * 64}").returncode == 1
    missing = check(path, f"9:{'0' * 64}")
    assert missing.returncode == 1
    assert "does not reach" in missing.stderr
    assert check(path, "nonsense").returncode == 2


def test_of_two_heads_with_one_number_both_are_checked(
    make_events: MakeEvents, exported: Callable[..., Path]
) -> None:
    last = make_events(2)[-1]
    path = exported()
    right, wrong = f"2:{last.hash}", f"2:{'0' * 64}"
    assert check(path, right, right).returncode == 0
    assert check(path, right, wrong).returncode == check(path, wrong, right).returncode == 1


def test_an_export_of_a_broken_chain_does_not_verify(
    make_events: MakeEvents, tamper: Tamper, exported: Callable[..., Path]
) -> None:
    make_events(4)
    tamper("UPDATE audit_event SET reason = 'x' WHERE sequence = 2")
    assert "event 2" in check(exported()).stderr
    tamper("DELETE FROM audit_event WHERE sequence = 3")
    with pytest.raises(CommandError, match="missing"):
        exported()
