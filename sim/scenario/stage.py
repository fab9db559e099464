"""What a scenario has at hand while it is played: its setting, its world, its named values, its story.

The world is made at the first statement that needs it; what has to be said before that says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from ledger.batches import ParsedBatch
from ledger.members import read_validators_of
from primitives.block import Block
from primitives.ids import Epoch, Hash, TimeMs
from primitives.validators import ValidatorSet
from sim.scenario.story import Story
from sim.scenario.words import Match, Unreadable
from sim.scenario.world import Setting, World
from sim.workload import START_MS, bank_of

MS_MAX: Final = 100 * 24 * 3_600_000
"""The longest time of one statement: a hundred days, for clocks that are that far off."""

T = TypeVar("T")


@dataclass(slots=True)
class Stage:
    """The state of one play; `fates` says what became of the last `send` at each of its receivers."""

    setting: Setting = field(default_factory=Setting)
    story: Story = field(default_factory=Story)
    values: dict[str, object] = field(default_factory=dict)
    batches: dict[Hash, ParsedBatch] = field(default_factory=dict)
    blocks: dict[Hash, Block] = field(default_factory=dict)
    raws: dict[str, bytes] = field(default_factory=dict)
    fates: dict[int, str] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    notes: dict[str, object] = field(default_factory=dict)
    line: int = 0
    _world: World | None = None

    @property
    def world(self) -> World:
        """The world, made where there is none yet."""
        if self._world is None:
            self._world = World(self.setting, self.story)
        return self._world

    def set(self, found: Match, **fields: object) -> None:
        """Change the setting; too late once the world is there."""
        if self._world is not None:
            raise Unreadable(found.line.number, "said too late", "this among the first lines", found.line.text)
        self.setting = replace(self.setting, **fields)  # type: ignore[arg-type]  # fields of Setting

    # --- words to things

    def nodes(self, found: Match, key: str, *, everybody: bool = False) -> list[int]:
        """Return the nodes of a slot; `all` is every honest node that runs, or every node with `everybody`."""
        world = self.world
        indexes: list[int] = []
        for word in found.words(key):
            if word in ("all", "*"):
                indexes += range(len(world.nodes)) if everybody else world.running()
            else:
                index = int(word.removeprefix("bank-"))
                if index >= len(world.nodes):
                    raise Unreadable(found.line.number, "no such node", f"below {len(world.nodes)}", word)
                indexes.append(index)
        return list(dict.fromkeys(indexes))

    def node(self, found: Match, key: str) -> int:
        """Return the one node of a slot."""
        indexes = self.nodes(found, key, everybody=True)
        if len(indexes) != 1:
            raise Unreadable(found.line.number, f"after `{key}`", "one node", str(len(indexes)))
        return indexes[0]

    def value(self, found: Match, name: str, type_: type[T]) -> T:
        """Return a named value of a type."""
        if name not in self.values:
            known = ", ".join(sorted(self.values)) or "none yet"
            raise Unreadable(found.line.number, f"no value is called {name!r}", f"one of: {known}")
        held = self.values[name]
        if not isinstance(held, type_):
            raise Unreadable(found.line.number, f"the value {name!r}", type_.__name__, type(held).__name__)
        return held

    def listed(self, found: Match, key: str, type_: type[T]) -> tuple[T, ...]:
        """Return the named values of a slot."""
        return tuple(self.value(found, name, type_) for name in found.words(key))

    def ms(self, found: Match, key: str) -> int:
        """Return the milliseconds of a slot; `time-outs` are those of now."""
        ms = found.time(key, self.world.timeout_ms())
        if abs(ms) > MS_MAX:
            raise Unreadable(found.line.number, f"a time after `{key}`", f"at most {MS_MAX} ms", f"{ms} ms")
        return ms

    def count(self, found: Match, key: str, least: int, most: int, default: int = 0) -> int:
        """Return the number of a slot; `Unreadable` out of its bounds."""
        number = found.count(key, default)
        if not least <= number <= most:
            raise Unreadable(found.line.number, f"the number after `{key}`", f"{least} to {most}", str(number))
        return number

    def lasting(self, found: Match, key: str) -> int:
        """Return the milliseconds of a slot that cannot be before now."""
        ms = self.ms(found, key)
        if ms < 0:
            raise Unreadable(found.line.number, f"a time after `{key}`", "0 ms or more", f"{ms} ms")
        return ms

    @property
    def now_ms(self) -> TimeMs:
        """The world's time."""
        return TimeMs(self.world.now_ms)

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since the start."""
        return self.world.now_ms - START_MS

    # --- validators

    def epoch(self) -> Epoch:
        """Return the newest epoch that a node is in."""
        cores = [node.core for node in self.world.nodes if node.core is not None]
        return Epoch(max((core.replica.state.epoch for core in cores), default=0))

    def validators(self, epoch: int | None = None) -> ValidatorSet:
        """Return the validators of an epoch, as the node that is furthest knows them."""
        wanted = self.epoch() if epoch is None else Epoch(epoch)
        cores = [node.core for node in self.world.nodes if node.core is not None]
        for core in sorted(cores, key=lambda core: -core.chain.height):
            found = read_validators_of(core.chain.state_after(core.chain.tip_hash), wanted)
            if found is not None:
                return found
        return self.world.genesis_validators

    def index(self, node: int, epoch: int | None = None) -> int:
        """Return a node's index among an epoch's validators; its own number where it is none of them."""
        return self.validators(epoch).indexes.get(bank_of(node), node)

    def sign(self, node: int, statement: bytes, *, old: bool = False) -> bytes:
        """Return a node's vote signature, with its first keys where the `old` ones are asked for."""
        return self.world.signer(node, 0 if old else None).sign_vote(statement)
