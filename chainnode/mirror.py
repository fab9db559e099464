"""A mirror of the log: copies what its sources serve, and believes none of it before it is hashed to a signed root.

A round asks every source for its checkpoint. The policy must accept it, and it must be consistent with the one that the
mirror stands at and with those of the other sources; only then are tiles and entries of the newest one copied, each
verified before it is written, and the checkpoint last. So whatever is interrupted goes on where it was, and a lie
costs nothing but its own round. Not here: files (`mirror_files`), what contradicts what (`monitoring`), HTTP
(`log_source`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from chainnode.client import CallRefused, TimedOut, Unreachable
from chainnode.log_source import LogSource, read_tile
from chainnode.mirror_files import MirrorFiles
from chainnode.monitoring import Alarm, Contradicted, Seen, Standing, Trust, compare, step_of
from ledger.handovers import Handover
from ledger.log_tiles import TILE_WIDTH
from ledger.signed_trees import SignedTree, TileMissing, TileSource
from ledger.tile_paths import Tile, check_bundle, full_tiles, level_of, levels_of, new_tiles
from primitives.encoding import decode, encode
from primitives.errors import ChainError, InputError, ProofError, UsageError
from primitives.ids import HASH_BYTES

OWN_NAME = "the mirror itself"


@dataclass(slots=True)
class Round:
    """What a round brought. `refused` are lies, `failed` those who did not answer, `behind` who shows less."""

    seen: Seen | None = None
    new_leaves: int = 0
    tiles: int = 0
    bundles: int = 0
    bytes: int = 0
    renewed: bool = False
    behind: list[Seen] = field(default_factory=list)
    refused: dict[str, ProofError] = field(default_factory=dict)
    failed: dict[str, ChainError] = field(default_factory=dict)


class Progress(Protocol):
    """Told how far a round is."""

    def expect(self, tiles: int) -> None:
        """Take note that so many tiles and bundles are to come."""
        ...

    def advance(self) -> None:
        """Take note that one of them was verified and is there."""
        ...


class _Silent:
    def expect(self, tiles: int) -> None:
        del tiles

    def advance(self) -> None:
        pass


class Mirror:
    """One mirror; owned by one thread while its files are held open."""

    def __init__(
        self,
        files: MirrorFiles,
        trust: Trust,
        sources: Sequence[LogSource],
        *,
        entries: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self._files, self._trust, self._sources, self._entries = files, trust, sources, entries
        self._progress: Progress = progress or _Silent()
        note = files.checkpoint()
        self.seen = None if note is None else self._own(note)
        self._handovers = len(trust.handovers)
        self._entries_size = files.entries_size()
        if self.seen is not None:
            files.drop_old_partials(self.seen.checkpoint.size)
        self.round = Round(self.seen)

    def _own(self, note: str) -> Seen:
        try:
            return self._trust.accept(note, OWN_NAME, self._own_handover)
        except InputError as error:
            raise ProofError(
                error.what,
                where=f"{self._files.directory}: {error.where or 'checkpoint'}",
                expected=error.expected,
                got=error.got,
                hint="the mirror was changed, or its policy is another one's: start a new one",
            ) from None

    def _own_handover(self, epoch: int) -> Handover | None:
        data = self._files.handover(epoch)
        return None if data is None else decode(Handover, data, size_max=len(data))

    # -- one round

    def step(self) -> Round:
        """Ask every source once and take what is new. Raises Alarm, and TileMissing where nobody has what is needed."""
        self.round = Round(self.seen)
        found = self._ask()
        try:
            ahead = self._judge_known(found)
            self._take_newest(ahead)
        except Contradicted as error:
            fork = error.fork
            sizes = error.verdict.first.checkpoint.size, error.verdict.second.checkpoint.size
            notes = [self.seen, *found] if self.seen is not None else found
            self._pin()
            givers = sorted({seen.source for seen in notes if seen.note in (fork.first, fork.second)})
            raise Alarm(error.verdict, self._files.put_fork(fork, sizes), givers) from None
        if self.seen is not None:
            self._catch_up_entries()
        self.round.seen = self.seen
        return self.round

    def _ask(self) -> list[Seen]:
        """Return the checkpoints that the policy accepts, the largest first."""
        found: list[Seen] = []
        for source in self._sources:
            try:
                seen = self._trust.read(source)
            except InputError as error:
                self.round.refused[source.name] = step_of(error, "checkpoint")
            except (Unreachable, TimedOut, CallRefused) as error:
                self.round.failed[source.name] = error
            else:
                if seen is None:
                    self.round.failed[source.name] = Unreachable("no checkpoint is there", where=source.name)
                else:
                    found.append(seen)
        return sorted(found, key=lambda seen: seen.checkpoint.size, reverse=True)

    def _judge_known(self, found: Iterable[Seen]) -> list[Seen]:
        """Return those checkpoints that are larger than the mirror; the others are held against what it has."""
        if self.seen is None:
            return list(found)
        ahead: list[Seen] = []
        own_tree = self._tree(self.seen, self._sources)  # theirs where its own is damaged
        for seen in found:
            if seen.checkpoint.size > self.seen.checkpoint.size:
                ahead.append(seen)
                continue
            match compare(self.seen, seen, own_tree, own_tree, self._trust):
                case Standing.RENEWED:
                    self._keep(seen)
                    self.round.renewed = True
                case Standing.BEHIND:
                    self.round.behind.append(seen)
                case _:
                    pass
        return ahead

    def _take_newest(self, ahead: Sequence[Seen]) -> None:
        """Take the largest checkpoint whose tiles can be had, holding all others against it."""
        missing: TileMissing | None = None
        for place, seen in enumerate(ahead):
            tree = self._tree(seen, self._others_after(seen))
            try:
                if self.seen is not None:
                    compare(self.seen, seen, tree, tree, self._trust)
                for other in ahead[place + 1 :]:
                    if compare(seen, other, tree, tree, self._trust) is Standing.BEHIND:
                        self.round.behind.append(other)
                self._copy(seen, tree)
                return
            except TileMissing as error:
                missing = missing or error
        if missing is not None:
            self._tell_missing(missing)

    def _tell_missing(self, missing: TileMissing) -> None:
        """Raise why nobody has a tile, unless a lie was told of or somebody did not answer: that says it already."""
        if not self.round.refused and not self.round.failed:
            raise missing

    # -- trees

    def _others_after(self, seen: Seen) -> list[LogSource]:
        """Return all sources, who gave a checkpoint first."""
        return sorted(self._sources, key=lambda source: source.name != seen.source)

    def _tree(self, seen: Seen, sources: Iterable[LogSource]) -> SignedTree:
        """Return the tree of a checkpoint: what lies here is read first, then what the sources have."""
        own = TileSource(OWN_NAME, self._files.tile)
        return SignedTree(seen.checkpoint, [own, *map(self._asking, sources)], self._refuse)

    def _asking(self, source: LogSource) -> TileSource:
        """Return a source of tiles that is not asked any more in a round in which it lied or did not answer."""

        def read(tile: Tile) -> bytes | None:
            if source.name in self.round.refused or source.name in self.round.failed:
                return None
            try:
                return read_tile(source, tile)
            except ProofError as error:
                self._refuse(source.name, step_of(error, tile.path))
            except (Unreachable, TimedOut, CallRefused) as error:
                self.round.failed[source.name] = error
            return None

        return TileSource(source.name, read)

    def _refuse(self, name: str, error: ProofError) -> None:
        """Note a lie. What lies here and is damaged is none: it is fetched again."""
        if name != OWN_NAME:
            self.round.refused.setdefault(name, error)

    # -- copying

    def _copy(self, seen: Seen, tree: SignedTree) -> None:
        """Copy the tiles and entries of a checkpoint that the mirror has not, and then stand at it."""
        old_size = 0 if self.seen is None else self.seen.checkpoint.size
        size = seen.checkpoint.size
        levels = range(levels_of(size))
        tiles = sum(full_tiles(size, level) - full_tiles(old_size, level) + 1 for level in levels)
        self._progress.expect(tiles + len(self._bundles(size)))
        for tile in chain.from_iterable(new_tiles(old_size, size, level) for level in reversed(levels)):
            self._put(tile, tree.tile(level_of(tile), tile.index))
            self.round.tiles += 1
        self._copy_entries(size, tree)
        self._keep(seen)
        self.round.new_leaves = size - old_size
        for level in levels:
            if full_tiles(size, level) > full_tiles(old_size, level):
                self._files.drop_partials(level, full_tiles(old_size, level))
        self._mark_entries(size)

    def _bundles(self, size: int) -> range:
        """Return the indexes of the entry bundles that are not all here."""
        if not self._entries or self._entries_size >= size:
            return range(0)
        return range(self._entries_size // TILE_WIDTH, -(-size // TILE_WIDTH))

    def _copy_entries(self, size: int, tree: SignedTree) -> None:
        for index in self._bundles(size):
            hashes, data = tree.bundle(index, check_bundle)
            self._put(Tile(None, index, len(hashes) // HASH_BYTES), data)
            self.round.bundles += 1

    def _catch_up_entries(self) -> None:
        """Copy the entries below the checkpoint that are not here: a mirror began without them."""
        assert self.seen is not None, "there is a checkpoint"
        size = self.seen.checkpoint.size
        self._progress.expect(len(self._bundles(size)))
        try:
            self._copy_entries(size, self._tree(self.seen, self._sources))
        except TileMissing as error:
            self._tell_missing(error)
        else:
            self._files.settle()
            self._mark_entries(size)

    def _mark_entries(self, size: int) -> None:
        """Note that the entries are here and on the disk, and remove a partial bundle whose full one is."""
        before = self._entries_size
        if self._bundles(size):
            self._files.put_entries_size(size)
            self._entries_size = size
            if size // TILE_WIDTH > before // TILE_WIDTH:
                self._files.drop_partials(None, before // TILE_WIDTH)

    def _put(self, tile: Tile, data: bytes) -> None:
        if self._files.put(tile, data):
            self.round.bytes += len(data)
        self._progress.advance()

    def _keep(self, seen: Seen) -> None:
        """Stand at a checkpoint: the policy and handovers that it needs first, then the note."""
        self._pin()
        handovers = self._trust.handovers
        if self._trust.next_epoch is not None:
            first = self._trust.next_epoch - len(handovers)
            for place in range(self._handovers, len(handovers)):
                self._files.put_handover(first + place, encode(handovers[place]))
        self._handovers = len(handovers)
        self._files.put_checkpoint(seen.note)
        self.seen = seen

    def _pin(self) -> None:
        """Keep the policy, once it has accepted a checkpoint: this mirror is held to it from now on."""
        if self._files.policy() is None:
            self._files.put_policy(self._trust.policy_text)

    # -- without sources

    def check(self) -> Round:
        """Verify everything that lies here, up to the checkpoint. Raises ProofError for the first that is wrong."""
        if self.seen is None:
            raise UsageError("the mirror is empty", where=str(self._files.directory))
        size, found = self.seen.checkpoint.size, Round(self.seen)
        tree = SignedTree(self.seen.checkpoint, [TileSource(OWN_NAME, self._files.tile)], _damaged)
        levels = range(levels_of(size))
        bundles = range(-(-self._entries_size // TILE_WIDTH) if self._entries_size >= size else 0)
        self._progress.expect(sum(full_tiles(size, level) + 1 for level in levels) + len(bundles))
        for tile in chain.from_iterable(new_tiles(0, size, level) for level in reversed(levels)):
            tree.tile(level_of(tile), tile.index)
            found.tiles += 1
            self._progress.advance()
        for index in bundles:
            tree.bundle(index, check_bundle)
            found.bundles += 1
            self._progress.advance()
        return found


def _damaged(name: str, error: ProofError) -> None:
    del name
    raise error
