"""The demonstration: four banks on this machine agree on real input, prove an answer, lose a bank and get it back.

Here: the steps, what each must show, and the summary. Every line of the summary was observed in this run: a step that
does not see what it says raises `DemoFailed`, and the demonstration ends with that status. Commands are run as a user
would run them, in processes of their own; what nodes hold is asked of each node.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from chainnode.client import CallRefused, NodeClient, TimedOut, Unreachable
from chainnode.localnet import Localnet, LocalNode, net_status, wait_until_ready
from chainnode.localnet_pairing import announce_pairing_keys
from primitives.errors import ChainError

SAMPLES = Path(__file__).parents[1] / "samples"
COMMAND_TIMEOUT_S = 90
CATEGORIES = 11
PAYMENTS_MIN = 20
ORDER_WITHIN_S = 60.0
CAUGHT_UP_WITHIN_S = 60.0
POLL_S = 0.05

# Which bank reports which of samples/payments (its README): both ends of a hop report it.
REPORTS: dict[str, str] = {
    "bank-a": "01 02 03 05 09 11 13 17 19 22 23 24 25 27",
    "bank-b": "01 02 06 07 08 10 13 14 19 20 21 22 24 25 28",
    "bank-c": "03 04 06 07 11 12 14 15 18 20 26",
    "bank-d": "04 05 08 09 10 12 15 16 21 26",
}
LINES: dict[str, tuple[str, ...]] = {
    "bank-a": ("qr-bank-a.jsonl", "qr-payer-bank-a.jsonl"),
    "bank-b": ("qr-bank-b.jsonl", "plain-bank-b.jsonl"),
    "bank-c": ("qr-bank-c.jsonl", "plain-bank-c.csv"),
    "bank-d": ("qr-bank-d.jsonl",),
}
# One of them, whichever does not lead, submits while there is no leader; the other when the killed bank is back.
KEPT_BACK = ("bank-b", "bank-c")
# Read instead of the command line's own main: whatever opens a connection in that process ends it.
NO_NETWORK = """
import sys
def refuse(event, arguments):
    if event.startswith("socket."):
        print("the process tried to use the network:", event, file=sys.stderr)
        import os
        os._exit(99)
