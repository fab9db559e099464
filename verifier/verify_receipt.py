#!/usr/bin/env python3
"""Verify a proof of a chainnode ledger offline and without the node's code. Needs PyNaCl or `cryptography`.

    python verify_receipt.py FILE --policy POLICY                                 a receipt
    python verify_receipt.py FILE --policy POLICY --certificate NO [--at TIME]    a status proof
    python verify_receipt.py FILE --policy POLICY --checkpoint                    a checkpoint, as a signed note

What it checks, under the names of its steps, stands in docs/proofs.md. POLICY says whom to believe: get it from
somebody whom you trust. It prints a JSON object, and a sentence on standard error. Exit status: 0 verified, 3 refused
(`step` says where, `why` says why), 2 wrong usage or a file that cannot be read.
"""

import argparse
import base64
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

try:
    from nacl.exceptions import CryptoError as InvalidSignature
    from nacl.signing import VerifyKey
except ImportError:
    from cryptography.exceptions import InvalidSignature  # type: ignore[assignment]  # one of the two is there
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    VerifyKey = None  # type: ignore[assignment, misc]  # likewise

NUMBER_MAX, FILE_MAX, PROOF_MAX, POLICY_MAX, NOTE_MAX = (1 << 63) - 1, 64 << 20, 1 << 20, 4 << 20, 1 << 16
HEADING, DECIMAL, KEY_NAME = "c2sp.org/tlog-proof@v1", "(?:0|[1-9][0-9]{0,18})", r"[^\s+\x00-\x1f]+"
LOG, COSIGNER, COMMIT, OUTCOMES_A_LEAF, RULES = 1, 4, 2, 32, (1, 2, 3, 4)
FIELD, ORDER_8 = 2**255 - 19, 2707385501144840649318225287225658788936804267575313519463743609750303402022
SMALL_ORDERS = (0, 1, FIELD - 1, ORDER_8, FIELD - ORDER_8)  # y of the points of order 4, 1, 2, 8 and 8

class Refused(Exception):
    """The proof does not hold: in which step, and why."""

@contextmanager
def step(name: str) -> Iterator[None]:
    """Give what is refused within the name of this step, unless one within has named it."""
    try:
        yield
    except Refused as refused:
        raise Refused(refused.args[0] or name, refused.args[1]) from None
    except ValueError as error:
        raise Refused(name, f"malformed: {error}") from None

def need(condition: object, why: str) -> None:  # refuse unless the condition holds
    if not condition:
        raise Refused("", why)

