"""A manifest: what a run does to which nodes and when, under which load; one readable file replays one run.

Here: the closed union of perturbations, a manifest's file, and what follows from it (which nodes may lose their vote,
need a disk of their own or a clock that can be set). Not here: drawing one from a seed (`generate`), carrying one out
(`run`). Times are in seconds from the start of the load.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from chainnode.localnet import bank_name
from ledger.batch_headers import BATCH_EVENTS_MAX
from ledger.shape_errors import NODE_NAME_PATTERN
from primitives.errors import InputError

LEADER = "leader"
"""Names whoever leads when a perturbation begins."""

FILE_BYTES_MAX = 1 << 20
NODES_MIN = 4
NODES_MAX = 26
SECONDS_MAX = 24 * 3_600
VIEW_TIMEOUT_MS_MAX = 60_000

Name = Annotated[str, Meta(pattern=NODE_NAME_PATTERN)]
Seconds = Annotated[float, Meta(ge=0, le=SECONDS_MAX)]
Share = Annotated[float, Meta(ge=0, le=1)]
DelayMs = Annotated[int, Meta(ge=0, le=SECONDS_MAX * 1_000)]
Rate = Annotated[float, Meta(gt=0, le=1_000)]


class Links(StrEnum):
    """What stands between the nodes: a proxy in every link's path, or a network namespace for each node."""

    PROXY = "proxy"
    NAMESPACES = "namespaces"


class Wiped(StrEnum):
    """What is gone from a stopped node's disk."""

    ALL = "all"
    LEDGER = "ledger"
    LOG = "log"
    INDEX = "index"


class Damaged(StrEnum):
    """Where a byte of a stopped node's files is flipped."""

    TABLE = "table"
    STORE_LOG = "store_log"
    MANIFEST = "manifest"
    CURRENT = "current"
    INDEX = "index"
    WAL_HEAD = "wal_head"
    WAL_MIDDLE = "wal_middle"
    WAL_TAIL = "wal_tail"
    OUTBOX = "outbox"


LOSES_THE_VOTE = frozenset({Damaged.WAL_HEAD, Damaged.WAL_MIDDLE, Damaged.WAL_TAIL})
LOSES_THE_OUTBOX = frozenset({Damaged.OUTBOX})


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    """What all perturbations have: when they begin, and after how many seconds what was done is undone."""

    at_s: Seconds
    for_s: Seconds = 0.0


class Kill(Fault, frozen=True, kw_only=True, tag="kill"):
    """kill -9 of one node, started again after `for_s`."""

    node: str


class PowerLoss(Fault, frozen=True, kw_only=True, tag="power_loss"):
    """kill -9 of all nodes at once."""


class Pause(Fault, frozen=True, kw_only=True, tag="pause"):
    """SIGSTOP, and SIGCONT after `for_s`."""

    node: str


class Stop(Fault, frozen=True, kw_only=True, tag="stop"):
    """SIGTERM, started again after `for_s`; a restart where that is zero."""

    node: str


class Wipe(Fault, frozen=True, kw_only=True, tag="wipe"):
    """kill -9, files removed, started again after `for_s`."""

    node: str
    what: Wiped


class Flip(Fault, frozen=True, kw_only=True, tag="flip"):
    """The node is stopped, one bit flipped somewhere in a file, and started; then its operator does as it says."""

    node: str
    file: Damaged
    place: Share


class FillDisk(Fault, frozen=True, kw_only=True, tag="fill_disk"):
    """The node's file system is filled to the last byte; freed, and the node started again, after `for_s`."""

    node: str


class Clock(Fault, frozen=True, kw_only=True, tag="clock"):
    """The node's wall clock is set off by `offset_s`, and set right again after `for_s`."""

    node: str
    offset_s: Annotated[float, Meta(ge=-SECONDS_MAX, le=SECONDS_MAX)]


class Delay(Fault, frozen=True, kw_only=True, tag="delay"):
    """What the node sends (and, unless `one_way`, what is sent to it) takes longer."""

    node: str
    delay_ms: DelayMs
    jitter_ms: DelayMs
    one_way: bool = False


