#!/usr/bin/env python3
"""Verify an export of the audit trail, or the proof of one run, without the dashboard.

Needs Python 3.9 or newer and `cryptography` (pip install cryptography), nothing else.

    python verify_audit_export.py export.jsonl --key public.pem [--head NUMBER:HASH …]
    python verify_audit_export.py --run run-7.json --key public.pem [--head NUMBER:HASH …]
    python verify_audit_export.py export.jsonl --run run-7.json --key public.pem

The second form verifies that the run is one of those that an event of the trail has sealed. It
proves no more than the signature does, unless a head of that event is given or, as in the third
form, an export that contains it.

The key is the dashboard's public key, as printed by `manage.py audit_export --public-key`. Obtain
it separately from the export. A head is one that was saved from the dashboard's log. Exit status:
0 if the export is genuine and complete, 1 if not, 2 for wrong usage. docs/audit.md describes the
format. This script shares no code with the one that writes exports.
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

FORMAT = "css-log-backup-audit/1"
RUN_FORMAT = "css-log-backup-run/1"


class Bad(Exception):
    """The export does not verify; the text says where and why."""


def canonical(value):
    """Encode as JSON with sorted keys, no white space, and only ASCII characters."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii")


def digest(value):
    return hashlib.sha256(canonical(value)).hexdigest()