sys.addaudithook(refuse)
from chainnode.cli.main import main
main()
"""

Json = dict[str, Any]  # Any: JSON of a node


class DemoFailed(ChainError):
    """A step of the demonstration did not show what it promises."""

    reason = "demo_failed"


@dataclass(slots=True)
class Observed:
    """What was seen, for the summary; each field is set by the step that saw it."""

    event_ids: list[str] = field(default_factory=list)
    messages: int = 0
    qr_payloads: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    certificates: int = 0
    receipt_by: int = 0
    receipt_of: int = 0
    tampered_status: int = 0
    leader: str = ""
    new_leader: str = ""
    new_view: int = 0
    restored_s: float = 0.0
    caught_up_s: float = 0.0
    heights: dict[str, int] = field(default_factory=dict)
    height: int = 0
    state_root: str = ""
    log_root: str = ""


def run_demo(directory: Path | None, *, keep: bool, tell: Callable[[str], None] | None = None) -> int:
    """Run all steps; returns 0, or raises what failed. Nothing keeps running, and nothing is left unless `keep`."""
    if not SAMPLES.is_dir():
        raise DemoFailed("no samples", where=str(SAMPLES), hint="run the demonstration from a checkout of the project")
    root = Path(tempfile.mkdtemp(prefix="chainnode-demo-")) if directory is None else directory.absolute()
    net = Localnet(root / "net")
    demo = Demo(root, net, tell or _say)
    done = False
    started = time.monotonic()
    try:
        with _interruptible():
            demo.run()
        done = True
    finally:
        if net.exists:
            net.stop()
        if done and not keep and directory is None:
            shutil.rmtree(root)
        else:
            _say(f"kept in {root}")
    print_summary(demo.seen, time.monotonic() - started)
    _say("a network that stays, to look around in a browser: `chainnode localnet up` prints its explorer's address")
    return 0


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn SIGTERM into an interruption, so that the nodes are ended then too."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Demo:
    """One run: its directory, its network, and what was seen so far."""

    def __init__(self, root: Path, net: Localnet, tell: Callable[[str], None]) -> None:
        self.root = root
        self.net = net
        self.seen = Observed()
        self._tell = tell
        self._submitted: set[str] = set()

    def run(self) -> None:
        """Run the steps in order."""
        steps: list[tuple[str, Callable[[], str]]] = [
            ("four banks start", self.start),
            ("certificates in all eleven categories", self.certificates),
            ("payment messages and QR codes", self.payments),
            ("an event is proved, and verified without a network", self.prove),
            ("a tampered receipt is refused", self.tamper),
            ("the leader is killed, and order restored", self.lose_leader),
            ("the killed bank catches up", self.recover),
            ("all banks hold the same", self.compare),
        ]
        for number, (title, step) in enumerate(steps, 1):
            began = time.monotonic()
            head = f"[{number}/{len(steps)}] {title}"
            if sys.stderr.isatty():
                print(f"{head} …", end="", file=sys.stderr, flush=True)
            result = step()
            self._tell(f"{chr(13) if sys.stderr.isatty() else ''}{head}: {result} ({time.monotonic() - began:.1f} s)")

    # --- the steps: each returns a line, or raises

    def start(self) -> str:
        """Found the network, start its processes, and wait until all are ready."""
        self.root.mkdir(parents=True, exist_ok=True)
        with self.net.held():
            now_ms = time.time_ns() // 1_000_000
            file = self.net.found(4, base_port=None, now_ms=now_ms, step=lambda _: None)
            self.net.start()
        wait_until_ready(self.net, [node.name for node in file.nodes])
        announce_pairing_keys(self.net)
        nodes = self.net.load().nodes
        pids = {node.pid for node in nodes}
        _expect(len(pids) == 4 and None not in pids, "four processes", expected=4, got=len(pids))
        processes = ", ".join(str(node.pid) for node in nodes)
        return f"processes {processes}, ports from {file.base_port}, explorer at {nodes[0].explorer} while they run"

    def certificates(self) -> str:
        """Submit the sample certificates, each file by the key that its name holds, and ask what became of them."""
        files = sorted((SAMPLES / "certificates").glob("*.jsonl"))
        _expect(bool(files), "sample certificates", where=str(SAMPLES / "certificates"))
        granted: set[str] = set()
        count = 0
        for file in files:
            key = self.net.keys / f"{file.stem.partition('-')[2]}.key"
            signing = [f"--officer={path}" for path in self.net.officers_of(key.stem.rpartition("-")[0])]
            count += len(self._submit([file], "--as", str(key), "--endpoint", self._any_node().rpc, *signing))
            bodies = [json.loads(line) for line in file.read_text().splitlines()]
            granted |= {item["body"]["number"] for item in bodies if item["kind"] == "certificate.grant"}
        found = [self._call(self._any_node(), "cert_getStatus", number=number) for number in sorted(granted)]
        words = Counter(item["status"]["status"] for item in found if item["exists"])
        categories = {item["number"].split("-")[2] for item in found if item["exists"]}
        _expect(
            len(categories) == CATEGORIES, "categories with a certificate", expected=CATEGORIES, got=len(categories)
        )
        self.seen.certificates = sum(words.values())
        said = ", ".join(f"{number} {word}" for word, number in sorted(words.items()))
        return f"{count} events, {self.seen.certificates} certificates ({said})"

    def payments(self) -> str:
        """Let each bank report its payments through its own node; the lines of two banks are kept back."""
        for bank, numbers in REPORTS.items():
            files = [file for number in numbers.split() for file in sorted((SAMPLES / "payments").glob(f"{number}-*"))]
            lines = [SAMPLES / "payments" / name for name in LINES[bank]] if bank not in KEPT_BACK else []
            rows = self._submit([*files, *lines], "--home", self._node(bank).home)
            self.seen.messages += sum(1 for row in rows if "pacs008" in row["where"])
            self.seen.qr_payloads += sum(1 for row in rows if "/qr-" in row["where"])
        seen = self.seen
        _expect(seen.messages >= PAYMENTS_MIN, "pacs.008 statements", expected=f">= {PAYMENTS_MIN}", got=seen.messages)
        return f"{seen.messages} statements of pacs.008 messages, {seen.qr_payloads} of QR payloads so far"

    def prove(self) -> str:
        """Fetch a receipt and the policy, and verify in a process that may not open a socket."""
        node = self._any_node()
        event = self.seen.event_ids[-1]
        self._command("prove", event, "-f", str(self._receipt), "--endpoint", node.rpc)
        self._command("policy", "export", "-f", str(self._policy), "--endpoint", node.rpc)
        trusted = self._command("policy", "export", "--genesis", str(self.net.directory / "genesis.json")).stdout
        _expect(self._policy.read_text() == trusted, "the node's policy is that of genesis")
        done = self._verify(self._receipt)
        _expect(done.returncode == 0, "verification", expected=0, got=f"{done.returncode} {done.stderr.strip()}")
        verdict = json.loads(done.stdout)
        _expect(verdict["event_id"] == event and verdict["outcome"]["applied"], "the receipt's event", got=done.stdout)
        self.seen.receipt_by, self.seen.receipt_of = verdict["cosigned"]["by"], verdict["cosigned"]["of"]
        _expect(self.seen.receipt_by >= 3, "cosigners", expected=">= 3", got=self.seen.receipt_by)
        return f"verified by {self.seen.receipt_by} of {self.seen.receipt_of} banks"

    def tamper(self) -> str:
        """Change one bit of the event inside the receipt; `verify` must end with status 3."""
        lines = self._receipt.read_text().split("\n")
        place = next(index for index, line in enumerate(lines) if line.startswith("extra "))
        extra = bytearray(base64.b64decode(lines[place].removeprefix("extra ")))
        extra[len(extra) // 4] ^= 1
        lines[place] = f"extra {base64.b64encode(extra).decode()}"
        forged = self.root / "tampered.tlog-proof"
        forged.write_text("\n".join(lines))
        done = self._verify(forged)
        _expect(done.returncode == 3, "status of a tampered receipt", expected=3, got=done.returncode)
        self.seen.tampered_status = done.returncode
        return f"status 3, {json.loads(done.stderr)['error']['message'].rpartition('proof: ')[2]}"

    def lose_leader(self) -> str:
        """Kill the leader's process and submit at once: how long until the others commit, in which view."""
        before = self._status(self._any_node())
        leader = str(before["leader"])
        bank = next(name for name in KEPT_BACK if name != leader)
        self._expect_everywhere(self.net.load().nodes)
        began = time.monotonic()
        _expect(self.net.kill(leader), "the leader's process was killed", got=leader)
        count = self._submit_lines(bank)
        self.seen.restored_s = time.monotonic() - began
        _expect(self._node(leader).pid is None, "the killed bank stays away", got=leader)
        after = self._status(self._node(bank))
        _expect(after["view"] > before["view"], "a later view", expected=f"> {before['view']}", got=after["view"])
        _expect(after["leader"] != leader, "another leader", got=after["leader"])
        self.seen.leader, self.seen.new_leader, self.seen.new_view = leader, after["leader"], after["view"]
        return f"{leader} killed, {count} events committed under {after['leader']} in view {after['view']}"

    def recover(self) -> str:
        """Start the killed bank again, and wait until it stands where the others stand."""
        began = time.monotonic()
        with self.net.held():
            self.net.start([self.seen.leader])
        goal = self._status(self._any_node(but=self.seen.leader))["height"]
        node = self._node(self.seen.leader)
        while True:
            found = net_status(node)
            if found is not None and found["height"] >= goal and not found["catching_up"]:
                break
            if time.monotonic() - began > CAUGHT_UP_WITHIN_S:
                raise TimedOut("the killed bank did not catch up", expected=f"height {goal}", got=found)
            time.sleep(POLL_S)
        self.seen.caught_up_s = time.monotonic() - began
        wait_until_ready(self.net, [node.name])
        for bank in KEPT_BACK:
            self._submit_lines(bank)
        qr = self.seen.qr_payloads
        _expect(qr >= PAYMENTS_MIN, "QR payloads", expected=f">= {PAYMENTS_MIN}", got=qr)
        return f"{self.seen.leader} stood at height {found['height']} after {self.seen.caught_up_s:.1f} s"

    def compare(self) -> str:
        """Ask every node for every event that was answered `committed`, and for the roots at one height."""
        nodes = list(self.net.load().nodes)
        self._expect_everywhere(nodes)
        self.seen.heights = {node.name: int(self._status(node)["height"]) for node in nodes}
        self.seen.height = min(self.seen.heights.values())
        found = {node.name: self._call(node, "ledger_getBlock", height=self.seen.height) for node in nodes}
        for name in ("hash", "state_root", "log_root", "outcomes_root"):
            values = {node: block.get(name) or block["header"][name] for node, block in found.items()}
            _expect(len(set(values.values())) == 1, f"equal {name} at height {self.seen.height}", got=values)
        header = next(iter(found.values()))["header"]
        self.seen.state_root, self.seen.log_root = header["state_root"], header["log_root"]
        self._count(nodes[0])
        return f"equal roots at height {self.seen.height}, {len(self.seen.event_ids)} events on each of {len(nodes)}"

    # --- how a step looks and acts

    @property
    def _receipt(self) -> Path:
        return self.root / "event.tlog-proof"

    @property
    def _policy(self) -> Path:
        return self.root / "policy"

    def _node(self, name: str) -> LocalNode:
        return self.net.node(name)

    def _any_node(self, *, but: str = "") -> LocalNode:
        return next(node for node in self.net.load().nodes if node.name != but and node.pid is not None)

    def _submit_lines(self, bank: str) -> int:
        """Submit a bank's lines that were kept back, unless they were submitted already; returns how many."""
        if bank in self._submitted:
            return 0
        self._submitted.add(bank)
        rows = self._submit([SAMPLES / "payments" / name for name in LINES[bank]], "--home", self._node(bank).home)
        self.seen.qr_payloads += sum(1 for row in rows if "/qr-" in row["where"])
        return len(rows)

    def _status(self, node: LocalNode) -> Json:
        return self._call(node, "net_status")

    def _call(self, node: LocalNode, method: str, **params: Any) -> Json:  # Any: JSON
        client = NodeClient(node.rpc)
        try:
            found: Json = client.call(method, **params)
        finally:
            client.close()
        return found

    def _expect_everywhere(self, nodes: Sequence[LocalNode]) -> None:
        """Every event that was answered `committed` so far stands on each of these nodes."""
        for node in nodes:
            client = NodeClient(node.rpc)
            end = time.monotonic() + ORDER_WITHIN_S
            for event in self.seen.event_ids:
                while not _has(client, event):
                    _expect(time.monotonic() < end, "an event that was answered committed", where=node.name, got=event)
                    time.sleep(POLL_S)
            client.close()

    def _count(self, node: LocalNode) -> None:
        """Count events by kind over the whole chain."""
        client = NodeClient(node.rpc)
        for height in range(1, self.seen.height + 1):
            page: Json = {}
            while page.get("cursor", "") is not None:
                more = {"cursor": page["cursor"]} if page.get("cursor") else {}
                page = client.call("ledger_getBlockEvents", height=height, limit=100, **more)
                self.seen.kinds.update(item["kind"] for item in page["events"])
                self.seen.rejected += sum(1 for item in page["events"] if not item["outcome"]["applied"])
        client.close()

    def _submit(self, files: Sequence[Path], *options: str) -> list[Json]:
        """Submit files; every event must end committed and applied."""
        done = self._command("submit", *map(str, files), *options, "-o", "jsonl")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        bad = [row for row in rows if row["status"] != "Committed" or not row["outcome"]["applied"]]
        _expect(bool(rows) and not bad, "submitted events", expected="all applied", got=bad[:1] or "none")
        self.seen.event_ids += [row["id"] for row in rows]
        return rows

    def _verify(self, receipt: Path) -> subprocess.CompletedProcess[str]:
        arguments = ["verify", str(receipt), "--policy", str(self._policy), "-o", "json"]
        return self._process([sys.executable, "-c", NO_NETWORK, *arguments])

    def _command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this program in a process of its own; it must end with status 0."""
        done = self._process([sys.executable, "-m", "chainnode.cli.main", *arguments])
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise DemoFailed(
                f"chainnode {' '.join(arguments[:2])}", expected="status 0", got=f"{done.returncode} {said}"
            )
        return done

    def _process(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CHAINNODE_")}
        environment["PYTHONPATH"] = str(Path(__file__).parents[1])
        try:
            return subprocess.run(  # noqa: S603  our own interpreter with our own arguments
                command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, env=environment, check=False
            )
        except subprocess.TimeoutExpired:
            raise TimedOut("a command", where=command[3], expected=f"within {COMMAND_TIMEOUT_S} s") from None


def _has(client: NodeClient, event: str) -> bool:
    try:
        client.call("ledger_getEvent", event_id=event)
    except (CallRefused, Unreachable, TimedOut):
        return False
    return True


def _expect(holds: bool, what: str, *, expected: object = None, got: object = None, where: str | None = None) -> None:
    if not holds:
        raise DemoFailed(f"not so: {what}", where=where, expected=expected, got=got)


def summary_rows(seen: Observed) -> list[tuple[str, str]]:
    """Return the lines of the summary."""
    heights = ", ".join(f"{name} {height}" for name, height in seen.heights.items())
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(seen.kinds.items()))
    return [
        ("heights", heights),
        ("roots equal on all nodes", f"yes: state {seen.state_root[:16]}…, log {seen.log_root[:16]}… at {seen.height}"),
        ("events by kind", kinds),
        ("events rejected", str(seen.rejected)),
        ("certificates", f"{seen.certificates} in {CATEGORIES} categories"),
        ("payments", f"{seen.messages} pacs.008 statements, {seen.qr_payloads} of QR payloads"),
        ("receipt verified offline", f"by {seen.receipt_by} of {seen.receipt_of} banks"),
        ("tampered receipt", f"refused, exit status {seen.tampered_status}"),
        (
            "leader killed",
            f"{seen.leader}; order restored in {seen.restored_s:.1f} s by {seen.new_leader}, view {seen.new_view}",
        ),
        ("killed bank caught up", f"yes, in {seen.caught_up_s:.1f} s"),
    ]


def print_summary(seen: Observed, seconds: float) -> None:
    """Print the summary on stdout, drawn on a terminal."""
    rows = [*summary_rows(seen), ("all of it took", f"{seconds:.0f} s")]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(title="Four banks agree", show_header=False)
        for name, value in rows:
            table.add_row(name, value)
        Console(highlight=False, markup=False).print(table)
        return
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