class Loss(Fault, frozen=True, kw_only=True, tag="loss"):
    """A share of the segments to and from the node is lost: each costs a retransmission, and some the connection."""

    node: str
    share: Share


class Cut(Fault, frozen=True, kw_only=True, tag="cut"):
    """Its links are cut; `stalled`: without a word, so that only time-outs tell; `one_way`: only what it sends."""

    node: str
    stalled: bool = False
    one_way: bool = False


class Narrow(Fault, frozen=True, kw_only=True, tag="narrow"):
    """The node's links carry at most so many KiB a second each way."""

    node: str
    kib_per_second: Annotated[int, Meta(ge=1, le=1 << 20)]


class Upgrade(Fault, frozen=True, kw_only=True, tag="upgrade"):
    """SIGTERM of one node, which is a later release from its next start on, after `for_s`."""

    node: str


class Join(Fault, frozen=True, kw_only=True, tag="join"):
    """A further node of a member is founded, follows the chain, and becomes a validator by the members' votes."""

    node: Name
    member: Name


class Leave(Fault, frozen=True, kw_only=True, tag="leave"):
    """The members vote that a validator leaves; its node goes on to follow."""

    node: str


class Readmit(Fault, frozen=True, kw_only=True, tag="readmit"):
    """A node that lost what it signed is stopped and given new keys, and the members vote for them."""

    node: str


class Amend(Fault, frozen=True, kw_only=True, tag="amend"):
    """The members vote for another value of a figure of the policy."""

    figure: str
    value: Annotated[int, Meta(ge=0, le=1 << 40)]


Governed: TypeAlias = Join | Leave | Readmit | Amend
"""What the members decide, one thing after the other: each but an amendment is one more epoch."""

Perturbation: TypeAlias = (
    Kill
    | PowerLoss
    | Pause
    | Stop
    | Wipe
    | Flip
    | FillDisk
    | Clock
    | Delay
    | Loss
    | Cut
    | Narrow
    | Upgrade
    | Join
    | Leave
    | Readmit
    | Amend
)


