"""Mutations of a policy's text: of its lines, names, keys, groups and epochs."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from msgspec.structs import replace

from ledger.policy_epochs import MARK
from primitives.encoding import decode, encode
from primitives.notes import COSIGNATURE_V1, ED25519, NoteKey
from primitives.validators import ValidatorSet
from tests.ledger.governance_fixtures import key_of
from tests.vectors.proof_mutations import Named, encodings, flips, spellings

Change = Iterator[tuple[str, bytes, str | None]]
POLICY = "policy"


def policy_mutations(policy: str, seed: str) -> Change:
    """Yield (name, text, step that refuses it); None where that may be another one."""
    text = policy.encode()
    for name, changed in encodings(text):
        yield name, changed, None
    yield from _lines(policy)
    yield from _groups(policy)
    yield from _epochs(policy)
    for name, changed in _keys(text):
        yield name, changed, POLICY
    for name, changed in flips(text, 200, f"policy {seed}", "text"):
        yield name, changed, None


def _lines(policy: str) -> Change:
    lines = policy.splitlines()
    for place, line in enumerate(lines):
        if not line.startswith("# "):
            rest = [*lines[:place], *lines[place + 1 :]]
            yield f"line {place + 1} missing", _joined(rest), None
            yield f"line {place + 1} twice", _joined([*lines[: place + 1], *lines[place:]]), None
            yield (
                f"line {place + 1} with a word more",
                _joined([*lines[:place], f"{line} x y", *lines[place + 1 :]]),
                None,
            )
            yield (
                f"line {place + 1} with its first word only",
                _joined([*lines[:place], line.split(" ")[0], *lines[place + 1 :]]),
                None,
            )
    yield "turned round", _joined(lines[::-1]), POLICY
    yield "an unknown word", f"{policy}trust everybody\n".encode(), POLICY
    yield "a comment behind a line", policy.replace("quorum v", "quorum # v").encode(), POLICY
    yield "words in capitals", policy.replace("\nwitness", "\nWITNESS").encode(), POLICY
    yield "no-break spaces", policy.replace("quorum v", "quorum\u00a0v").encode(), POLICY
    yield "a vertical tab", policy.replace("quorum v", "quorum\vv").encode(), POLICY
    yield "an escape sequence", (policy + "# \x1b[2J\n").encode(), POLICY
    yield "a delete character", (policy + "# \x7f\n").encode(), POLICY
    yield "5 MiB of comments", policy.encode() + b"# 3456789\n" * 524_288, POLICY


def _joined(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def _groups(policy: str) -> Change:
    line = next(line for line in policy.splitlines() if line.startswith("group "))
    _, name, least, *members = line.split(" ")

    def of(*words: str) -> bytes:
        return policy.replace(line, " ".join(("group", *words))).encode()

    for word in (
        "0",
        "1",
        "2",
        str(len(members) + 1),
        "all",
        "any",
        "-3",
        "+3",
        "03",
        "3.0",
        "0x3",
        "three",
        "",
        "3" * 50,
    ):
        if word != least:
            yield f"group with the threshold {word}", of(name, word, *members), POLICY
    yield "group without its last member", of(name, least, *members[:-1]), POLICY
    yield "group with a member twice", of(name, least, *members, members[0]), POLICY
    yield "group with one member in place of another", of(name, least, *members[:-1], members[0]), POLICY
    yield "group with an unknown member", of(name, least, *members[:-1], "nobody"), POLICY
    yield "group of itself", of(name, least, *members[:-1], name), POLICY
    yield "group without members", of(name, least), POLICY
    yield "group of another epoch", of("validators-of-epoch-9", least, *members), POLICY
    yield "group named none", of("none", least, *members), POLICY
    yield "group named as a witness", of(members[0], least, *members), POLICY
    for word in ("nobody", "", members[0], "all", "any"):
        changed = policy.replace(f"quorum {name}", f"quorum {word}").encode()
        yield f"quorum {word or 'of no name'}", changed, None if word == members[0] else POLICY
    yield "a second quorum", f"{policy}quorum {name}\n".encode(), POLICY
    yield "a second quorum, none", f"{policy}quorum none\n".encode(), POLICY


def _epochs(policy: str) -> Change:
    lines = [line for line in policy.splitlines() if line.startswith(MARK)]
    if not lines:
        return
    last = lines[-1]
    words = last.split(" ")
    found = decode(ValidatorSet, base64.b64decode(words[5]), size_max=1 << 17)

    def of(*changed: str) -> bytes:
        return policy.replace(last, " ".join(changed)).encode()

    def with_set(validators: ValidatorSet) -> bytes:
        return of(*words[:5], base64.b64encode(encode(validators)).decode())

    own = found.validators
    yield "epoch's validators in another order", with_set(replace(found, validators=own[::-1])), None
    yield "epoch with a validator fewer", with_set(replace(found, validators=own[:-1])), POLICY
    yield "epoch with a validator twice", with_set(replace(found, validators=(*own, own[0]))), POLICY
    yield "epoch without validators", with_set(replace(found, validators=())), POLICY
    thief = replace(own[0], cosign_key=key_of("usurper", "cosign").public)
    yield "epoch with a thief's key", with_set(replace(found, validators=(thief, *own[1:]))), POLICY
    twice = replace(own[0], cosign_key=own[1].cosign_key)
    yield "epoch with a key twice", with_set(replace(found, validators=(twice, *own[1:]))), POLICY
    small = replace(own[0], vote_key=b"\1" + bytes(31))
    yield "epoch with a key of small order", with_set(replace(found, validators=(small, *own[1:]))), POLICY
    short = replace(own[0], vote_key=bytes(31))
    yield "epoch with a key of 31 bytes", with_set(replace(found, validators=(short, *own[1:]))), POLICY
    named = replace(own[0], name="a+b")
    yield "epoch with a name that no key has", with_set(replace(found, validators=(named, *own[1:]))), POLICY
    yield "epoch of a set of another epoch", with_set(replace(found, epoch=found.epoch + 1)), POLICY
    raw = base64.b64decode(words[5])
    for name, data in (
        ("with a byte behind the set", raw + b"\0"),
        ("with the set in a longer form", b"\xdc\x00\x02" + raw[1:]),
        ("with half of the set", raw[: len(raw) // 2]),
        ("with no set", b""),
    ):
        yield f"epoch {name}", of(*words[:5], base64.b64encode(data).decode()), POLICY
    for size in ("0", "-1", "01", "+1", "1.0", str(2**63), "9" * 40, "x", ""):
        yield f"epoch from {size}", of(*words[:4], size, words[5]), POLICY
    for number in ("-1", "00", str(found.epoch + 1), "9" * 30, "x"):
        yield f"epoch numbered {number}", of(*words[:2], number, *words[3:]), POLICY
    for place, word in ((1, "era"), (3, "to"), (3, "FROM")):
        yield f"epoch with the word {word}", of(*words[:place], word, *words[place + 1 :]), POLICY
    yield "epoch with two spaces", of(*words[:2], "", *words[2:]), None
    for name, line in spellings(words[5].encode()):
        if "tab" not in name:  # a blank between words
            yield f"epoch, its set {name}", of(*words[:5], line.decode()), POLICY
    if len(lines) > 1:
        yield "epochs swapped", policy.replace(f"{lines[0]}\n{lines[1]}", f"{lines[1]}\n{lines[0]}").encode(), POLICY
        yield "an epoch in the middle missing", policy.replace(lines[1] + "\n", "").encode(), POLICY
        yield "the last epoch missing", policy.replace(last + "\n", "").encode(), POLICY
        yield "an epoch twice", policy.replace(last, f"{last}\n{last}").encode(), POLICY
        size = lines[-2].split(" ")[4]
        yield "two epochs from the same size", of(*words[:4], size, words[5]), POLICY


def _keys(text: bytes) -> Named:
    lines = text.split(b"\n")
    log = next(line for line in lines if line.startswith(b"log "))
    witness = next(line for line in lines if line.startswith(b"witness "))
    vkey = witness.split(b" ")[2]
    name, id_, data = vkey.split(b"+", 2)
    raw = base64.b64decode(data)

    def of(changed: bytes) -> bytes:
        return text.replace(vkey, changed)

    def key(type_: int, public: bytes) -> bytes:
        known = NoteKey(name.decode(), COSIGNATURE_V1, raw[1:])
        return b"+".join((name, known.key_id.hex().encode(), base64.b64encode(bytes([type_]) + public)))

    yield "key whose id is another's", of(b"+".join((name, b"00000000", data)))
    yield "key whose id is in capitals", of(b"+".join((name, id_.upper() if id_.upper() != id_ else b"0" + id_, data)))
    yield "key without its id", of(b"+".join((name, data)))
    yield "key without a name", of(b"+".join((b"", id_, data)))
    yield "key of another name", of(b"+".join((name + b"x", id_, data)))
    yield "key of 31 bytes", of(key(COSIGNATURE_V1, raw[1:-1]))
    yield "key of 33 bytes", of(key(COSIGNATURE_V1, raw[1:] + b"\0"))
    yield "key of no bytes", of(b"+".join((name, id_, b"")))
    yield "key of type 1 for a witness", of(NoteKey(name.decode(), ED25519, raw[1:]).vkey().encode())
    yield "key of type 2", of(key(2, raw[1:]))
    yield "key of type 255", of(key(255, raw[1:]))
    known = log.split(b" ")[1]
    origin = known.split(b"+")[0].decode()
    public = base64.b64decode(known.split(b"+", 2)[2])[1:]
    yield "log key of type 4", text.replace(known, NoteKey(origin, COSIGNATURE_V1, public).vkey().encode())
    yield (
        "key of another log",
        text + b"log " + NoteKey("elsewhere/x", ED25519, key_of("other", "log").public).vkey().encode() + b"\n",
    )
    yield (
        "the log's key under another name too",
        text + b"log " + NoteKey("elsewhere/x", ED25519, public).vkey().encode() + b"\n",
    )
    yield (
        "a witness' key under another name too",
        text + b"witness more " + NoteKey("else/x", COSIGNATURE_V1, raw[1:]).vkey().encode() + b"\n",
    )
    for what, line in spellings(data):
        if "tab" not in what:
            yield f"key {what}", of(b"+".join((name, id_, line)))
