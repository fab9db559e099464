"""Holding whoever serves a log to one history: each checkpoint judged by the policy, and against the one remembered.

Used by `audit mirror` and `watch`. Here: what makes a checkpoint trusted, fetching the handovers of later epochs, and
what a new checkpoint is beside a remembered one: the same, behind, ahead, or a contradiction. Not here: where tiles
come from (`log_source`, `mirror_files`) and the proof of a contradiction (`ledger.forks`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from chainnode.log_source import LogSource
from chainnode.mirror_files import HANDOVER_BYTES_MAX
from ledger.forks import Fork, ForkVerdict, judge_fork, make_fork, went_back
from ledger.handovers import HANDOVERS_MAX, Handover, follow, span_after
from ledger.proof_steps import HANDOVERS, step
from ledger.signed_trees import SignedTree
from ledger.tile_paths import CHECKPOINT_PATH, HANDOVERS_PATH
from ledger.trust_policy import CheckedCheckpoint, TrustPolicy, parse_policy
from primitives.encoding import decode
from primitives.errors import ChainError, InputError, ProofError
from primitives.ids import Hash
from primitives.notes import NOTE_BYTES_MAX, Checkpoint


class Contradicted(ChainError):
    """Two signed checkpoints contradict each other; both are in `fork`, and its verdict says how."""

    reason = "fork"

    def __init__(self, fork: Fork, verdict: ForkVerdict) -> None:
        super().__init__(verdict.sentence)
        self.fork, self.verdict = fork, verdict


class Alarm(ChainError):
    """The log forked or rolled back: both signed notes are in the file, what was remembered stands."""

    reason = "log_contradicts_itself"

    def __init__(self, verdict: ForkVerdict, path: Path, sources: Sequence[str]) -> None:
        super().__init__(
            f"ALARM: {verdict.sentence}",
            where=str(path),
            got=f"given by {' and '.join(sources)}, signed by {', '.join(verdict.accused) or 'no validator twice'}",
            hint="the file proves it to anybody (`chainnode audit fork FILE --policy POLICY`): tell the other members",
        )
        self.verdict, self.path = verdict, path


@dataclass(frozen=True, slots=True)
class Seen:
    """A checkpoint that the policy accepts, with its note as it came and the name of who gave it."""

    note: str
    checked: CheckedCheckpoint
    source: str

    @property
    def checkpoint(self) -> Checkpoint:
        """Origin, size and root."""
        return self.checked.checkpoint


class Standing(Enum):
    """What a checkpoint is beside the remembered one. BEHIND was not signed later: its giver lags, or holds back."""

    SAME = "same"
    RENEWED = "renewed"
    BEHIND = "behind"
    AHEAD = "ahead"


@dataclass(slots=True)
class Trust:
    """A pinned policy and the handovers that were verified under it, one for each epoch after the policy's last."""

    policy_text: str
    handovers: list[Handover] = field(default_factory=list)
    policy: TrustPolicy = field(init=False)

    def __post_init__(self) -> None:
        self.policy = parse_policy(self.policy_text)

    @property
    def next_epoch(self) -> int | None:
        """The epoch whose end is not known yet; None under a policy that names no epochs."""
        if not self.policy.epochs:
            return None
        return int(self.policy.epochs[-1].validators.epoch) + len(self.handovers)

    def read(self, source: LogSource) -> Seen | None:
        """Return the checkpoint that a source gives, None where it has none.

        Raises InputError where the policy does not accept it, and what `LogSource.get` raises.
        """
        data = source.get(CHECKPOINT_PATH, NOTE_BYTES_MAX)
        if data is None:
            return None
        try:
            note = data.decode()
        except UnicodeDecodeError as error:
            raise ProofError("checkpoint is not text", expected="UTF-8", got=f"byte {error.start}") from None
        return self.accept(note, source.name, lambda epoch: fetch_handover(source, epoch))

    def accept(self, note: str, name: str, handover: Callable[[int], Handover | None]) -> Seen:
        """Return what a note says; InputError where the policy does not accept it.

        `handover` gives the one that ends an epoch. Only those with which the note is good are kept.
        """
        found = self._newer(handover)
        checked = self.policy.check(note, [*self.handovers, *found])
        self.handovers += found
        return Seen(note, checked, name)

    def _newer(self, handover: Callable[[int], Handover | None]) -> list[Handover]:
        """Return the handovers that are new; each is verified before the next is asked for, or a liar had no end."""
        found: list[Handover] = []
        epoch = self.next_epoch
        if epoch is None:
            return found
        present = span_after(self.handovers[-1]) if self.handovers else self.policy.epochs[-1]
        while len(self.handovers) + len(found) < HANDOVERS_MAX:
            one = handover(epoch + len(found))
            if one is None:
                break
            with step(HANDOVERS):
                present = follow(present, self.policy.chain_id, [one])[-1]
            found.append(one)
        return found


def fetch_handover(source: LogSource, epoch: int) -> Handover | None:
    """Return the handover that ends an epoch as a source has it, not verified; None where the epoch is not over."""
    data = source.get(f"{HANDOVERS_PATH}/{epoch}", HANDOVER_BYTES_MAX)
    if data is None:
        return None
    try:
        return decode(Handover, data, size_max=HANDOVER_BYTES_MAX)
    except InputError as error:
        raise ProofError(error.what, where=f"handover of epoch {epoch}", expected=error.expected) from None


def compare(old: Seen, new: Seen, old_tree: SignedTree, new_tree: SignedTree, trust: Trust) -> Standing:
    """Return what `new` is beside `old`.

    Raises Contradicted, TileMissing where their trees cannot be compared, ProofError for two logs.
    """
    if old.checkpoint.origin != new.checkpoint.origin:
        raise ProofError(
            "checkpoint of another log", expected=old.checkpoint.origin, got=new.checkpoint.origin, where=new.source
        )
    small, large, tree = (new, old, old_tree) if new.checkpoint.size < old.checkpoint.size else (old, new, new_tree)
    size, root = small.checkpoint.size, small.checkpoint.root
    if size == large.checkpoint.size:
        if root != large.checkpoint.root:
            raise _contradicted(old, new, trust)
        return Standing.RENEWED if new.checked.middle_s > old.checked.middle_s else Standing.SAME
    prefix = tree.root_of_first(size)
    if prefix != root:
        raise _contradicted(small, large, trust, prefix, tree.consistency(size))
    if large is new:
        return Standing.AHEAD
    return behind(old, new, trust)


def behind(old: Seen, new: Seen, trust: Trust) -> Standing:
    """Return BEHIND for a smaller checkpoint. Raises Contradicted where one signed it after the larger one."""
    if went_back(old.checked, new.checked):
        raise _contradicted(new, old, trust)
    return Standing.BEHIND


def _contradicted(
    first: Seen, second: Seen, trust: Trust, prefix: bytes = b"", path: Sequence[Hash] = ()
) -> Contradicted:
    fork = make_fork(first.note, second.note, trust.handovers, prefix, path)
    return Contradicted(fork, judge_fork(fork, trust.policy))


def step_of(error: InputError, step: str, hint: str | None = None) -> ProofError:
    """Return a refusal that names what was refused."""
    inside = error.where or ""
    where = inside if step in inside else f"{step}{': ' if inside else ''}{inside}"
    return ProofError(error.what, where=where, expected=error.expected, got=error.got, hint=hint or error.hint)