def no_doubles(pairs):
    """Build an object and reject duplicate keys, which parsers handle differently."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def parsed(line, number):
    try:
        item = json.loads(line, object_pairs_hook=no_doubles)
    except (ValueError, RecursionError) as error:
        raise Bad(f"line {number} is not JSON: {error}") from None
    if not isinstance(item, dict):
        raise Bad(f"line {number} is not an object")
    if canonical(item) + b"\n" != line:
        raise Bad(f"line {number} is not in canonical form, or was cut off")
    return item


def check_event(item, before):
    """Check an event against the previous one; return its sequence number and hash."""
    content = item["content"]
    number = content["sequence"]
    if number != before["sequence"] + 1:
        raise Bad(f"event {before['sequence'] + 1} is missing")
    if content["form"] != 1:
        raise Bad(f"event {number} has form {content['form']}, which this script does not know")
    if content["previous_hash"] != before["hash"]:
        raise Bad(f"event {number} does not follow from the one before it")
    if digest(content) != item["hash"]:
        raise Bad(f"the content of event {number} is not what was hashed")
    if item["masked_by"] is None:
        expected = digest({"personal": item["personal"], "salt": item["salt"]})
        if expected != content["personal"]:
            raise Bad(f"the personal part of event {number} is not what was hashed")
    elif item["personal"] is not None or item["salt"] is not None:
        raise Bad(f"event {number} was masked and has a personal part all the same")
    return {"sequence": number, "hash": item["hash"]}


def check_seal(seal, header, last, events, sha256, key):
    """Check the last line against everything before it."""
    facts = {
        "events": events,
        "first": header["begins_after"]["sequence"] + 1,
        "last": last["sequence"],
        "head": last["hash"],
        "sha256": sha256,
    }
    for name, fact in facts.items():
        if seal[name] != fact:
            raise Bad(f"the seal does not belong to these events: {name} differs")
    signed = {name: value for name, value in seal.items() if name != "signature"}
    check_signature(signed, seal["signature"], FORMAT, key)


def check_signature(signed, text, form, key):
    """Check the signature of an object."""
    try:
        key.verify(base64.b64decode(text, validate=True), form.encode() + b"\n" + canonical(signed))
    except (InvalidSignature, ValueError, TypeError):
        raise Bad("the signature is not that of the given key") from None


def check_run(document, key):
    """Check the proof in the JSON of a run.

    Args:
        document: the JSON of a run, as downloaded from its page or from the API.
        key: the public key.

    Returns:
        The sequence number and hash of the event that sealed the run, and the leaf.

    Raises:
        Bad: the proof is missing or does not hold.
    """
    proof = (document.get("seal") or {}).get("proof")
    if proof is None:
        raise Bad("the file has no proof: the run is not sealed, or its reader may not audit it")
    if proof["format"] != RUN_FORMAT:
        raise Bad(f"the format is not {RUN_FORMAT}")
    signed = {name: value for name, value in proof.items() if name != "signature"}
    check_signature(signed, proof["signature"], RUN_FORMAT, key)
    leaf, content, event = proof["leaf"], proof["content"], proof["event"]
    if leaf["form"] != 1 or content["form"] != 1 or event["form"] != 1:
        raise Bad("the seal has a form that this script does not know")
    run = content["run"]
    if run["id"] != leaf["run"] or digest(content) != leaf["digest"]:
        raise Bad("the row, the events or the calls of the run are not those that were sealed")
    if leaf["altered"]:
        raise Bad(f"the run was changed between its end and its seal: {leaf['altered']}")
    for name, value in leaf["facts"].items():
        if run[name] != value:
            raise Bad(f"{name} is not what was sealed")
    shown = {"run_id": "id", "state": "state", "outcome": "outcome", "http_status": "http_status"}
    shown.update({"cluster_id": "cluster_cloud_id", "message": "message", "evidence": "evidence"})
    for name, column in shown.items():
        if document[name] != run[column]:
            raise Bad(f"the file says another {name} than its proof")
    if (document["job_id"] or None) != (run["job_id"] or None):
        raise Bad("the file says another job_id than its proof")
    value = hashlib.sha256(b"\x00" + canonical(leaf)).digest()
    for step in proof["path"]:
        other = bytes.fromhex(step["hash"])
        pair = other + value if step["side"] == "left" else value + other
        value = hashlib.sha256(b"\x01" + pair).digest()
    if event["action"] != "runs_sealed" or event["details"]["root"] != value.hex():
        raise Bad("the run is not under the root of the event")
    if leaf["run"] not in event["details"]["runs"]:
        raise Bad("the event does not name the run")
    if digest(event) != proof["event_hash"]:
        raise Bad("the content of the event is not what was hashed")
    return (event["sequence"], proof["event_hash"]), leaf


def verify(lines, key, heads):
    """Verify an export line by line.

    Args:
        lines: the lines of the export, as bytes.
        key: the public key.
        heads: pairs of sequence number and hash that the export must contain.

    Returns:
        The header, the seal, and the number of masked events.

    Raises:
        Bad: the export does not verify.
    """
    running = hashlib.sha256()
    header = seal = None
    masked = events = 0
    wanted = {}
    for sequence, value in heads:
        wanted.setdefault(sequence, set()).add(value)
    place = {}
    for number, line in enumerate(lines, start=1):
        if seal is not None:
            raise Bad("something follows the seal")
        item = parsed(line, number)
        kind = item.get("type")
        if (kind == "header") != (number == 1):
            raise Bad(f"line {number}: the header is the first line, and only that")
        if kind == "header":
            if item.get("format") != FORMAT:
                raise Bad(f"the format is not {FORMAT}")
            header, place = item, item["begins_after"]
        elif kind == "event":
            place = check_event(item, place)
            events += 1
            masked += item["masked_by"] is not None
            if wanted.pop(place["sequence"], set()) - {place["hash"]}:
                raise Bad(f"event {place['sequence']} is not the one of the given head")
        elif kind == "seal":
            check_seal(item, header, place, events, running.hexdigest(), key)
            seal = item
        else:
            raise Bad(f"line {number} is neither header, event nor seal")
        running.update(line)
    if seal is None:
        raise Bad("there is no seal: the export was cut off")
    if wanted:
        raise Bad(f"the export does not reach the given heads {sorted(wanted)}")
    return header, seal, masked


def read_key(path):
    """Read a public key: PEM, or its 32 bytes in base64."""
    data = Path(path).read_bytes().strip()
    if data.startswith(b"-----BEGIN"):
        key = load_pem_public_key(data)
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("it is no Ed25519 key")
        return key
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(data, validate=True))


def head(text):
    number, colon, value = text.partition(":")
    if not (colon and number.isdigit() and len(value) == 64):
        raise argparse.ArgumentTypeError(f"{text!r} is not NUMBER:HASH")
    return int(number), value.lower()


def read_run(path):
    try:
        document = json.loads(Path(path).read_bytes(), object_pairs_hook=no_doubles)
    except (ValueError, RecursionError) as error:
        raise Bad(f"the run's file is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Bad("the run's file is not an object")
    return document


def check_files(options, key):
    """Verify what was given; return the lines to print."""
    heads, lines = list(options.head), []
    if options.run:
        (number, value), leaf = check_run(read_run(options.run), key)
        others = [each for each in heads if each[0] != number]
        if others and not options.export:
            raise Bad(f"the run was sealed by event {number}: that head is needed")
        if any(each != value for at, each in heads if at == number):
            raise Bad(f"event {number} is not the one of the given head")
        if options.export:
            heads.append((number, value))
        kind = " (it had ended before that)" if leaf["kind"] == "existing" else ""
        state = leaf["facts"].get("state")
        lines.append(f"VERIFIED: run {leaf['run']} ({state}), sealed by event {number}{kind}")
        lines.append(f"seal         {number}:{value}")
    if options.export:
        with Path(options.export).open("rb") as export:
            header, seal, masked = verify(export, key, heads)
        before = header["begins_after"]
        lines += [
            f"VERIFIED: events {seal['first']} to {seal['last']} ({masked} masked)",
            f"exported {header['exported_at']} by {header['exported_by']}",
            f"begins after {before['sequence']}:{before['hash']}",
            f"head         {seal['last']}:{seal['head']}",
        ]
    return lines


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description="Verify an export of the audit trail, or the proof of one run."
    )
    parser.add_argument("export", nargs="?", help="the JSON Lines file")
    parser.add_argument("--run", help="the JSON file of a run", metavar="FILE")
    parser.add_argument("--key", required=True, help="file with the public key: PEM or base64")
    parser.add_argument("--head", type=head, action="append", default=[], metavar="NUMBER:HASH")
    options = parser.parse_args(arguments)
    if not options.export and not options.run:
        parser.error("an export or --run is required")
    try:
        key = read_key(options.key)
    except (OSError, ValueError) as error:
        parser.error(f"the key cannot be read: {error}")
    try:
        lines = check_files(options, key)
    except OSError as error:
        parser.error(str(error))
    except Bad as problem:
        print(f"NOT VERIFIED: {problem}", file=sys.stderr)
        return 1
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        print(f"NOT VERIFIED: a field is missing or of the wrong kind ({problem})", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
