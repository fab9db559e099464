"""Carrying out one perturbation: what is done to the node, what must be seen, and how it is undone.

Here: one function for each kind. What a node does wrong on the way (it starts on a damaged store, or does not say what
is damaged; it outlives a full disk; its clock does not move) is a complaint, collected and part of the run's verdict.
Not here: when (`run`), what holds for the network as a whole (`checks`).
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, assert_never

from chainnode.client import TimedOut
from chainnode.identity import read_key
from torment.council import Council
from torment.damage import Remedy, find, flip, remedy_of
from torment.disks import empty, fill_disk, free_disk, wipe
from torment.manifest import (
    LEADER,
    Amend,
    Clock,
    Cut,
    Damaged,
    Delay,
    FillDisk,
    Flip,
    Join,
    Kill,
    Leave,
    Loss,
    Narrow,
    Pause,
    Perturbation,
    PowerLoss,
    Readmit,
    Stop,
    Upgrade,
    Wipe,
    Wiped,
    describe,
)
from torment.nodes import Nodes
from torment.proxy import Fate, Way

FULL_DISK_S: Final = 20.0
CLOCK_SLACK_S: Final = 2.0
CLOCK_SEEN_S: Final = 30.0


@dataclass(frozen=True)
class LostVote:
    """A key whose owner lost what it signed, and the height of the network then: it must sign nothing above."""

    node: str
    vote_key: bytes
    height: int


class Tormentor:
    """Carries out perturbations on the nodes of a run; `complaints` and `timeline` are what it saw, `council` what
    was decided, `losses` each vote key whose owner does not know any more what it signed."""

    def __init__(self, nodes: Nodes, started: float) -> None:
        self.nodes = nodes
        self.complaints: list[str] = []
        self.timeline: list[tuple[float, str]] = []
        self.damage: list[dict[str, Any]] = []  # Any: JSON of the report
        self.losses: list[LostVote] = []
        self._started = started
        self._lock = threading.Lock()
        self.council = Council(nodes, self.say)
        # A perturbation that takes longer than planned holds up the next on its node, and those of all nodes.
        self._held = {name: threading.Lock() for name in nodes.manifest.names}

    def say(self, what: str) -> None:
        """Note something with its time."""
        with self._lock:
            self.timeline.append((round(time.monotonic() - self._started, 1), what))

    def complain(self, what: str) -> None:
        """Note something that must not be."""
        self.say(f"WRONG: {what}")
        with self._lock:
            self.complaints.append(what)

    def perform(self, item: Perturbation) -> None:
        """Carry out one perturbation and undo it; returns when the node is back."""
        with ExitStack() as held:
            names = self._those(item)
            # A vote is nothing that is done to a node: other faults may strike it meanwhile.
            for name in () if isinstance(item, Leave | Amend) else names:
                held.enter_context(self._held[name])
            self.say(describe(item))
            try:
                self._perform(item, names)
            except TimedOut as error:
                self.complain(f"{describe(item)}: {error}")

    def _perform(self, item: Perturbation, names: Sequence[str]) -> None:
        node = names[0]
        match item:
            case Kill(for_s=for_s):
                self._kill(node, for_s)
            case PowerLoss(for_s=for_s):
                self._power_loss(names, for_s)
            case Pause(for_s=for_s):
                self._pause(node, for_s)
            case Stop(for_s=for_s):
                self.nodes.stop(node)
                self._back(node, for_s)
            case Wipe():
                self._wipe(item)
            case Flip():
                self._flip(item)
            case FillDisk(for_s=for_s):
                self._fill_disk(node, for_s)
            case Clock():
                self._clock(item)
            case Delay() | Loss() | Cut() | Narrow():
                self._links(item)
            case Upgrade(for_s=for_s):
                self.nodes.stop(node)
                self.nodes.upgrade(node)
                self._back(node, for_s)
            case Join():
                self.council.join(item)
            case Leave():
                self.council.leave(node)
            case Readmit():
                self.council.readmit(item)
            case Amend():
                self.council.amend(item)
            case _:
                assert_never(item)

    def _those(self, item: Perturbation) -> Sequence[str]:
        if isinstance(item, PowerLoss | Amend):
            return self.nodes.names
        return (self._who(item.node),)

    def _who(self, node: str) -> str:
        if node != LEADER:
            return node
        found = self.nodes.leader()
        self.say(f"the leader is {found}")
        return found

    def _back(self, node: str, after_s: float) -> None:
        time.sleep(after_s)
        self.nodes.start(node)
        began = time.monotonic()
        self.nodes.wait_ready(node)
        self.say(f"{node} answers again, {time.monotonic() - began:.1f} s after its start")

    def _kill(self, node: str, for_s: float) -> None:
        self.nodes.kill(node)
        self._back(node, for_s)

    def _power_loss(self, names: Sequence[str], for_s: float) -> None:
        self.nodes.kill(*names)
        time.sleep(for_s)
        for name in names:
            self.nodes.start(name)
        for name in names:
            self.nodes.wait_ready(name)
        self.say("all answer again")

    def _pause(self, node: str, for_s: float) -> None:
        self.nodes.signal(node, signal.SIGSTOP)
        time.sleep(for_s)
        self.nodes.signal(node, signal.SIGCONT)
        self.say(f"{node} goes on")

    # --- disks

    def _wipe(self, item: Wipe) -> None:
        node, home = item.node, self.nodes.home(item.node)
        self.nodes.kill(node)
        gone: dict[Wiped, Callable[[], None]] = {
            Wiped.ALL: lambda: empty(home.data),
            Wiped.LEDGER: lambda: wipe(home.data / "ledger.ldb"),
            Wiped.LOG: lambda: wipe(home.wal),
            Wiped.INDEX: lambda: wipe(home.index),
        }
        gone[item.what]()
        self._back(node, item.for_s)
        if item.what in (Wiped.ALL, Wiped.LOG):
            self._expect_learner(node)

    def _expect_learner(self, node: str) -> None:
        status = self.nodes.wait_ready(node)
        heights = [found["height"] for name in self.nodes.names if (found := self.nodes.status(name)) is not None]
        key = read_key(self.nodes.home(node).vote_key, "vote").public
        self.losses.append(LostVote(node, bytes.fromhex(key), max(heights, default=0)))
        if status.get("role") != "learner":
            self.complain(f"{node} lost what it signed and is {status.get('role')}, not a learner")

    def _flip(self, item: Flip) -> None:
        """Damage a file, let fsck and the node say what they find, then do what an operator is told to do."""
        node, home = item.node, self.nodes.home(item.node)
        self.nodes.stop(node)
        path = find(home, item.file)
        if path is None:
            self.say(f"{node} has no {item.file} to damage")
            self._back(node, item.for_s)
            return
        offset = flip(path, item.file, item.place)
        checked, report = self.nodes.fsck(node)
        status, said = self.nodes.start_by_hand(node)
        self.say(
            f"{node}: {path.name} flipped at {offset}; fsck {checked}: {report.get('problem')}; start: {said or 'runs'}"
        )
        self.damage.append(
            {"file": item.file.value, "name": path.name, "offset": offset, "fsck": report.get("problem"), "start": said}
        )
        remedy = remedy_of(item.file)
        refuses = status is not None
        if refuses and (status != 1 or not said.startswith("chainnode: ")):
            self.complain(f"{node} ended with {status} and said {said!r} on a damaged {item.file}")
        if refuses and path.name not in said and path.parent.name not in said:
            self.complain(f"{node} does not name the damaged {item.file}: {said}")
        if not refuses and remedy is not Remedy.NOTHING and item.file is not Damaged.TABLE:  # a table may be read later
            self.complain(f"{node} runs on a damaged {item.file}")
        if not checked:
            self.complain(f"fsck finds nothing in {node}'s damaged {item.file} (offset {offset} of {path})")
        self._mend(node, remedy, path)
        self._back(node, item.for_s)
        if remedy is Remedy.MOVE_LOG:
            self._expect_learner(node)

    def _mend(self, node: str, remedy: Remedy, path: Path) -> None:
        match remedy:
            case Remedy.FETCH_AGAIN | Remedy.BUILD_AGAIN:
                wipe(path.parent)
            case Remedy.MOVE_LOG:
                path.rename(self.nodes.directory / f"{node}.{path.name}.damaged")
            case Remedy.NOTHING:
                pass
            case _:
                assert_never(remedy)

    def _fill_disk(self, node: str, for_s: float) -> None:
        began = time.monotonic()
        fill_disk(self.nodes.home(node).data, self.nodes.pid(node))
        if self.nodes.wait_gone(node, FULL_DISK_S):
            said = self.nodes.last_words(node)
            self.say(f"{node} ended {time.monotonic() - began:.1f} s after its disk was full: {said}")
            if not said.startswith("chainnode: "):
                self.complain(f"{node} did not say that its disk is full: {said}")
        else:
            self.complain(f"{node} still runs {FULL_DISK_S:g} s after its disk was full")
            self.nodes.kill(node)
        time.sleep(max(0.0, began + for_s - time.monotonic()))
        free_disk(self.nodes.home(node).data)
        self._back(node, 0.0)

    # --- clocks and links

    def _clock(self, item: Clock) -> None:
        node, file = item.node, self.nodes.clock_file(item.node)
        file.write_text(f"{item.offset_s:+g}s\n")
        end, off = time.monotonic() + item.for_s, None
        seen_by = time.monotonic() + CLOCK_SEEN_S
        while time.monotonic() < seen_by and (off is None or abs(off - item.offset_s) > CLOCK_SLACK_S):
            time.sleep(0.5)
            seen = self.nodes.clock_of(node)
            off = None if seen is None else seen - time.time()
        if off is None or abs(off - item.offset_s) > CLOCK_SLACK_S:
            self.complain(f"{node}'s clock is off by {off} s where {item.offset_s:+g} s was asked for")
        else:
            self.say(f"{node}'s clock is off by {off:+.0f} s")
        time.sleep(max(0.0, end - time.monotonic()))
        file.write_text("+0s\n")
        self.say(f"{node}'s clock is right again")

    def _links(self, item: Delay | Loss | Cut | Narrow) -> None:
        if self.nodes.manifest.links.value == "namespaces":
            self._cable(item, begin=True)
            time.sleep(item.for_s)
            self._cable(item, begin=False)
        else:
            dialled, dialling = self.nodes.wires.routes_of(item.node)
            out, back, cut = _ways(item)
            # What the node sends goes `there` on links that it dialled and `back` on those that others did.
            self.nodes.wires.set_fate(Fate(tuple(dialled), out, back, cut))
            self.nodes.wires.set_fate(Fate(tuple(dialling), back, out, cut))
            time.sleep(item.for_s)
            self.nodes.wires.set_fate(Fate((*dialled, *dialling)))
        self.say(f"{item.node}'s links are whole again")

    def _cable(self, item: Delay | Loss | Cut | Narrow, *, begin: bool) -> None:
        match item:
            case Narrow(kib_per_second=rate):
                self.nodes.wires.cables.narrow(item.node, rate * 1_024 if begin else 0)
            case _:
                self.nodes.wires.cables.cut(item.node, is_cut=begin)


def _ways(item: Delay | Loss | Cut | Narrow) -> tuple[Way, Way, bool]:
    """Return what happens to what a node sends, to what it is sent, and whether its links are reset."""
    match item:
        case Delay():
            way = Way(delay_ms=item.delay_ms, jitter_ms=item.jitter_ms)
            return way, Way() if item.one_way else way, False
        case Loss():
            way = Way(loss=item.share)
            return way, way, False
        case Narrow():
            way = Way(rate=item.kib_per_second * 1_024)
            return way, way, False
        case Cut():
            way = Way(stalled=item.stalled)
            return way, Way() if item.one_way else way, not item.stalled
        case _:
            assert_never(item)
