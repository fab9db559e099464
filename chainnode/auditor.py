"""An auditor: asks several nodes for their checkpoints, again and again, and holds all of them to one history.

A round asks every node at once. What the policy accepts is held against the newest checkpoint of all nodes and against
the last one of the same node, over tiles that any of them serves; what is remembered moves on only once it is on the
disk. Everything is read by plain GET, within a time for each node and round, so that one who lies or dawdles keeps
nobody from judging the others. Here: the rounds. Not here: what contradicts what (`chainnode.monitoring`), kinds of
finding (`chainnode.audit_findings`), what entries say (`chainnode.audit_entries`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from chainnode.audit_findings import Finding, Findings, Kind
from chainnode.audit_sources import Budgeted, OutOfTime, Stopped
from chainnode.audit_state import NODES_MAX, Heads, StateFile
from chainnode.client import CallRefused, TimedOut, Unreachable
from chainnode.files import write_file
from chainnode.log_source import LogSource, read_tile
from chainnode.monitoring import Contradicted, Seen, Standing, Trust, behind, compare, fetch_handover
from ledger.forks import Contradiction
from ledger.handovers import Handover
from ledger.proof_steps import COSIGNATURES, LOG_SIGNATURE
from ledger.signed_trees import SignedTree, TileMissing, TileSource
from ledger.tile_paths import CHECKPOINT_PATH, Tile
from ledger.times import format_time
from ledger.trust_policy import TOO_FEW
from primitives.errors import ChainError, InputError, ProofError, StorageError
from primitives.notes import NOTE_BYTES_MAX

STALE_S: Final = 180
"""An idle chain cosigns its checkpoint anew each minute: an older one is held back, or the chain stands still."""
LAG_S: Final = 180
AHEAD_S: Final = 300
"""A checkpoint that is signed so far in the future is as bad as a stale one: it would hide that none follows."""
DAY_S: Final = 86_400
FORKS: Final = "forks"
_HASH_DIGITS: Final = 16

_NOT_THERE = (Unreachable, TimedOut, CallRefused, StorageError)
Answer = bytes | ChainError | None


class Follower(Protocol):
    """Told of the newest checkpoint at the end of each round, with its tree."""

    def step(self, seen: Seen, tree: SignedTree, trust: Trust, sources: Sequence[LogSource]) -> None:
        """Follow the entries up to it, as far as a round may."""
        ...


@dataclass(slots=True)
class Limits:
    """When a head is stale, when a node lags, how long a node may take in a round, and when an end is near."""

    stale_s: float = STALE_S
    lag_s: float = LAG_S
    timeout_s: float = 10.0
    warn_days: float = 30


@dataclass(slots=True)
class NodeRound:
    """What a round brought of one node; `refused` and `failed` say that it lied or did not answer."""

    seen: Seen | None = None
    refused: bool = False
    failed: bool = False


@dataclass(slots=True)
class Auditor:
    """Holds nodes to one history; owned by one thread. `stop` may be called from another."""

    trust: Trust
    heads: Heads
    state: StateFile
    findings: Findings
    sources: Sequence[LogSource]
    limits: Limits = field(default_factory=Limits)
    now_s: Callable[[], float] = time.time
    follower: Follower | None = None
    rounds: int = 0
    nodes: dict[str, NodeRound] = field(default_factory=dict)
    _stopped: bool = False
    _asked: list[Budgeted] = field(default_factory=list)
    _mirror: Budgeted | None = None
    _pool: ThreadPoolExecutor = field(init=False)
    _tree: SignedTree | None = None

    def __post_init__(self) -> None:
        self._asked = [Budgeted(each, self.limits.timeout_s, lambda: self._stopped) for each in self.sources]
        self._pool = ThreadPoolExecutor(len(self.sources) or 1, "audit")

    def use_mirror(self, source: LogSource) -> None:
        """Read tiles and entries from here first, within a node's time; what it lacks or has wrong the nodes have."""
        self._mirror = Budgeted(source, self.limits.timeout_s, lambda: self._stopped)

    def stop(self) -> None:
        """Let a running round end at once: nobody is asked any more, nor waited for."""
        self._stopped = True
        for source in self._all():
            source.cut()

    def _all(self) -> list[Budgeted]:
        return [*self._asked, self._mirror] if self._mirror else self._asked

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True)

    # -- one round

    def round(self) -> None:
        """Ask every node once, judge what they say, and tell what is new. Raises StorageError alone."""
        self.nodes = {source.name: NodeRound() for source in self._asked}
        if self._mirror is not None:
            self._mirror.begin()
        try:
            answers = list(self._pool.map(_checkpoint, self._asked))
            for source, answer in zip(self._asked, answers, strict=True):
                self._judge(source, answer)
            self._judge_kept()
            self._judge_times()
            self._judge_certificates()
            self._follow()
        except Stopped:
            return  # what was not looked at is not over
        self.rounds += 1
        self.findings.settle({name for name, node in self.nodes.items() if node.failed})

    def _follow(self) -> None:
        """Let the entries be followed, with a time of their own."""
        if self.follower is None or self.heads.newest is None:
            return
        for source in self._all():
            source.begin()
        tree = self._tree_of(self.heads.newest, following=True)
        self.follower.step(self.heads.newest, tree, self.trust, self._asked)

    def _judge(self, source: Budgeted, answer: Answer) -> None:
        """Judge one node's checkpoint."""
        if isinstance(answer, ProofError):
            self._refuse(source.name, Kind.BAD_ANSWER, answer)
        elif isinstance(answer, ChainError):
            self._failed(source.name, answer)
        elif answer is None:
            self._failed(source.name, Unreachable("no checkpoint is there", where=source.name))
        else:
            seen = self._accepted(source, answer)
            if seen is not None:
                self.nodes[source.name].seen = seen
                self._hold(source, seen)

    def _accepted(self, source: Budgeted, answer: bytes) -> Seen | None:
        """Return a checkpoint that the policy accepts; what it does not is a finding."""
        known = self.heads.nodes.get(source.name)
        epochs = len(self.trust.handovers)

        def handover(epoch: int) -> Handover | None:
            return fetch_handover(source, epoch)

        try:
            note = answer.decode()
            if known is not None and known.note == note:
                return known
            seen = self.trust.accept(note, source.name, handover)
        except UnicodeDecodeError as error:
            text = ProofError("checkpoint is not text", expected="UTF-8", got=f"byte {error.start}")
            self._refuse(source.name, Kind.BAD_ANSWER, text)
        except InputError as error:
            self._refuse(source.name, _kind_of(error), error)
        except _NOT_THERE as error:
            self._failed(source.name, error)
        else:
            self._tell_epochs(epochs)
            return seen
        return None

    def _hold(self, source: Budgeted, seen: Seen) -> None:
        """Hold an accepted checkpoint against the newest one and the node's last; remember it where it fits both."""
        old = self.heads.nodes.get(source.name)
        missing: TileMissing | None = None
        standing = Standing.SAME
        try:
            try:
                standing = self._standing(old, seen)
            except TileMissing as error:
                missing = error
            if old is not None and seen.checkpoint.size < old.checkpoint.size:
                behind(old, seen, self.trust)
                self._went_back(source.name, old, seen)
                return
        except Contradicted as error:
            self._contradicted(source.name, error, seen)
            return
        except ProofError as error:
            self._refuse(source.name, Kind.INCONSISTENT, error)
            return
        if missing is None:
            self._remember(seen, newest=standing in (Standing.AHEAD, Standing.RENEWED))
        else:
            self._unproven(source.name, seen, missing)
            kept = self.heads.kept.get(source.name)
            if kept is None or seen.checkpoint.size < kept.checkpoint.size:  # the smallest is overtaken the soonest
                self._keep(source.name, seen)

    def _judge_kept(self) -> None:
        """Hold against the newest checkpoint what could not be compared when it came, whoever shows it now."""
        for name, seen in list(self.heads.kept.items()):
            newest = self.heads.newest
            assert newest is not None, "it was held against another one"
            if seen.checkpoint.size <= newest.checkpoint.size:
                tree = self._tree_of(newest, following=True)
                try:
                    compare(newest, seen, tree, tree, self.trust)
                    self._keep(name, None)
                    continue
                except Contradicted as error:
                    self._contradicted(name, error, seen)
                    self._keep(name, None)
                    continue
                except (TileMissing, OutOfTime):
                    pass
            if name not in self.nodes or self.nodes[name].seen != seen:  # else it was told just now
                size = seen.checkpoint.size
                self._add(Kind.UNPROVEN, name, f"it showed a checkpoint of size {size} that could not be compared yet")

    def _keep(self, name: str, seen: Seen | None) -> None:
        """Keep a checkpoint of a node until it can be compared, on the disk as well; None once it was."""
        kept = {each: held for each, held in self.heads.kept.items() if each != name}
        if seen is not None and len(kept) >= NODES_MAX:
            return
        later = replace(self.heads, kept=kept if seen is None else {**kept, name: seen})
        self.state.write(self.trust, later)
        self.heads = later

    def _standing(self, old: Seen | None, seen: Seen) -> Standing:
        """Return what a checkpoint is beside the newest one. Raises what `compare` does."""
        newest = self.heads.newest
        if newest is None:
            return Standing.AHEAD
        if seen.note == newest.note or (old is not None and seen.note == old.note):
            return Standing.SAME
        try:
            return compare(newest, seen, self._newest_tree(), self._tree_of(seen), self.trust)
        except TileMissing:
            if seen.checkpoint.size < newest.checkpoint.size:
                behind(newest, seen, self.trust)  # who signed the smaller one later needs no tiles to be told of
            raise

    def _remember(self, seen: Seen, *, newest: bool) -> None:
        """Move on to a checkpoint; on the disk before anything here stands on it."""
        if self.heads.nodes.get(seen.source) == seen and not newest:
            return
        nodes = {**self.heads.nodes, seen.source: seen}
        heads = replace(self.heads, newest=seen if newest else self.heads.newest, nodes=nodes)
        self.state.write(self.trust, heads)
        self.heads = heads
        if newest:
            self._tree = None

    # -- what is wrong

    def _contradicted(self, name: str, error: Contradicted, seen: Seen) -> None:
        """Keep both notes, and tell that they contradict each other."""
        text, verdict = error.fork.text(), error.verdict
        back = verdict.contradiction is Contradiction.ROLLBACK
        finding = Finding(
            Kind.ROLLBACK if back else Kind.FORK,
            name,
            f"{verdict.sentence}; the other one was given by {self._giver(error, seen)}; signed by "
            f"{', '.join(verdict.accused) or 'no validator twice'}",
            proof=str(self._proof(text)),
            lasting=True,
        )
        if finding.id not in self.findings.open:  # a forked log would else fill the disk with each new note of it
            Path(finding.proof).parent.mkdir(exist_ok=True)
            write_file(Path(finding.proof), text.encode())
        self.findings.add(finding)

    def _proof(self, text: str) -> Path:
        return self.state.path.parent / FORKS / f"{sha256(text.encode()).hexdigest()[:_HASH_DIGITS]}.txt"

    def _giver(self, error: Contradicted, seen: Seen) -> str:
        other = error.fork.first if error.fork.second == seen.note else error.fork.second
        known = [self.heads.newest, *self.heads.nodes.values()]
        return next((each.source for each in known if each is not None and each.note == other), "nobody any more")

    def _went_back(self, name: str, old: Seen, seen: Seen) -> None:
        """Tell of a node that shows less than it did, without anybody's signature that would prove a lie."""
        sizes = f"{seen.checkpoint.size} leaves after {old.checkpoint.size}"
        self.findings.add(
            Finding(
                Kind.ROLLBACK,
                name,
                f"this node shows a smaller log than it did before, {sizes}: restored, or it holds back; "
                "nobody signed the smaller one later, so nothing proves it to others",
            )
        )

    def _unproven(self, name: str, seen: Seen, error: TileMissing) -> None:
        """Tell of two checkpoints that cannot be compared; who did not answer, or lied, is told of already."""
        newest, node = self.heads.newest, self.nodes[name]
        assert newest is not None, "it was held against another one"
        if seen.checkpoint.size <= newest.checkpoint.size:
            self._add(Kind.UNPROVEN, name, f"not compared with the newest checkpoint: {error}")
        elif not node.refused and not node.failed:
            self._add(Kind.INCONSISTENT, name, f"cannot show that its log extends the one before: {error}")

    def _refuse(self, name: str, kind: Kind, error: InputError) -> None:
        self.nodes[name].refused = True
        self._add(kind, name, str(error))

    def _failed(self, name: str, error: ChainError) -> None:
        self.nodes[name].failed = True
        self._add(Kind.UNREACHABLE, name, str(error))

    def _add(self, kind: Kind, name: str, message: str) -> None:
        self.findings.add(Finding(kind, name, message))

    def _tell_epochs(self, before: int) -> None:
        """Tell of each change of validators that was proved under the policy."""
        for handover in self.trust.handovers[before:]:
            header = handover.header
            names = ", ".join(validator.name for validator in handover.validators)
            message = f"validators from epoch {header.epoch + 1} on: {names}; handed over at height {header.height}"
            subject = f"epoch {header.epoch + 1}"
            proof = str(self.state.path)
            self.findings.add(Finding(Kind.POLICY_CHANGED, "", message, subject, proof, lasting=True))

    def _judge_times(self) -> None:
        """Tell who lags behind the newest checkpoint, and of a newest one that is old."""
        newest = self.heads.newest
        if newest is None:
            return
        age_s = self.now_s() - newest.checked.middle_s
        if age_s > self.limits.stale_s:
            held = "it is held back, or the chain stands still"
            self._add(Kind.STALE, "", f"no node shows a checkpoint newer than size {newest.checkpoint.size}: {held}")
        elif age_s < -AHEAD_S:
            self._add(Kind.STALE, "", "the newest checkpoint is signed in the future: this clock is wrong, or theirs")
        for name, node in self.nodes.items():
            lag_s = 0 if node.seen is None else newest.checked.middle_s - node.seen.checked.middle_s
            if lag_s > self.limits.lag_s:
                self._add(Kind.LAGGING, name, "its checkpoint is older than that of other nodes")

    def _judge_certificates(self) -> None:
        """Tell of listeners' TLS certificates that end soon."""
        for source in self._asked:
            ends_s = source.tls_ends_s
            if ends_s is not None and ends_s - self.now_s() <= self.limits.warn_days * DAY_S:
                text = f"the TLS certificate of its listener ends at {format_time(int(ends_s) * 1_000)}"
                self.findings.add(Finding(Kind.DEADLINE, source.name, text, f"tls {int(ends_s)}"))

    # -- trees

    def _newest_tree(self) -> SignedTree:
        """Return the tree of the newest checkpoint; its tiles are kept from round to round."""
        assert self.heads.newest is not None, "there is a checkpoint"
        if self._tree is None:
            self._tree = self._tree_of(self.heads.newest)
        return self._tree

    def _tree_of(self, seen: Seen, *, following: bool = False) -> SignedTree:
        """Return the tree of a checkpoint: from the mirror first, then from who gave it, then from the others."""
        others = sorted(self._asked, key=lambda source: source.name != seen.source)
        own = [] if self._mirror is None else [TileSource(f"mirror {self._mirror.name}", self._mirror.tile)]
        late: list[OutOfTime] | None = [] if following else None
        asked = [self._asking(each, late, is_last=each is others[-1]) for each in others]
        return SignedTree(seen.checkpoint, [*own, *asked], self._lied)

    def _asking(self, source: Budgeted, late: list[OutOfTime] | None, *, is_last: bool) -> TileSource:
        """Return a source of tiles that is not asked any more in a round in which it lied or did not answer.

        Who follows entries takes all the time that there is: that is no fault of the source. `late` then holds those
        whose time is used up; what the others lack too is for another round, and the last one raises OutOfTime.
        """

        def read_or_later(tile: Tile) -> bytes | None:
            found = read(tile)
            if found is None and late and is_last:
                raise late[0]
            return found

        def read(tile: Tile) -> bytes | None:
            node = self.nodes[source.name]
            if node.refused or node.failed:
                return None
            try:
                return read_tile(source, tile)
            except ProofError as error:
                self._lied(source.name, error)
            except _NOT_THERE as error:
                if late is not None and isinstance(error, OutOfTime):
                    late.append(error)
                    return None
                if tile.level is None and isinstance(error, CallRefused):
                    return None  # what members said is not for everybody: its hashes are
                self._failed(source.name, error)
            return None

        return TileSource(source.name, read_or_later)

    def _lied(self, name: str, error: ProofError) -> None:
        """Note a tile that is not the log's; one of the mirror's own is fetched again."""
        if name in self.nodes:
            self._refuse(name, Kind.INCONSISTENT, error)


