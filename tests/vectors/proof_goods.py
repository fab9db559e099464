"""What the story proves: good proofs of every kind, each with the policy and the inputs that a verifier is given."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ledger.certificate_history_reading import make_certificate_history
from ledger.certificate_records import certificate_key
from ledger.completeness_reading import make_completeness
from ledger.forks import make_fork
from ledger.handovers import make_handovers
from ledger.policy_epochs import MARK
from ledger.receipts import make_receipt
from ledger.status_proofs import StatusProof, make_status_proof
from ledger.tlog_proofs import PROOF_SIZE_MAX, TlogProof, parse_tlog_proof
from ledger.trust_policy import assemble_checkpoint
from primitives import merkle
from primitives.encoding import decode, encode
from primitives.hashing import leaf_hash
from primitives.notes import COSIGNATURE_V1, NoteKey, cosign_statement, cosignature_line
from tests.ledger.certificate_fixtures import DAY_MS, NUMBER
from tests.ledger.governance_fixtures import key_of
from tests.vectors.proof_story import ABSENT, EXPIRING, OtherStory, Story, cosigned

Good = dict[str, dict[str, Any]]
REGULATOR = NoteKey("regulator.example/witness", COSIGNATURE_V1, key_of("regulator", "witness").public)
SIZES = ((1, 0), (2, 1), (3, 2), (7, 4), (8, 3), (100, 66), (1_000, 999))
GROWTHS = ((1, 8), (3, 7), (4, 8), (6, 8), (7, 8), (66, 100), (64, 100), (512, 1_000), (8, 8))


def policies_of(story: Story, other: OtherStory) -> dict[str, str]:
    """Return the policies that vectors name."""
    first = story.policy(0)
    found = {f"epoch {epoch}": story.policy(epoch) for epoch in range(len(story.sets))}
    found["without epochs"] = "".join(line for line in first.splitlines(True) if not line.startswith("#"))
    found["newest epoch only"] = "".join(
        line for line in story.policy(3).splitlines(True) if not line.startswith(MARK) or f"{MARK} epoch 3" in line
    )
    found["with a regulator"] = first.replace(
        "quorum validators-of-epoch-0\n",
        f"witness regulator {REGULATOR.vkey()}\ngroup both all validators-of-epoch-0 regulator\nquorum both\n",
    )
    found["another chain"] = other.policy(0)
    return found


def receipts(story: Story) -> Good:
    """Return receipts: under the policy of their own epoch, an older and a newer one."""
    found: Good = {}
    under = {"lone": 0, "of big": 0, "last of big": 3, "rejected": 0, "behind rejected": 1, "granted": 0}
    under |= {"suspended": 3, "restored": 3, "paid in epoch 2": 2, "revoked": 3}
    for name, epoch in under.items():
        proof = make_receipt(story.reader, story.event_ids[name], epoch)
        found[name] = {"proof": proof, "policy": f"epoch {epoch}"}
    early = make_receipt(story.reader, story.event_ids["lone"], 0)
    assert early is not None
    found["under the newest epoch alone"] = {"proof": with_note(story, "revoked"), "policy": "newest epoch only"}
    return found


def with_note(story: Story, name: str) -> str:
    """Return the receipt of an event as it is for policies of the newest epoch."""
    proof = make_receipt(story.reader, story.event_ids[name], 3)
    assert proof is not None
    return proof


def handed_over(story: Story) -> Good:
    """Return receipts whose handovers lead from the genesis' policy, or a later one, to the checkpoint's epoch."""
    found: Good = {}
    for name, first, policy in (
        ("over one epoch", 0, "epoch 0"),
        ("over three epochs", 0, "epoch 0"),
        ("with handovers that the policy does not need", 0, "epoch 2"),
        ("from epoch 1", 1, "epoch 1"),
        ("from epoch 2", 2, "epoch 2"),
    ):
        event = "restored" if name == "over one epoch" else "revoked"
        proof = make_receipt(story.reader, story.event_ids[event], first)
        assert proof is not None
        found[name] = {"proof": proof, "policy": policy}
    return found


def states(story: Story) -> Good:
    """Return status proofs: presence and absence, between two blocks, at the log's end, and at one block alone."""
    found: Good = {}

    def add(name: str, number: str, height: int, policy: int, at_ms: int | None = None, **more: Any) -> None:
        proof = make_status_proof(story.reader, certificate_key(number), height, policy)
        assert proof is not None
        found[name] = {"proof": proof, "policy": f"epoch {policy}", "certificate": number, **more}
        if at_ms is not None:
            found[name]["at_ms"] = at_ms

    height = story.height
    add("valid", NUMBER, height["granted"], 0)
    add("absent before it was granted", NUMBER, height["granted"] - 1, 0)
    add("never granted", ABSENT, height["suspended"], 0)
    add("suspended, in a later epoch", NUMBER, height["suspended"], 1)
    add("restored", NUMBER, height["restored"], 3)
    add("of an old block under a policy of now", NUMBER, height["payments"], 3)
    add("revoked at the end of the log", NUMBER, height["years later"], 3)
    add("expired at the end of the log", EXPIRING, height["years later"], 3)
    add("never granted, years later", ABSENT, height["years later"], 0)
    last_ms = story.chain.header.time_ms
    add("years before the next block", EXPIRING, height["revoked"], 3, last_ms - 4 * 365 * DAY_MS + 1)
    add("in the last millisecond before the next block", EXPIRING, height["revoked"], 3, last_ms - 1)
    parsed = parse_tlog_proof(found["valid"]["proof"])
    alone = replace(decode(StatusProof, parsed.extra, size_max=PROOF_SIZE_MAX), following=None)
    text = TlogProof(encode(alone), parsed.index, parsed.path, parsed.note).text()
    found["at its block's time alone"] = {**found["valid"], "proof": text}
    plain = make_status_proof(story.reader, "policy", height["payments"], 0)
    found["of the chain's policy"] = {"proof": plain, "policy": "epoch 0"}
    return found


