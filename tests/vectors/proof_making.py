"""Puts the files of vectors together: good proofs, mutations of them and forgeries, each judged by the product first.

A mutation that still verifies is none: one that changes nothing of the verdict (a second spelling of what nobody reads)
is left out, one that says something else that is true must be named in `TRUE_OTHERWISE`. Anything else is a hole in the
verifier, and ends the making.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ledger.certificate_history import HISTORY_VERSION, CertificateHistory
from ledger.completeness import COMPLETENESS_VERSION, Completeness
from ledger.forks import VERSION as FORK_VERSION
from ledger.forks import ForkExtra, make_fork, parse_fork
from ledger.receipts import RECEIPT_VERSION, Receipt
from ledger.status_proofs import STATUS_PROOF_VERSION, StatusProof
from primitives.encoding import Record, decode
from primitives.errors import InputError
from tests.vectors import proof_goods as goods
from tests.vectors import proof_mutations as mutations
from tests.vectors.proof_files import (
    FORMAT,
    Inputs,
    Json,
    bad_inputs,
    extra_of,
    good_inputs,
    judge,
    splices_of,
    with_extra,
    written,
)
from tests.vectors.proof_forging import (
    Forgery,
    ReceiptForge,
    StatusForge,
    degenerate,
    handover_forgeries,
    note_forgeries,
)
from tests.vectors.proof_lies import lies
from tests.vectors.proof_policies import policy_mutations
from tests.vectors.proof_story import OtherStory, Story
from tests.vectors.proof_trees import tree_mutations

RELEASE = "0.1.0"
TYPES: dict[str, type[Record]] = {
    "receipt": Receipt,
    "handovers": Receipt,
    "status": StatusProof,
    "completeness": Completeness,
    "history": CertificateHistory,
    "fork": ForkExtra,
}
VERSIONS = {
    "receipt": RECEIPT_VERSION,
    "handovers": RECEIPT_VERSION,
    "status": STATUS_PROOF_VERSION,
    "completeness": COMPLETENESS_VERSION,
    "history": HISTORY_VERSION,
    "fork": FORK_VERSION,
}
MAY_DIFFER = "not an acceptable Ed25519 public key"
"""Verifiers may take a policy that lists a key under which nobody can sign: not for the vectors."""
TRUE_OTHERWISE = {"completeness": frozenset({"absence, field from_height 0"})}
"""Mutations that verify with another verdict, since what they say is true as well, by kind."""
EXTRA_SIZE_MAX = 1 << 24


@dataclass
class File:
    """One file in the making."""

    kind: str
    policies: dict[str, str]
    good: dict[str, Json] = field(default_factory=dict)
    bad: dict[str, Json] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def add_good(self, name: str, inputs: Inputs) -> None:
        """Add a good vector with the product's verdict."""
        vector: Json = {"name": name, "inputs": inputs}
        vector["verdict"] = judge(self.kind, good_inputs(vector, self.policies))
        self.good[name] = vector

    def add_bad(self, name: str, base: str, step: str | None = None, **more: Any) -> None:
        """Add a bad vector made of the good one `base`; `step` is the one that must refuse it."""
        vector: Json = {"name": name, "base": base, **({} if step is None else {"step": step}), **more}
        assert name not in self.bad, f"two vectors of {self.kind} are named {name}"
        inputs = bad_inputs(vector, self.good[base], self.policies)
        if repr(inputs) in self.seen:  # two ways to the same bytes
            return
        self.seen.add(repr(inputs))
        try:
            said = judge(self.kind, inputs)
        except InputError as error:
            if error.what == MAY_DIFFER and step is None:
                return
            if step is not None and not (error.where or "").startswith(step):
                self.wrong.append(f"{name}: {step} expected, not {error}")
            self.bad[name] = vector
            return
        if step is not None or (said != self.good[base]["verdict"] and name not in TRUE_OTHERWISE.get(self.kind, ())):
            self.wrong.append(f"{name}: verifies")

    def add_text(self, name: str, base: str, text: bytes, step: str | None = None, **inputs: Any) -> None:
        """Add a bad vector whose proof is this text."""
        old = self.good[base]["inputs"]["proof"].encode()
        edit: Json = {}
        try:
            extra = extra_of(text)
        except (ValueError, IndexError):
            extra = b""
        if extra and self.kind in TYPES and with_extra(text, extra) == text and extra != extra_of(old):
            edit["extra"] = written(splices_of(extra_of(old), extra))
            old = with_extra(old, extra)
        if old != text:
            edit["proof"] = written(splices_of(old, text))
        if edit or inputs:
            more = {**({"edit": edit} if edit else {}), **({"inputs": inputs} if inputs else {})}
            self.add_bad(name, base, step, **more)

    def add_all(self, base: str, found: Iterator[tuple[str, bytes]], prefix: str = "", extra: bool = False) -> None:
        """Add mutations of a text, or of its extra data."""
        old = self.good[base]["inputs"]["proof"].encode()
        for name, changed in found:
            self.add_text(f"{prefix}{name}", base, with_extra(old, changed) if extra else changed)

    def add_forgeries(self, base: str, found: Iterator[Forgery], prefix: str) -> None:
        """Add what is signed anew."""
        for name, text, step in found:
            self.add_text(f"{prefix}{name}", base, text.encode(), step)

    def content(self) -> Json:
        """Return the file's content."""
        assert not self.wrong, "\n  ".join((self.kind, *self.wrong))
        assert len(self.bad) >= 200, f"{self.kind}: {len(self.bad)} bad vectors"
        return {
            "format": FORMAT,
            "kind": self.kind,
            "made_by": f"chainnode {RELEASE}",
            **({"proof_version": VERSIONS[self.kind]} if self.kind in VERSIONS else {}),
            "counts": {"good": len(self.good), "bad": len(self.bad)},
            "good": list(self.good.values()),
            "bad": list(self.bad.values()),
        }


