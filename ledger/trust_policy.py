"""The policy under which receipts are trusted: which logs, which cosigners, and how many of them.

Text as C2SP tlog-policy defines it (`log`, `witness`, `group`, `quorum` lines). Here: writing the policy of a chain,
reading any policy, and judging a signed checkpoint by it: of the epoch that its quorum names, of earlier ones that it
lists, and of later ones to which handovers lead. Not here: what a leaf says (`ledger.receipts`), the lines of epochs
(`ledger.policy_epochs`). Key names: a log key is named by the origin, a cosigning key by `CHAIN/VALIDATOR`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ledger.genesis import Genesis
from ledger.handovers import EpochSpan, Handover, follow
from ledger.policy_epochs import (
    MARK,
    check_order,
    cosigner_key_of,
    epoch_line,
    group_of,
    log_key_of,
    parse_epoch_line,
    span_at,
)
from ledger.proof_steps import CHECKPOINT, COSIGNATURES, HANDOVERS, LOG_SIGNATURE, POLICY, step
from primitives.errors import ProofError, UsageError
from primitives.ids import Hash
from primitives.keys import SigningKey
from primitives.notes import (
    COSIGNATURE_V1,
    ED25519,
    Checkpoint,
    Note,
    NoteKey,
    assemble_note,
    cosignature_line,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    sign_note,
    verify_cosignature,
    verify_log_signature,
)
from primitives.validators import Validator, ValidatorSet

POLICY_SIZE_MAX = 4 << 20
NONE = "none"
TOO_FEW = "too few cosignatures for the policy"
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BLANKS = re.compile(r"[ \t]+")
_HASH = re.compile(r"[0-9a-f]{64}")
_THRESHOLD = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True)
class Group:
    """Holds where at least `threshold` of its members (witnesses or earlier groups) do."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckedCheckpoint:
    """A checkpoint that a policy accepts: who cosigned it, and the earliest and latest time of theirs, in seconds.

    `epoch` is that of the validators who cosigned it, None where the policy names no epochs; `witnesses` counts all
    whose word the policy would have taken. `times` has the time in seconds of each cosignature by its key.
    """

    checkpoint: Checkpoint
    epoch: int | None
    witnesses: int
    cosigners: tuple[str, ...]
    first_s: int
    last_s: int
    times: tuple[tuple[NoteKey, int], ...]

    @property
    def middle_s(self) -> int:
        """The middle one of the cosigners' times: fewer than half of them do not move it beyond the others'."""
        ordered = sorted(time_s for _, time_s in self.times)
        return ordered[len(ordered) // 2] if ordered else 0


@dataclass(slots=True)
class TrustPolicy:
    """Logs by their keys, witnesses and groups by their names in the policy, and the name that must hold.

    `grouped` are all members of the groups. `epochs` are those that it lists, ascending; the last one's validators are
    a group, which the quorum names alone or, through another group, beside outside witnesses
    (`ledger.policy_witnesses`).
    """

    logs: list[NoteKey] = field(default_factory=list)
    witnesses: dict[str, NoteKey] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    grouped: set[str] = field(default_factory=set)
    quorum: str | None = None
    epochs: list[EpochSpan] = field(default_factory=list)

    @property
    def chain_id(self) -> Hash:
        """The chain of a policy that names epochs."""
        return _chain_id(self.logs[0].name)

    def check(self, note_text: str, handovers: Sequence[Handover] = ()) -> CheckedCheckpoint:
        """Return the checkpoint of a note; ProofError unless a log of the policy signed it and the quorum cosigned it.

        A signature of a known key that does not verify refuses the note; those of unknown keys count for nothing. Where
        the policy names epochs, each one's validators count for the sizes of its own term only, and `handovers` may
        lead to later ones; the group of validators then stands for those of the checkpoint's epoch.
        """
        with step(CHECKPOINT):
            note = parse_note(note_text)
            checkpoint = parse_checkpoint(note.text)
            self._check_origin(checkpoint)
        if not self.epochs:
            return self._judge(note, checkpoint, None)
        with step(HANDOVERS):
            spans = self._spans(checkpoint.origin, handovers)
        with step(CHECKPOINT):
            span = span_at(spans, checkpoint.size)
        own = span.validators.epoch == self.epochs[-1].validators.epoch
        policy = self if own else self._of_epoch(span.validators, checkpoint.origin)
        served = replace(policy, logs=[*self.logs, *self._further_logs(checkpoint.origin, spans)])
        return served._judge(note, checkpoint, span.validators.epoch)

    def _spans(self, origin: str, handovers: Sequence[Handover]) -> list[EpochSpan]:
        """Return the epochs of the policy and those to which the handovers lead from its last one on."""
        present = self.epochs[-1]
        newer = [each for each in handovers if each.header.epoch >= present.validators.epoch]
        return [*self.epochs[:-1], *follow(present, _chain_id(origin), newer)]

    def _further_logs(self, origin: str, spans: Sequence[EpochSpan]) -> list[NoteKey]:
        """Return the log keys that the policy does not list of the validators of all these epochs.

        Whoever serves a checkpoint signs it as the log, a node that left or has yet to join as well. What it is worth
        is for the cosigners of its own epoch to say.
        """
        keys = {validator.log_key: validator for span in spans for validator in span.validators.validators}
        known = {key.public for key in self.logs}
        return [log_key_of(origin, validator) for key, validator in keys.items() if key not in known]

    def _of_epoch(self, validators: ValidatorSet, origin: str) -> TrustPolicy:
        """Return this policy with the validators of another epoch in the place of its own."""
        group = group_of(self.epochs[-1].validators.epoch)
        kept = {name: key for name, key in self.witnesses.items() if name not in self.groups[group].members}
        chain = _chain(origin)
        cosigners = {
            _free_name(v.name, validators.epoch, {*kept, *self.groups}): cosigner_key_of(chain, v)
            for v in validators.validators
        }
        return replace(
            self,
            witnesses={**kept, **cosigners},
            groups={**self.groups, group: Group(validators.quorum, tuple(cosigners))},
        )

    def _judge(self, note: Note, checkpoint: Checkpoint, epoch: int | None) -> CheckedCheckpoint:
        with step(LOG_SIGNATURE):
            self._check_log(note, checkpoint)
        with step(COSIGNATURES):
            times = self._cosigned(note, checkpoint, epoch)
        first_s, last_s = min(times.values(), default=0), max(times.values(), default=0)
        keys = tuple((self.witnesses[name], time_s) for name, time_s in times.items())
        return CheckedCheckpoint(checkpoint, epoch, len(self.witnesses), tuple(times), first_s, last_s, keys)

    def _cosigned(self, note: Note, checkpoint: Checkpoint, epoch: int | None) -> dict[str, int]:
        """Return the time in seconds at which each witness cosigned; ProofError where they are not the quorum."""
        times: dict[str, int] = {}
        for name, key in self.witnesses.items():
            if note.signature_by(key) is not None:
                times[name] = verify_cosignature(note, key)
        if not self._holds(self.quorum or NONE, times.keys()):
            raise ProofError(
                TOO_FEW,
                where=f"checkpoint of size {checkpoint.size}",
                expected=f"quorum {self.quorum} ({self._describe(self.quorum or NONE)})",
                got=", ".join(times) or "none",
                hint=None if epoch is None else f"the policy and the proof lead to epoch {epoch} at this size",
            )
        return times

    def _check_origin(self, checkpoint: Checkpoint) -> None:
        if all(key.name != checkpoint.origin for key in self.logs):
            known = ", ".join(sorted({key.name for key in self.logs})) or "none"
            raise ProofError("checkpoint of a log that the policy does not name", expected=known, got=checkpoint.origin)

    def _check_log(self, note: Note, checkpoint: Checkpoint) -> None:
        logs = [key for key in self.logs if key.name == checkpoint.origin]
        signed = [key for key in logs if note.signature_by(key) is not None]
        if not signed:
            raise ProofError(
                "checkpoint without a signature of the log",
                where=checkpoint.origin,
                expected="one by a log key of the policy, or of a validator of an epoch that it knows",
                got=", ".join(line.key_id.hex() for line in note.signatures if line.name == checkpoint.origin)
                or "none",
                hint="a node whose log key is not declared served it: ask another, or export the policy anew",
            )
        for key in signed:
            verify_log_signature(note, key)

    def _holds(self, name: str, cosigned: Iterable[str]) -> bool:
        """Say whether a name holds. A group names only what stands above it, so one pass over the groups decides."""
        holding = {NONE, *cosigned}
        for group_name, group in self.groups.items():
            if sum(member in holding for member in group.members) >= group.threshold:
                holding.add(group_name)
        return name in holding

    def _describe(self, name: str) -> str:
        group = self.groups.get(name)
        return name if group is None else f"{group.threshold} of {len(group.members)}"


def parse_policy(text: str) -> TrustPolicy:
    """Return the policy of a text; ProofError with the line where it is malformed."""
    if len(text) > POLICY_SIZE_MAX:
        raise ProofError(
            "policy too large", where=POLICY, expected=f"at most {POLICY_SIZE_MAX} characters", got=len(text)
        )
    policy = TrustPolicy()
    taken: set[NoteKey] = set()
    for number, line in enumerate(text.split("\n"), 1):
        where = f"policy, line {number}"
        if _FORBIDDEN.search(line):
            raise ProofError("control character in a policy", where=where, expected="text, tabs and newlines")
        words = [word for word in _BLANKS.split(line) if word]
        if words and words[0] == MARK:
            span = parse_epoch_line(words, where)
            check_order(policy.epochs, span, where)
            policy.epochs.append(span)
        elif words and not words[0].startswith("#"):
            _parse_line(policy, taken, words, where)
    if policy.quorum is None:
        raise ProofError("policy without a quorum", where=POLICY, expected="one line: quorum NAME")
    if policy.epochs:
        with step(POLICY):
            _check_present(policy, policy.epochs[-1].validators)
    return policy


def _check_present(policy: TrustPolicy, validators: ValidatorSet) -> None:
    """Raise ProofError unless the group of the last epoch says of its validators what the epoch's line says."""
    name = group_of(validators.epoch)
    group = policy.groups.get(name)
    origins = {key.name for key in policy.logs}
    if group is None or len(origins) != 1:
        raise ProofError("epoch of a policy without its group or log", expected=f"group {name} and one log's keys")
    origin = origins.pop()
    chain = _chain(origin)
    _chain_id(origin)
    listed = {policy.witnesses[member] for member in group.members if member in policy.witnesses}
    named = {cosigner_key_of(chain, validator) for validator in validators.validators}
    if listed != named or len(group.members) != validators.n or group.threshold != validators.quorum:
        raise ProofError(
            "group of validators is not the epoch's",
            where=name,
            expected=f"{validators.quorum} of {', '.join(v.name for v in validators.validators)}",
            got=f"{group.threshold} of {', '.join(group.members)}",
        )


def _chain(origin: str) -> str:
    return origin.rpartition("/")[0]


def _chain_id(origin: str) -> Hash:
    digits = origin.rpartition("/")[2]
    if _HASH.fullmatch(digits) is None:
        raise ProofError("origin without a chain id", expected="NAME/CHAIN_ID, 64 hex digits", got=origin)
    return Hash(bytes.fromhex(digits))


def _free_name(name: str, epoch: int, taken: set[str]) -> str:
    """Return a name for a validator of another epoch that no other witness or group of the policy has."""
    while name in taken:
        name = f"{name}@{epoch}"
    return name


def _parse_line(policy: TrustPolicy, taken: set[NoteKey], words: list[str], where: str) -> None:
    match words:
        case ["log", vkey] | ["log", vkey, _]:
            key = _key(vkey, ED25519, where)
            _distinct(key, taken, where)
            policy.logs.append(key)
        case ["witness", name, vkey] | ["witness", name, vkey, _]:
            key = _key(vkey, COSIGNATURE_V1, where)
            _distinct(key, taken, where)
            _new_name(policy, name, where)
            policy.witnesses[name] = key
        case ["group", name, threshold, first, *others]:
            members = (first, *others)
            _new_name(policy, name, where)
            for member in members:
                _known_name(policy, member, where)
            if len(set(members)) != len(members) or not policy.grouped.isdisjoint(members):
                raise ProofError("a name is in two places of groups", where=where, expected="each name in one group")
            policy.groups[name] = Group(_threshold(threshold, len(members), where), members)
            policy.grouped.update(members)
        case ["quorum", name]:
            if policy.quorum is not None:
                raise ProofError("second quorum", where=where, expected="exactly one quorum line")
            if name != NONE:
                _known_name(policy, name, where)
            policy.quorum = name
        case _:
            raise ProofError("line of a policy not understood", where=where, expected="log, witness, group or quorum")


def _key(vkey: str, type_: int, where: str) -> NoteKey:
    try:
        key = parse_vkey(vkey)
    except ProofError as error:
        raise ProofError(error.what, where=where, expected=error.expected, got=error.got) from None
    if key.type != type_:
        raise ProofError("key of another type", where=where, expected=f"type {type_}", got=key.type)
    return key


def _distinct(key: NoteKey, taken: set[NoteKey], where: str) -> None:
    """Raise ProofError where a key stood above for the same use, under whichever name."""
    nameless = NoteKey("-", key.type, key.public)
    if nameless in taken:
        raise ProofError("a key stands twice in a policy", where=where, got=key.name)
    taken.add(nameless)


def _new_name(policy: TrustPolicy, name: str, where: str) -> None:
    if name == NONE or name in policy.witnesses or name in policy.groups:
        raise ProofError("name of a policy taken", where=where, expected="a new name", got=name)


def _known_name(policy: TrustPolicy, name: str, where: str) -> None:
    if name not in policy.witnesses and name not in policy.groups:
        raise ProofError("name not defined above", where=where, expected="a witness or group", got=name)


def _threshold(text: str, count: int, where: str) -> int:
    if text in ("all", "any"):
        return count if text == "all" else 1
    if not _THRESHOLD.fullmatch(text) or int(text) > count:
        raise ProofError("threshold of a group", where=where, expected=f"any, all or 1 to {count}", got=text)
    return int(text)


def log_key(genesis: Genesis, validator: Validator) -> NoteKey:
    """Return the key with which a validator signs checkpoints as the log."""
    return log_key_of(genesis.origin, validator)


def cosigner_key(genesis: Genesis, validator: Validator) -> NoteKey:
    """Return the key with which a validator cosigns checkpoints."""
    return cosigner_key_of(genesis.chain, validator)


def policy_text(genesis: Genesis, spans: Sequence[EpochSpan], declared: Iterable[bytes] = ()) -> str:
    """Return the policy of a chain whose epochs are these: log keys, the last epoch's cosigners and quorum, and all.

    Log keys are those of the validators of all these epochs, the last one's first, and the `declared` ones of nodes
    that serve without a vote.
    """
    validators = spans[-1].validators
    name = group_of(validators.epoch)
    served = [each.log_key for span in reversed(spans) for each in span.validators.validators]
    lines = [f"# {genesis.origin}, epoch {validators.epoch}: {validators.quorum} of {validators.n} validators"]
    lines += [f"log {NoteKey(genesis.origin, ED25519, key).vkey()}" for key in dict.fromkeys((*served, *declared))]
    lines += [f"witness {v.name} {cosigner_key(genesis, v).vkey()}" for v in validators.validators]
    lines.append(f"group {name} {validators.quorum} {' '.join(v.name for v in validators.validators)}")
    lines.append(f"quorum {name}")
    lines.append("# The validators of each epoch, by the least size of a log that they cosign:")
    lines += [epoch_line(span) for span in spans]
    return "\n".join(lines) + "\n"


def assemble_checkpoint(
    genesis: Genesis,
    validators: ValidatorSet,
    node: str | None,
    key: SigningKey,
    size: int,
    root: Hash,
    cosignatures: Iterable[tuple[int, int, bytes]],
) -> str:
    """Return the note of a stable checkpoint: signed as the log by `node`, with just a quorum of cosignatures.

    `node` is None for one that is none of the set's validators, or waits with new keys in the name of one. The
    `cosignatures` are (validator index, time in seconds, signature), verified before. UsageError where `key` is not the
    log key that the set names for this node, since no policy would accept it, and where they are fewer than a quorum.
    """
    index = None if node is None else validators.indexes.get(node)
    if index is not None and validators.validators[index].log_key != key.public:
        raise UsageError("log key is not the registered one", where=f"node {node}", hint="check keys/log.key")
    text = Checkpoint(genesis.origin, size, root).text()
    by_index = {item[0]: item for item in cosignatures}
    chosen = sorted(by_index.values())[: validators.quorum]
    if len(chosen) < validators.quorum:
        raise UsageError("too few cosignatures for a checkpoint", expected=validators.quorum, got=len(chosen))
    lines = [sign_note(text, genesis.origin, key)]
    for number, time_s, signature in chosen:
        lines.append(cosignature_line(cosigner_key(genesis, validators.validators[number]), time_s, signature))
    return assemble_note(text, lines)