def checkpoints(story: Story) -> Good:
    """Return checkpoints of every epoch, signed by a quorum or more, as different nodes as the log."""
    found: Good = {}
    for name, note in story.notes.items():
        found[name] = {"proof": note, "policy": "epoch 3"}
    first = story.notes["epoch 0"]
    found["without lines of epochs"] = {"proof": first, "policy": "without epochs"}
    found["before any change"] = {"proof": first, "policy": "epoch 0"}
    size, root = _said(first)
    text, signed = cosigned(story, story.sets[0], size, root, 1_767_300_000, (0, 1, 2, 3))
    chosen = assemble_checkpoint(
        story.genesis, story.sets[0], "node-2", key_of("node-2", "log"), size, root, signed[1:]
    )
    found["served by another node"] = {"proof": chosen, "policy": "epoch 0"}
    line = cosignature_line(
        REGULATOR, 1_767_300_009, key_of("regulator", "witness").sign(cosign_statement(text, 1_767_300_009))
    )
    found["with a regulator's cosignature"] = {"proof": first + line, "policy": "with a regulator"}
    found["with a signature that the policy does not know"] = {"proof": first + line, "policy": "epoch 0"}
    return found


def _said(note: str) -> tuple[int, Any]:
    import base64

    lines = note.split("\n")
    return int(lines[1]), base64.b64decode(lines[2])


def judged(story: Story) -> Good:
    """Return the policies, each with a receipt that it accepts."""
    proofs = {epoch: make_receipt(story.reader, story.event_ids["revoked"], epoch) for epoch in (0, 3)}
    found = {f"epoch {epoch}": {"proof": proof, "policy": f"epoch {epoch}"} for epoch, proof in proofs.items()}
    found["newest epoch only"] = {"proof": proofs[3], "policy": "newest epoch only"}
    return found