# Canonical MessagePack. A type is a range of integers, a dict (a record, the array of its fields in this order), or
# a tuple: text, bytes or array with least and greatest length (and the items' type), a flag, or maybe what may be nil.
INT, NAT, MS, FLAG = range(-1 << 63, 1 << 64), range(1 << 64), range(253_402_300_800_000), ("flag", 0, 0)
HASH, SIGNATURE, REFERENCE, TEXT = ("bytes", 32, 32), ("bytes", 64, 64), ("bytes", 16, 16), ("text", 0, FILE_MAX)
MEMBER, BYTES, PATH, BODY = ("text", 1, 64), ("bytes", 0, FILE_MAX), ("array", 0, 64, HASH), ("bytes", 0, 65534)
HEADER: Any = dict(suite=INT, version=INT, chain_id=HASH, height=INT, epoch=INT, parent=HASH, time_ms=INT)
HEADER |= dict(proposer=INT, batches_root=HASH, first_index=INT, event_count=INT, outcomes_root=HASH, log_root=HASH)
HEADER |= dict(state_root=HASH, batch_logs_root=HASH, next_validators=HASH)
VOTES = ("array", 0, FILE_MAX, dict(index=INT, signature=BYTES))
COMMITTED = dict(phase=INT, epoch=INT, view=range(1 << 63), height=range(1, 1 << 63), block_hash=HASH, votes=VOTES)
VALIDATORS = ("array", 0, 128, dict(name=TEXT, member=TEXT, vote_key=BYTES, cosign_key=BYTES, log_key=BYTES))
HANDOVERS = ("array", 0, 4096, dict(header=HEADER, certificate=COMMITTED, validators=VALIDATORS))
EVENT = dict(member=MEMBER, reference=REFERENCE, expires_ms=MS, kind=range(1, 256), schema=range(1, 65536), body=BODY)
BATCH: Any = dict(suite=INT, chain_id=HASH, member=MEMBER, source=HASH, number=range(1 << 63), previous=HASH)
BATCH |= dict(count=range(1, 1025), root=HASH, time_ms=MS)
OUTCOME = dict(code=range(2), rule=("text", 0, 64), detail=("text", 0, 200))
PLACE, OUTCOME_PROOF = dict(index=NAT, count=NAT, path=PATH), dict(leaf=BYTES, path=PATH)
RECEIPT: Any = dict(version=INT, event=BODY, header=HEADER, header_path=PATH, outcome=OUTCOME_PROOF)
RECEIPT |= dict(place=PLACE, batch=BATCH, signature=SIGNATURE, index=NAT, path=PATH, handovers=HANDOVERS)
STATE_PROOF = dict(siblings=("array", 0, 256, HASH), other=("maybe", dict(path=BYTES, value_hash=HASH)))
STATUS: Any = dict(version=INT, key=("bytes", 1, 256), value=("maybe", ("bytes", 0, 1 << 20)), proof=STATE_PROOF)
STATUS |= dict(header=HEADER, following=("maybe", dict(header=HEADER, path=PATH)), handovers=HANDOVERS)
FILED = dict(kind=TEXT, digest=BYTES, custodian=TEXT, size=INT, member=TEXT, event_id=HASH, time_ms=INT, passed=FLAG)
EVIDENCE, HISTORY = ("array", 0, FILE_MAX, FILED), dict(count=INT, hash=HASH, changed_ms=INT)
PRODUCT, SUSPENSION = dict(name=TEXT, model=TEXT, version=TEXT), ("maybe", dict(why=TEXT, from_ms=INT, until_ms=INT))
REVOCATION, MAYBE_TEXT = ("maybe", dict(reason=TEXT, by=TEXT, invalid_from_ms=INT)), ("maybe", TEXT)
RECORD: Any = dict(number=TEXT, application=TEXT, holder=TEXT, holder_name=TEXT, product=PRODUCT, category=INT)
RECORD |= dict(catalogue=INT, body=TEXT, state=TEXT, since_ms=INT, version=INT, valid_from_ms=INT, valid_until_ms=INT)
RECORD |= dict(suspension=SUSPENSION, revocation=REVOCATION, predecessor=MAYBE_TEXT, successor=MAYBE_TEXT)
RECORD |= dict(evidence=EVIDENCE, corrections=EVIDENCE, appeal_until_ms=("maybe", INT), history=HISTORY)
# By first byte: kind, width of the number behind it, least number that needs this form (below 0: the greatest).
FORMS = {0xC0: ("nil", 0, 0), 0xC2: ("flag", 0, 0), 0xC3: ("flag", 0, 0), 0xC4: ("bytes", 1, 0)}
FORMS |= {0xC5: ("bytes", 2, 256), 0xC6: ("bytes", 4, 1 << 16), 0xCC: ("int", 1, 128), 0xCD: ("int", 2, 256)}
FORMS |= {0xCE: ("int", 4, 1 << 16), 0xCF: ("int", 8, 1 << 32), 0xD0: ("int", 1, -33), 0xD1: ("int", 2, -129)}
FORMS |= {0xD2: ("int", 4, ~(1 << 15)), 0xD3: ("int", 8, ~(1 << 31)), 0xD9: ("text", 1, 32), 0xDA: ("text", 2, 256)}
FORMS |= {0xDB: ("text", 4, 1 << 16), 0xDC: ("array", 2, 16), 0xDD: ("array", 4, 1 << 16)}

class Record(SimpleNamespace):
    """The fields of a record by name, and in `raw` the bytes it was read from, the only ones that it has."""

def decode(of: Any, data: bytes) -> Any:
    """Return what these bytes are as this type, and nothing but it."""
    value, end = read(data, 0, of)
    need(end == len(data), "bytes behind the end")
    return value