def made_files() -> dict[str, Json]:
    """Return the content of every file, by name."""
    story, other = Story().tell(), OtherStory().tell()
    policies = goods.policies_of(story, other)
    policies["a key of small order"], small = degenerate(story)
    found: dict[str, Json] = {
        "policies": {"format": FORMAT, "made_by": f"chainnode {RELEASE}", "policies": policies},
    }
    makers: dict[str, Callable[[File, Story, OtherStory], None]] = {
        "inclusion": lambda file, *_: _trees(file, goods.inclusions()),
        "consistency": lambda file, *_: _trees(file, goods.consistencies()),
        "checkpoint": _checkpoints,
        "policy": _policies,
        "receipt": _receipts,
        "handovers": _handovers,
        "status": _states,
        "completeness": _completes,
        "history": _histories,
        "fork": _forks,
    }
    for kind, make in makers.items():
        file = File(kind, policies)
        make(file, story, other)
        if kind == "checkpoint":
            inputs = {"policy": "a key of small order", "proof": small}
            file.add_bad("a cosignature of a key of small order", "epoch 0", "cosignatures", inputs=inputs)
        found[kind] = file.content()
    return found


def _fill(file: File, good: goods.Good) -> None:
    for name, inputs in good.items():
        file.add_good(name, inputs)


def _text_of(file: File, base: str) -> bytes:
    text: str = file.good[base]["inputs"]["proof"]
    return text.encode()


def _note_start(text: bytes) -> int:
    return text.index(b"\n\n") + 2


def _generic(file: File, base: str, flips: int, deep: bool = True) -> None:
    """Add what can be done to any proof: to its text, note, extra data and every field of them."""
    text = _text_of(file, base)
    extra = extra_of(text)
    file.add_all(base, mutations.encodings(text))
    file.add_all(base, mutations.heads(text))
    file.add_all(base, mutations.notes(text, _note_start(text)), "note, ")
    file.add_all(base, mutations.cuts(text, 8, "text"))
    file.add_all(base, mutations.flips(text, flips, f"{file.kind} text", "text"))
    file.add_all(base, mutations.cuts(extra, 8, "extra data"), extra=True)
    file.add_all(base, mutations.flips(extra, flips, f"{file.kind} extra", "extra data"), extra=True)
    file.add_all(base, mutations.shapes(extra), "extra data: ", extra=True)
    if deep:
        _lie(file, base)