def completes(story: Story) -> Good:
    """Return proofs of completeness: with events and without, of a member without batches, to the end of the log."""
    found: Good = {}
    last = story.height["years later"]
    for name, member, start, stop, epoch in (
        ("the block of the big batch", "bank-1", 1, 1, 0),
        ("a middle part", "bank-1", 2, 28, 0),
        ("without events", "bank-1", 9, 9, 0),
        ("with a rejected event", "bank-2", 0, 8, 0),
        ("all of a member", "cb", 0, last, 3),
        ("two batches in a block", "bank-1", 28, 28, 2),
        ("a member without batches", "auditor", 0, last, 0),
        ("no such member, before all others", "a", 3, 8, 0),
        ("no such member, behind all others", "zzz", 0, 1, 0),
        ("the end of the log", "bank-0", last, last, 0),
    ):
        page = make_completeness(story.reader, member, start, stop, from_epoch=epoch)
        assert page is not None
        assert page.to_height == stop
        found[name] = {"proof": page.proof, "policy": f"epoch {epoch}", "member": member}
    return found


def forks(story: Story) -> Good:
    """Return forks: one size with two roots, another history, and a smaller log that was signed later."""
    size, root = story.chain.log_size, story.chain.log_root
    early = _said(story.notes["epoch 0"])[0]
    grown = story.reader.consistency(early, size)
    other = leaf_hash(b"another history")

    def note(epoch: int, at: int, what: Any, time_s: int) -> str:
        _, signed = cosigned(story, story.sets[epoch], at, what, time_s)
        return assemble_checkpoint(
            story.genesis, story.sets[epoch], "node-0", key_of("node-0", "log"), at, what, signed
        )

    handovers = make_handovers(story.reader, 3)
    later = _said(story.notes["epoch 0, later"])[0]
    found = {
        "one size": make_fork(note(3, size, root, 1_900_000_000), note(3, size, other, 1_900_000_000), handovers),
        "another history": make_fork(
            note(0, early, other, 1_800_000_000),
            note(3, size, root, 1_900_000_000),
            handovers,
            grown.old_root,
            grown.path,
        ),
        "signed later": make_fork(
            note(0, early, story.reader.log_root(early), 1_800_000_009),
            note(0, later, story.reader.log_root(later), 1_800_000_000),
            (),
        ),
    }
    return {name: {"proof": fork.text(), "policy": "epoch 0"} for name, fork in found.items()}


def histories(story: Story) -> Good:
    """Return pages of histories: whole, in parts, as of an earlier block, and of a certificate that there is not."""
    found: Good = {}
    last = story.height["years later"]
    for name, number, height, first, page, epoch in (
        ("whole", NUMBER, last, 0, 1 << 20, 0),
        ("its first page", NUMBER, last, 0, 900, 0),
        ("a later page", NUMBER, last, 6, 900, 0),
        ("as of the grant", NUMBER, story.height["granted"], 0, 1 << 20, 3),
        ("of another certificate", EXPIRING, last, 0, 1 << 20, 3),
        ("of a certificate that there is not", ABSENT, last, 0, 1 << 20, 0),
    ):
        made = make_certificate_history(story.reader, number, height, first=first, page=page, from_epoch=epoch)
        assert made is not None
        found[name] = {"proof": made.proof, "policy": f"epoch {epoch}", "certificate": number}
    return found


def inclusions() -> Good:
    """Return inclusion proofs in trees of several sizes; numbers stand as text, since some readers lose digits."""
    found: Good = {}
    for size, index in SIZES:
        leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(size)]
        found[f"leaf {index} of {size}"] = {
            "size": str(size),
            "index": str(index),
            "leaf": leaves[index].hex(),
            "root": merkle.root_of(leaves).hex(),
            "path": [item.hex() for item in merkle.inclusion_path(leaves, index)],
        }
    return found


def consistencies() -> Good:
    """Return consistency proofs between trees of several sizes."""
    found: Good = {}
    for old, new in GROWTHS:
        leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(new)]
        path = merkle.consistency_path(leaves, old) if old < new else []
        found[f"{old} to {new}"] = {
            "old_size": str(old),
            "old_root": merkle.root_of(leaves[:old]).hex(),
            "new_size": str(new),
            "new_root": merkle.root_of(leaves).hex(),
            "path": [item.hex() for item in path],
        }
    return found