def read(data: bytes, start: int, of: Any) -> tuple[Any, int]:
    """Return the value of this type that begins at a place, and where it ends; nothing grows beyond its type."""
    need(start < len(data), "cut short")
    first, width, least = data[start], 0, 0
    if first <= 0x7F or first >= 0xE0:
        kind, number = "int", first - (first >= 0xE0) * 0x100
    elif 0x90 <= first <= 0xBF:
        kind, number = ("array", first & 15) if first <= 0x9F else ("text", first & 31)
    else:
        need(first in FORMS, "a type that has no canonical form")
        kind, width, least = FORMS[first]
        number = int.from_bytes(data[start + 1 : start + 1 + width], "big", signed=least < 0)
        need(number <= least if least < 0 else number >= least, "cut short, or not in the shortest form")
    at = start + 1 + width  # what is cut short reads as a smaller number, and then ends too early
    if isinstance(of, range):
        need(kind == "int" and number in of, "not an integer of its range")
        return number, at
    if isinstance(of, dict):
        need(kind == "array" and number == len(of), f"not a record of {', '.join(of)}")
        fields: dict[str, Any] = {}
        for name, type_ in of.items():
            fields[name], at = read(data, at, type_)
        return Record(**fields, raw=data[start:at]), at
    if of[0] == "maybe":
        return (None, at) if kind == "nil" else read(data, start, of[1])
    need(kind == of[0], f"{kind} for {of[0]}")
    if kind == "array":
        need(of[1] <= number <= of[2], "an array of another length")
        items = []
        for _ in range(number):
            item, at = read(data, at, of[3])
            items.append(item)
        return items, at
    part = data[at : at + number]
    value = part.decode() if kind == "text" else part
    need(len(part) == number and of[1] <= len(value) <= of[2], f"{kind} of another length")
    return value, at + number

def sha256(*parts: bytes) -> bytes:  # of the parts together
    return hashlib.sha256(b"".join(parts)).digest()
def domain(tag: str, *parts: bytes) -> bytes:  # the hash of the parts under a tag of its own
    return sha256(b"chainnode/v1/", tag.encode(), b"\0", *parts)
def hash_of(header: Record) -> bytes:  # a block's hash: the leaf hash of kind 0 and the header
    return sha256(b"\0\0", header.raw)