def open_auditor(
    directory: Path, policy: Trust, findings: Findings, sources: Sequence[LogSource], limits: Limits
) -> Auditor:
    """Return the auditor of a state directory, where it stood; InputError where what it remembers does not verify."""
    state = StateFile(directory / "state.json")
    found = state.read()
    trust, heads = (policy, Heads()) if found is None else found
    if trust.policy_text != policy.policy_text:
        raise InputError("state of another policy", where=str(state.path), expected="the policy of its first use")
    findings.load()
    asked = {source.name for source in sources}
    others = [name for name in heads.nodes if name not in asked][: max(0, NODES_MAX - len(asked))]
    heads = replace(heads, nodes={name: seen for name, seen in heads.nodes.items() if name in {*asked, *others}})
    return Auditor(trust, heads, state, findings, sources, limits)


def _checkpoint(source: Budgeted) -> Answer:
    """Return a node's checkpoint or why there is none; run by a thread of its own."""
    source.begin()
    try:
        return source.get(CHECKPOINT_PATH, NOTE_BYTES_MAX)
    except (ProofError, *_NOT_THERE) as error:
        return error


def _kind_of(error: InputError) -> Kind:
    """Return what it is that the policy refused."""
    where = error.where or ""
    if where.startswith(COSIGNATURES) and error.what == TOO_FEW:
        return Kind.NOT_ENOUGH_COSIGNATURES
    return Kind.BAD_SIGNATURE if where.startswith((COSIGNATURES, LOG_SIGNATURE)) else Kind.BAD_ANSWER