def _lie(file: File, base: str, prefix: str = "field ") -> None:
    record = decode(TYPES[file.kind], extra_of(_text_of(file, base)), size_max=EXTRA_SIZE_MAX)
    left_out = "" if file.kind == "handovers" else "handovers"  # they have a file of their own
    file.add_all(base, lies(record, left_out), prefix, extra=True)


def _other_policies(file: File, base: str) -> None:
    """Add the proof under policies that do not accept it."""
    for name, step in (("another chain", "checkpoint"), ("with a regulator", "cosignatures")):
        file.add_bad(f"under the policy: {name}", base, step, inputs={"policy": name})


def _swapped(file: File, names: list[str]) -> None:
    """Add proofs whose extra data, or whose note, are those of another one."""
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        text, from_other = _text_of(file, name), _text_of(file, other)
        mixed = with_extra(text, extra_of(from_other))
        if mixed != from_other:  # proofs under one checkpoint may differ in nothing else
            file.add_text(f"the extra data of another: {name}, {other}", name, mixed)
        head = text[: _note_start(text)]
        file.add_text(f"the checkpoint of another: {name}, {other}", name, head + from_other[_note_start(from_other) :])


def _trees(file: File, good: goods.Good) -> None:
    _fill(file, good)
    for base, vector in list(file.good.items()):
        for name, inputs in tree_mutations(vector["inputs"], long=base == next(iter(good))):
            file.add_bad(f"{base}: {name}", base, inputs=inputs)


def _receipts(file: File, story: Story, other: OtherStory) -> None:
    _fill(file, goods.receipts(story))
    forge = ReceiptForge(story)
    file.add_good("put together by hand", {"proof": forge.receipt(), "policy": "epoch 0"})
    file.add_forgeries("put together by hand", forge.forgeries(), "signed anew: ")
    _generic(file, "last of big", 60)
    _other_policies(file, "of big")
    _swapped(file, [name for name in file.good if name != "put together by hand"])


def _handovers(file: File, story: Story, other: OtherStory) -> None:
    _fill(file, goods.handed_over(story))
    base = "over three epochs"
    file.add_forgeries(base, handover_forgeries(story, _text_of(file, base).decode()), "signed anew: ")
    _lie(file, base)
    extra = extra_of(_text_of(file, base))
    file.add_all(base, mutations.flips(extra, 120, "handovers", "extra data"), extra=True)
    _other_policies(file, base)


def _states(file: File, story: Story, other: OtherStory) -> None:
    _fill(file, goods.states(story))
    forge = StatusForge(story)
    for name, text in (
        ("put together by hand", forge.status()),
        ("put together by hand, with the next header", forge.status(following=forge.after())),
        ("put together by hand, in a log that goes on", forge.status(more=5)),
    ):
        file.add_good(name, {"proof": text, "policy": "epoch 0"})
    file.add_forgeries("put together by hand", forge.forgeries(), "signed anew: ")
    base = "restored"
    _generic(file, base, 60)
    _lie(file, "of an old block under a policy of now", "absence, field ")
    _other_policies(file, "valid")
    alone = "at its block's time alone"  # its extra data are true of the whole time as well
    _swapped(file, [name for name in file.good if "certificate" in file.good[name]["inputs"] and name != alone])
    for name, vector in list(file.good.items()):
        verdict = vector["verdict"]
        if "certificate" not in vector["inputs"]:
            continue
        file.add_bad(
            f"{name}: asked for another certificate", name, "state", inputs={"certificate": "FTP-2026-06-000123"}
        )
        until = verdict["until_ms"]
        last = verdict["time_ms"] if until is None else until - (not verdict["is_newest"])
        for what, at_ms in (
            ("before its block", verdict["time_ms"] - 1),
            ("just later", last + 1),
            ("years later", last + 10**11),
        ):
            file.add_bad(f"{name}: asked for a time {what}", name, "time", inputs={"at_ms": at_ms})