def quorum_of(n: int) -> int:  # how many of n decide: floor((n+f)/2)+1 with f = floor((n-1)/3)
    return max(1, (n + (n - 1) // 3) // 2 + 1)

def check_leaf(root: bytes, size: int, index: int, leaf: bytes, path: list[bytes]) -> None:
    """Refuse unless the leaf of this hash stands at `index` in the tree of `size` leaves (RFC 9162, 2.1.3.2)."""
    need(0 <= index < size <= NUMBER_MAX, "no such place in a tree of this size")
    inner = (index ^ (size - 1)).bit_length()
    need(len(path) == inner + bin(index >> inner).count("1"), "a path of another length")
    for level, sibling in enumerate(path):
        is_right = level >= inner or index >> level & 1
        leaf = sha256(b"\1", sibling, leaf) if is_right else sha256(b"\1", leaf, sibling)
    need(leaf == root, "the path leads to another root")

def check_key(key: bytes) -> None:
    """Refuse a public key that is not canonical, or of small order: such a one vouches for anything."""
    y = int.from_bytes(key, "little") & (1 << 255) - 1
    need(len(key) == 32 and y < FIELD and y not in SMALL_ORDERS, "not an acceptable Ed25519 key")

def check_signature(key: bytes, message: bytes, signature: bytes, whose: str) -> None:
    """Refuse unless the Ed25519 signature holds; of what libsodium refuses, OpenSSL is not asked."""
    check_key(key)
    nonce_y = int.from_bytes(signature[:32], "little") & (1 << 255) - 1
    try:
        need(len(signature) == 64 and nonce_y % FIELD not in SMALL_ORDERS, f"not a signature: {whose}")
        if VerifyKey is not None:
            VerifyKey(key).verify(message, signature)
        else:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Refused("", f"a signature that does not verify: {whose}") from None

def unbase64(text: str) -> bytes:  # the bytes of base64 in its one spelling
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, "base64 in another spelling")
    return data

def key_id(name: str, type_: int, key: bytes) -> bytes:  # what stands for a key in signature lines
    return sha256(name.encode(), b"\n", bytes([type_]), key)[:4]

def key_of(vkey: str, type_: int) -> tuple[str, bytes]:
    """Return name and key of a verifier key, NAME+ID+BASE64."""
    name, id_, data = [*vkey.split("+", 2), "", ""][:3]
    key = unbase64(data)
    need(re.fullmatch(KEY_NAME, name) and len(key) == 33 and key[0] == type_, "not a key of this type")
    need(key_id(name, type_, key[1:]).hex() == id_, "a key's id does not fit")
    return name, key[1:]

def read_note(note: str) -> tuple[str, dict[tuple[str, bytes], bytes]]:
    """Return the text of a signed note and its signatures by name and key id."""
    need(len(note.encode()) <= NOTE_MAX and not re.search(r"[\x00-\x09\x0b-\x1f]", note), "not a note")
    text, blank, tail = note.rpartition("\n\n")
    need(blank and re.fullmatch(f"(?:\u2014 {KEY_NAME} [A-Za-z0-9+/=]+\n){{1,256}}", tail), "not signature lines")
    signed: dict[tuple[str, bytes], bytes] = {}
    for line in tail.splitlines():
        name, data = line.split(" ")[1], unbase64(line.split(" ")[2])
        need(len(data) > 4, "an empty signature")
        signed.setdefault((name, data[:4]), data[4:])
    return text + "\n", signed

def next_epoch(present: Record, handover: Record, chain_id: bytes) -> Record:
    """Return the set after the present one; refuse unless a quorum of this committed the block that names that."""
    header, votes, block = handover.header, handover.certificate, hash_of(handover.header)
    need((header.suite, header.version, header.epoch) == (1, 1, present.epoch), "a block of another epoch or suite")
    need((votes.phase, votes.epoch, votes.block_hash) == (COMMIT, present.epoch, block), "votes for something else")
    signers, n = [vote.index for vote in votes.votes], len(present.validators)
    need(signers == sorted(set(signers) & {*range(n)}) and len(signers) >= quorum_of(n), "too few distinct signers")
    numbers = votes.raw[2 : votes.raw.index(b"\xc4\x20" + block)]  # epoch, view and height as they stand there
    message = b"chainnode/v1/commit\0\x95\xc4\x20" + chain_id + numbers + b"\xc4\x20" + block
    for vote in votes.votes:
        validator = present.validators[vote.index]
        check_signature(validator.vote_key, message, vote.signature, f"vote of {validator.name}")
    number = present.epoch + 1
    code, width = next((code, form[1]) for code, form in FORMS.items() if code >= 0xCC and number >> 8 * form[1] == 0)
    epoch = bytes([number]) if number < 128 else bytes([code]) + number.to_bytes(width, "big")
    listed = handover.raw[1 + len(header.raw) + len(votes.raw) :]
    need(domain("validators", b"\x92", epoch, listed) == header.next_validators, "a set that the block does not name")
    size_min = header.first_index + header.event_count + 2
    need(size_min > present.size_min, "an epoch that ends before it begins")
    return Record(epoch=number, size_min=size_min, validators=handover.validators)

class Policy:
    """Logs, witnesses and groups, the name that must hold, and the epochs that it lists."""

    def __init__(self, text: str) -> None:
        self.logs: dict[bytes, str] = {}
        self.witnesses: dict[str, tuple[str, bytes]] = {}
        self.groups: dict[str, tuple[int, list[str]]] = {}
        self.quorum, self.epochs, self.taken = "", list[Record](), {"none"}
        with step("policy"):
            need(len(text) <= POLICY_MAX, "too large")
            for number, line in enumerate(text.split("\n"), 1):
                with step(f"policy, line {number}"):
                    need(not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", line), "a control character")
                    self._read_line([word for word in re.split("[ \t]+", line) if word])
            need(self.quorum, "no quorum")
            if self.epochs:
                self._check_present(self.epochs[-1])

    def _read_line(self, words: list[str]) -> None:
        match words:
            case ["#chainnode", "epoch", number, "from", size, data]:
                self._read_epoch(number, size, unbase64(data))
            case ["log", vkey] | ["log", vkey, _]:
                name, key = key_of(vkey, LOG)
                self._take(f"log {key.hex()}")
                self.logs[key] = name
            case ["witness", name, vkey] | ["witness", name, vkey, _]:
                self.witnesses[name] = key_of(vkey, COSIGNER)
                self._take(name, f"witness {self.witnesses[name][1].hex()}")
            case ["group", name, least, _, *_]:
                need(all(m in self.witnesses or m in self.groups for m in words[3:]), "a member not defined above")
                self._take(name, *(f"member {member}" for member in words[3:]))
                need(re.fullmatch("any|all|[1-9][0-9]{0,5}", least), "not a threshold")
                count = {"any": 1, "all": len(words) - 3}.get(least) or int(least)
                need(count <= len(words) - 3, "a threshold above the number of members")
                self.groups[name] = (count, words[3:])
            case ["quorum", name]:
                known = name == "none" or name in self.witnesses or name in self.groups
                need(known and not self.quorum, "a second quorum, or a name not defined above")
                self.quorum = name
            case _:
                need(not words or (words[0].startswith("#") and words[0] != "#chainnode"), "not understood")

    def _take(self, *names: str) -> None:
        for name in names:
            need(name not in self.taken, f"it stands twice: {name}")
            self.taken.add(name)

    def _read_epoch(self, number: str, size: str, data: bytes) -> None:
        found = decode(dict(epoch=range(1 << 63), validators=VALIDATORS), data)
        need(number == str(found.epoch) and re.fullmatch(DECIMAL, size), "not the set that the line names")
        names = [validator.name for validator in found.validators]
        need(names and all(re.fullmatch(KEY_NAME, name) and len(name) <= 64 for name in names), "names of validators")
        keys = [key for v in found.validators for key in (v.vote_key, v.cosign_key, v.log_key)]
        need(len(set(names)) == len(names) and len(set(keys)) == len(keys), "a validator or key that stands twice")
        for key in keys:
            check_key(key)
        last = self.epochs[-1] if self.epochs else Record(epoch=found.epoch - 1, size_min=0)
        need(found.epoch == last.epoch + 1 and last.size_min < int(size) <= NUMBER_MAX, "epochs out of order")
        found.size_min = int(size)
        self.epochs.append(found)

    def _check_present(self, present: Record) -> None:
        """Refuse unless the group of the last epoch says of its validators what the epoch's line says."""
        least, members = self.groups.get(f"validators-of-epoch-{present.epoch}", (0, []))
        chain, _, chain_id = next(iter(self.logs.values()), "").rpartition("/")
        need(len(set(self.logs.values())) == 1 and re.fullmatch("[0-9a-f]{64}", chain_id), "not the logs of one chain")
        named = sorted((f"{chain}/{v.name}", v.cosign_key) for v in present.validators)
        listed = sorted(self.witnesses.get(name, ("", b"")) for name in members)
        need(listed == named and least == quorum_of(len(named)), "a group that is not the epoch's quorum")

    def _at(self, origin: str, size: int, handovers: list[Record]) -> tuple[int | None, list[bytes], Any, Any]:
        """Return epoch, log keys, witnesses and groups for a log of this size."""
        logs = [key for key, name in self.logs.items() if name == origin]
        if not self.epochs:
            return None, logs, self.witnesses, self.groups
        epochs, own = list(self.epochs), self.epochs[-1].epoch
        with step("epoch"):
            for handover in (each for each in handovers if each.header.epoch >= own):
                epochs.append(next_epoch(epochs[-1], handover, bytes.fromhex(origin[-64:])))
            need(size >= epochs[0].size_min, "before the epochs of the policy")
        logs = list(dict.fromkeys([*logs, *(each.log_key for epoch in epochs for each in epoch.validators)]))
        epoch = [each for each in epochs if each.size_min <= size][-1]
        if epoch.epoch == own:
            return own, logs, self.witnesses, self.groups
        group = f"validators-of-epoch-{own}"
        witnesses = {name: key for name, key in self.witnesses.items() if name not in self.groups[group][1]}
        kept, cosigners = {*witnesses, *self.groups}, list[str]()
        for validator in epoch.validators:
            cosigners.append(validator.name)
            while cosigners[-1] in kept:
                cosigners[-1] += f"@{epoch.epoch}"
            witnesses[cosigners[-1]] = (f"{origin[:-65]}/{validator.name}", validator.cosign_key)
        return epoch.epoch, logs, witnesses, self.groups | {group: (quorum_of(len(cosigners)), cosigners)}

    def check(self, note: str, handovers: list[Record]) -> Record:
        """Return the checkpoint of a note; refuse unless a log of the policy signed it and the quorum cosigned it."""
        with step("checkpoint"):
            text, signed = read_note(note)
            lines = re.fullmatch(f"(.+)\n({DECIMAL})\n(.+)\n", text)
            origin, size, root = (lines[1], int(lines[2]), unbase64(lines[3])) if lines else ("", 0, b"")
            need(size <= NUMBER_MAX and len(root) == 32, "not origin, size and root of a log")
            need(origin in self.logs.values(), "of a log that the policy does not name")
        epoch, logs, witnesses, groups = self._at(origin, size, handovers)
        with step("log signature"):
            by = [key for key in logs if (origin, key_id(origin, LOG, key)) in signed]
            need(by, "none by a key of the log that the policy knows")
            for key in by:
                check_signature(key, text.encode(), signed[origin, key_id(origin, LOG, key)], "the log")
        times: dict[str, int] = {}
        with step("cosignatures"):
            for name, (signer, key) in witnesses.items():
                signature = signed.get((signer, key_id(signer, COSIGNER, key)))
                if signature is not None:
                    times[name] = int.from_bytes(signature[:8], "big")
                    need(times[name] <= NUMBER_MAX, f"a time out of range: {name}")
                    statement = f"cosignature/v1\ntime {times[name]}\n{text}".encode()
                    check_signature(key, statement, signature[8:], name)
            held = {"none", *times}
            for name, (least, members) in groups.items():  # each names only what stands above it
                held |= {name} if sum(member in held for member in members) >= least else set()
            need(self.quorum in held, f"too few for the policy: {', '.join(times) or 'none'}")
        said = dict(origin=origin, log_size=size, epoch=epoch, witnesses=len(witnesses), cosigners=list(times))
        said |= dict(cosigned_first_s=min(times.values(), default=0), cosigned_last_s=max(times.values(), default=0))
        return Record(origin=origin, size=size, root=root, said=said)

def read_proof(text: str, of: Any, version: int, policy: Policy, size_max: int = PROOF_MAX) -> tuple[Record, Record]:
    """Return the extra data of a proof (C2SP tlog-proof), and its checkpoint with the leaf's `index` and `path`."""
    with step("proof"):
        top, blank, note = text.partition("\n\n")
        lines = re.fullmatch(f"{re.escape(HEADING)}\nextra (.*)\nindex ({DECIMAL})((?:\n.+){{0,64}})", top)
        need(len(text) <= size_max and blank and lines, "not a proof, or too large")
        data, index, path = lines.groups() if lines else ("", "", "")
        hashes = [unbase64(line) for line in path.split("\n")[1:]]
        need(all(len(each) == 32 for each in hashes), "not a path")
    with step("extra data"):
        extra = decode(of, unbase64(data))
        need(extra.version == version, f"version {extra.version} where this verifier knows {version}")
    checkpoint = policy.check(note, getattr(extra, "status", extra).handovers)  # a history has them in its status
    checkpoint.index, checkpoint.path = int(index), hashes
    return extra, checkpoint

def check_header(checkpoint: Record, header: Record, path: list[bytes]) -> None:
    """Refuse unless a block's header is of this chain and stands in the log, behind the block's events."""
    need(header.suite == 1 and header.version in RULES, "a suite or rules that this verifier does not know")
    need(checkpoint.origin.endswith("/" + header.chain_id.hex()), "a block of another chain")
    check_leaf(checkpoint.root, checkpoint.size, header.first_index + header.event_count, hash_of(header), path)

def outcome_of(header: Record, proof: Record, index: int) -> Any:  # of an event, by its index in the block
    need(0 <= index < header.event_count, "an event outside of the block")
    number, leaves = index // OUTCOMES_A_LEAF, -(-header.event_count // OUTCOMES_A_LEAF)
    check_leaf(header.outcomes_root, leaves, number, sha256(b"\0", proof.leaf), proof.path)
    count = min(OUTCOMES_A_LEAF, header.event_count - number * OUTCOMES_A_LEAF)
    return decode(("array", count, count, OUTCOME), proof.leaf)[index % OUTCOMES_A_LEAF]

def verify_receipt(text: str, policy: Policy) -> dict[str, Any]:
    """Return what a receipt proves: an event, what became of it, who said it, and when."""
    receipt, checkpoint = read_proof(text, RECEIPT, 2, policy)
    header, batch, place = receipt.header, receipt.batch, receipt.place
    with step("event"):
        event = decode(EVENT, receipt.event)
        identity = sha256(b"\0", bytes([event.kind]), receipt.event)
        check_leaf(checkpoint.root, checkpoint.size, checkpoint.index, identity, checkpoint.path)
    with step("header"):
        check_header(checkpoint, header, receipt.header_path)
    with step("outcome"):
        index = checkpoint.index - header.first_index
        outcome = outcome_of(header, receipt.outcome, index)
    with step("batch"):
        batch_leaf = sha256(b"\0", domain("batch", batch.raw))
        check_leaf(header.batches_root, place.count, place.index, batch_leaf, place.path)
        need((batch.member, batch.chain_id) == (event.member, header.chain_id), "of another member or chain")
        check_leaf(batch.root, batch.count, receipt.index, identity, receipt.path)
    with step("source signature"):
        check_signature(batch.source, b"chainnode/v1/batch\0\x91" + batch.raw, receipt.signature, "the source")
    said = dict(proved="event", event_id=identity, applied=outcome.code == 0, rule=outcome.rule, detail=outcome.detail)
    said |= dict(member=event.member, reference=event.reference, kind=event.kind, schema=event.schema, body=event.body)
    said |= dict(source=batch.source, batch_number=batch.number, chain_id=header.chain_id, height=header.height)
    return said | dict(index=index, log_index=checkpoint.index, time_ms=header.time_ms) | dict(checkpoint.said)

def check_status(status: Record, checkpoint: Record) -> tuple[int | None, bool]:
    """Return up to when the value of a status proof is proved, and whether its block is the newest of the log."""
    header, after = status.header, status.following
    place = header.first_index + header.event_count
    with step("header"):
        need(checkpoint.index == place, "an index that is not the header's")
        check_header(checkpoint, header, checkpoint.path)
    with step("state"):
        check_state(header.state_root, status.key, status.value, status.proof)
    with step("next header"):
        if after is not None:
            check_header(checkpoint, after.header, after.path)
            need((after.header.parent, after.header.height) == (hash_of(header), header.height + 1), "not the next one")
            return after.header.time_ms, False
    is_newest = checkpoint.size == place + 1
    return (max(checkpoint.said["cosigned_first_s"] * 1000, header.time_ms) if is_newest else None), is_newest

def check_state(root: bytes, key: bytes, value: bytes | None, proof: Record) -> None:
    """Refuse unless the sparse Merkle map of this root holds this value under the key, or nothing (None)."""
    path, other, depth = domain("state-path", key), proof.other, len(proof.siblings)
    way = int.from_bytes(path, "big")
    need(value is None or other is None, "another leaf beside a value")
    node = bytes(32) if value is None else domain("state-leaf", path, sha256(value))
    if other is not None:
        apart = (way ^ int.from_bytes(other.path, "big")).bit_length()
        need(len(other.path) == 32 and 0 < apart <= 256 - depth, "a leaf that proves no absence of this key")
        node = domain("state-leaf", other.path, other.value_hash)
    for level in range(depth - 1, -1, -1):
        sibling, is_right = proof.siblings[level], way >> 255 - level & 1
        node = domain("state-node", sibling, node) if is_right else domain("state-node", node, sibling)
    need(node == root, "the path leads to another root")

def status_at(record: Record, at_ms: int) -> str:  # what a certificate's record says of a time
    if record.revocation is not None and at_ms >= record.revocation.invalid_from_ms:
        return "revoked"
    need(at_ms >= record.history.changed_ms or at_ms < record.valid_from_ms, "a record that does not reach back so far")
    if at_ms >= record.history.changed_ms:
        if record.state == "cancelled" or at_ms >= record.valid_until_ms:
            return "cancelled" if record.state == "cancelled" else "expired"
        if record.suspension is not None:
            return "suspended"
    return "not_yet_valid" if at_ms < record.valid_from_ms else "valid"

def verify_status(text: str, policy: Policy, number: str, at_ms: int | None = None) -> dict[str, Any]:
    """Return a certificate's status at a time (default: its block's), or that there is none."""
    status, checkpoint = read_proof(text, STATUS, 2, policy)
    (until_ms, is_newest), header = check_status(status, checkpoint), status.header
    time_ms, at_ms = header.time_ms, header.time_ms if at_ms is None else at_ms
    with step("certificate"):
        need(status.key == b"certificate/" + number.encode(), "a proof of another key")
        found = None if status.value is None else decode(RECORD, status.value)
    with step("time"):
        need(at_ms == time_ms or (until_ms is not None and time_ms <= at_ms < until_ms + is_newest), "not proved then")
        word = None if found is None else status_at(found, at_ms)
    said = dict(proved="status", number=number, exists=found is not None, status=word, valid=word == "valid")
    said |= dict(at_ms=at_ms, until_ms=until_ms, is_newest=is_newest, time_ms=time_ms, height=header.height)
    return dict(**said, rules=header.version, chain_id=header.chain_id, header_hash=hash_of(header), **checkpoint.said)

def read_time(text: str) -> int:  # milliseconds since 1970, from such a number or RFC 3339
    since = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    then = since if text.isdecimal() else datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(text) if text.isdecimal() else (then - since) // timedelta(milliseconds=1)

def answer(parser: argparse.ArgumentParser, verify: Callable[[str, Policy, Any], dict[str, Any]]) -> int:
    """Print what `verify` finds in the files that the command line names; return the exit status."""
    parser.add_argument("file", help="the proof; - is standard input")
    parser.add_argument("--policy", required=True, help="whom to believe (C2SP tlog-policy)")
    options, texts = parser.parse_args(), list[str]()
    try:
        with step("text"):
            for name in (options.policy, options.file):
                with sys.stdin.buffer if name == "-" else open(name, "rb") as stream:
                    texts.append(stream.read(FILE_MAX + 1).decode())
        found = {"verified": True} | verify(texts[1], Policy(texts[0]), options)
    except OSError as error:
        print(f"cannot read {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except Refused as refused:
        found = {"verified": False, "step": refused.args[0], "why": refused.args[1]}
    print(json.dumps(found, default=bytes.hex))
    print("verified" if found["verified"] else f"REFUSED at {found['step']}: {found['why']}", file=sys.stderr)
    return 0 if found["verified"] else 3

def verify_file(text: str, policy: Policy, options: Any) -> dict[str, Any]:
    if options.certificate is not None or options.at is not None:  # a time is a status proof's alone
        return verify_status(text, policy, options.certificate or "", options.at)
    return dict(policy.check(text, []).said) if options.checkpoint else verify_receipt(text, policy)

if __name__ == "__main__":
    asked = argparse.ArgumentParser(description="Verify a proof of a chainnode ledger, offline.")
    asked.add_argument("--certificate", metavar="NO", help="a status proof of this certificate")
    asked.add_argument("--at", type=read_time, metavar="TIME", help="its status then: RFC 3339, or ms since 1970")
    asked.add_argument("--checkpoint", action="store_true", help="a checkpoint alone")
    sys.exit(answer(asked, verify_file))