class Load(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each of `banks` submits: batches that it signs itself, and lone events through its node's gateway."""

    banks: tuple[str, ...]
    batches_per_second: Rate
    events_a_batch: Annotated[int, Meta(ge=1, le=BATCH_EVENTS_MAX)]
    lone_per_second: Rate


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run; `goals` are the names of what the generator meant to cover, for a reader."""

    seed: int
    nodes: int
    links: Links
    seconds: float
    view_timeout_ms: Annotated[int, Meta(ge=1, le=VIEW_TIMEOUT_MS_MAX)]
    load: Load
    goals: tuple[str, ...]
    perturbations: tuple[Perturbation, ...]

    @property
    def founders(self) -> tuple[str, ...]:
        """The names of the nodes of genesis."""
        return tuple(bank_name(index) for index in range(self.nodes))

    @property
    def joiners(self) -> tuple[str, ...]:
        """The names of the nodes that are founded in the course of the run."""
        return tuple(item.node for item in self.perturbations if isinstance(item, Join))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all nodes that there ever are."""
        return self.founders + self.joiners

    @property
    def validators(self) -> frozenset[str]:
        """The names of those that vote in the end, if all is done as it stands here."""
        left = {item.node for item in self.perturbations if isinstance(item, Leave)}
        return frozenset(self.names) - left

    @property
    def voteless(self) -> frozenset[str]:
        """Nodes that lose what they signed and get no new keys, and so must abstain until the end."""
        lost = {node_of(item) for item in self.perturbations if loses_vote(item)}
        return frozenset(lost - {item.node for item in self.perturbations if isinstance(item, Readmit)})

    @property
    def without_outbox(self) -> frozenset[str]:
        """Nodes whose gateway must sign nothing after it lost its outbox."""
        return frozenset(node_of(item) for item in self.perturbations if loses_outbox(item))

    @property
    def small_disks(self) -> frozenset[str]:
        """Nodes that need a file system of their own."""
        return frozenset(item.node for item in self.perturbations if isinstance(item, FillDisk))

    @property
    def set_clocks(self) -> frozenset[str]:
        """Nodes whose clock must be one that can be set."""
        return frozenset(item.node for item in self.perturbations if isinstance(item, Clock))

    @property
    def is_governed(self) -> bool:
        """Whether members decide on anything."""
        return any(isinstance(item, Governed) for item in self.perturbations)

    @property
    def upgrades(self) -> bool:
        """Whether a later release is needed."""
        return any(isinstance(item, Upgrade) for item in self.perturbations)


def node_of(item: Perturbation) -> str:
    """Return whom a perturbation is for: a name, `LEADER`, or nothing where it is all nodes."""
    return "" if isinstance(item, PowerLoss | Amend) else item.node


def loses_vote(item: Perturbation) -> bool:
    """Say whether a node does not know any more what it signed."""
    match item:
        case Wipe(what=what):
            return what in (Wiped.ALL, Wiped.LOG)
        case Flip(file=file):
            return file in LOSES_THE_VOTE
        case _:
            return False


def loses_outbox(item: Perturbation) -> bool:
    """Say whether a gateway does not know any more which numbers its key signed."""
    match item:
        case Wipe(what=what):
            return what is Wiped.ALL
        case Flip(file=file):
            return file in LOSES_THE_OUTBOX
        case _:
            return False


def to_json(manifest: Manifest) -> str:
    """Return a manifest's text: a line for each field, and for each perturbation."""
    fields = msgspec.to_builtins(manifest)
    perturbations = [msgspec.json.encode(item).decode() for item in fields.pop("perturbations")]
    head = [f' "{name}": {msgspec.json.encode(value).decode()},' for name, value in fields.items()]
    rows = [f"  {item}{',' if place < len(perturbations) else ''}" for place, item in enumerate(perturbations, 1)]
    return "\n".join(["{", *head, ' "perturbations": [', *rows, " ]", "}"]) + "\n"


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of a file. Raises `InputError` where it is none, or names a node that it does not have."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise InputError("cannot be read", where=str(path), expected="a manifest", got=error.strerror) from None
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        where = f"{path}{_line_of(data, str(error))}"
        raise InputError("not a manifest", where=where, expected="the fields of `--print`", got=error) from None
    if not NODES_MIN <= manifest.nodes <= NODES_MAX:
        expected = f"{NODES_MIN} to {NODES_MAX}"
        raise InputError("number of nodes", where=str(path), expected=expected, got=manifest.nodes)
    if not 0 < manifest.seconds <= SECONDS_MAX:
        raise InputError("seconds", where=str(path), expected=f"up to {SECONDS_MAX}", got=manifest.seconds)
    if not manifest.load.banks:
        raise InputError("a load of nobody", where=str(path), expected="at least one bank", got="none")
    _require_names(manifest, path)
    return manifest


def _require_names(manifest: Manifest, path: Path) -> None:
    """Raise `InputError` for a bank or node that the run does not have, and for a joiner that it has already."""
    members = [item.member for item in manifest.perturbations if isinstance(item, Join)]
    wanted = [(name, manifest.founders, "bank") for name in (*manifest.load.banks, *members)]
    wanted += [(node_of(item), (*manifest.names, LEADER, ""), "node") for item in manifest.perturbations]
    for name, known, what in wanted:
        if name not in known:
            expected = " or ".join(item for item in known if item not in (LEADER, ""))
            raise InputError(f"no such {what}", where=str(path), expected=expected, got=name)
    twice = [name for name in manifest.joiners if manifest.names.count(name) > 1]
    if twice:
        raise InputError("a joiner that is there already", where=str(path), expected="a new name", got=twice[0])


def _line_of(data: bytes, message: str) -> str:
    """Return the line of the byte that a decoder's message names, nothing where it names none."""
    found = re.search(r"\(byte (\d+)\)", message)
    if found is None:
        return ""
    before = data[: int(found[1])].count(b"\n")
    return f", line {before + 1}"


def describe(item: Perturbation) -> str:
    """Return one perturbation in a few words, for a timeline."""
    fields = msgspec.to_builtins(item)
    kind, node = fields.pop("kind"), fields.pop("node", "all")
    fields.pop("at_s")
    rest = " ".join(f"{name}={value}" for name, value in fields.items() if value not in (0.0, False))
    return f"{kind} {node} {rest}".strip()