def _checkpoints(file: File, story: Story, other: OtherStory) -> None:
    _fill(file, goods.checkpoints(story))
    base = "epoch 3"
    text = _text_of(file, base)
    file.add_forgeries(base, note_forgeries(story, other), "signed anew: ")
    file.add_all(base, mutations.encodings(text))
    file.add_all(base, mutations.notes(text))
    file.add_all(base, mutations.cuts(text, 12, "text"))
    file.add_all(base, mutations.flips(text, 100, "checkpoint", "text"))
    file.add_all("epoch 2", mutations.flips(_text_of(file, "epoch 2"), 40, "checkpoint 2", "of epoch 2"))
    _other_policies(file, "epoch 0")
    file.add_bad("of epoch 3 under the genesis' policy", "epoch 3", "cosignatures", inputs={"policy": "epoch 0"})
    file.add_bad(
        "of epoch 0 under a policy that begins later", "epoch 0", "checkpoint", inputs={"policy": "newest epoch only"}
    )
    for name, step in (("epoch 3", "cosignatures"), ("years later", "log signature")):
        file.add_bad(f"of {name} under a policy without epochs", name, step, inputs={"policy": "without epochs"})


def _policies(file: File, story: Story, other: OtherStory) -> None:
    _fill(file, goods.judged(story))
    for base in ("epoch 3", "epoch 0"):
        old = file.policies[base].encode()
        for name, text, step in policy_mutations(file.policies[base], base):
            if text != old:
                file.add_bad(f"{base}: {name}", base, step, edit={"policy": written(splices_of(old, text))})
    for name in ("another chain", "with a regulator"):
        file.add_bad(f"another policy: {name}", "epoch 0", inputs={"policy": name})


def _completes(file: File, story: Story, other: OtherStory) -> None:
    _fill(file, goods.completes(story))
    _generic(file, "two batches in a block", 40)
    _lie(file, "no such member, before all others", "absence, field ")
    _other_policies(file, "without events")
    _swapped(file, list(file.good))
    for name in file.good:
        file.add_bad(f"{name}: asked for another member", name, "range", inputs={"member": "bank-3"})


def _histories(file: File, story: Story, other: OtherStory) -> None:
    _fill(file, goods.histories(story))
    _generic(file, "as of the grant", 40)
    _lie(file, "of a certificate that there is not", "absence, field ")
    _other_policies(file, "whole")
    _swapped(file, list(file.good))
    for name in file.good:
        file.add_bad(
            f"{name}: asked for another certificate", name, "state", inputs={"certificate": "FTP-2026-06-000123"}
        )


def _forks(file: File, story: Story, other: OtherStory) -> None:
    _fill(file, goods.forks(story))
    base = "another history"
    text = _text_of(file, base)
    extra = extra_of(text)
    fork = parse_fork(text.decode())

    def of(first: str, second: str) -> bytes:
        return make_fork(first, second, fork.extra.handovers, fork.extra.prefix_root, fork.extra.path).text().encode()

    honest = story.notes["epoch 0"]
    file.add_text("a smaller log that the larger one extends", base, of(honest, fork.second), "contradiction")
    file.add_text("one note twice", base, of(fork.second, fork.second), "contradiction")
    file.add_text("notes swapped", base, of(fork.second, fork.first), "contradiction")
    file.add_text("another chain's note", base, of(fork.first, other.notes["years later"]), "the second note")
    file.add_all(base, mutations.encodings(text))
    for name, changed in mutations.notes(fork.first.encode()):
        file.add_text(f"first note, {name}", base, text.replace(fork.first.encode(), changed))
    file.add_all(base, mutations.notes(text, text.index(fork.second.encode())), "second note, ")
    file.add_all(base, mutations.cuts(text, 12, "text"))
    file.add_all(base, mutations.flips(text, 80, "fork text", "text"))
    file.add_all(base, mutations.shapes(extra), "extra data: ", extra=True)
    file.add_all(base, mutations.flips(extra, 80, "fork extra", "extra data"), extra=True)
    _lie(file, base)
