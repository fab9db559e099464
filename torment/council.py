"""What the members decide in the course of a run: a validator joins, leaves, or gets new keys.

Here: what their operators do, with the command line and the keys of a localnet: one change after the other, each step
again until the chain has it, since nodes are killed and cut off meanwhile. What each epoch's set came to be is noted.
Not here: when (`perturb`), what must hold of the sets afterwards (`checks`).
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from chainnode.client import CallRefused, TimedOut, Unreachable
from chainnode.identity import read_key
from chainnode.joining import entry_path
from ledger.genesis import validator_set
from ledger.governance_records import Stage
from ledger.members import GOVERNANCE_ROLE
from primitives.ids import Epoch, MemberId
from primitives.validators import Validator, ValidatorSet
from torment.manifest import Amend, Join, Readmit
from torment.nodes import Nodes

STEP_S: Final = 150.0
"""How long a step is tried again. No fault lasts 15 s, and a view's time-out doubles a few times at most."""
WAIT_FOR_ORDER_S: Final = 15.0
COMMAND_S: Final = 60.0
AGAIN_S: Final = 0.5
ANSWER_S: Final = 1.0

Json = dict[str, Any]  # Any: a node's answer
T = TypeVar("T")


class Council:
    """Decides for the members; `sets` has each epoch's validators as nodes told them when it began.

    `figures` are those of the policy that were decided on, with their newest values.
    """

    def __init__(self, nodes: Nodes, say: Callable[[str], None]) -> None:
        self.sets: dict[int, ValidatorSet] = {0: validator_set(nodes.genesis)}
        self.figures: dict[str, int] = {}
        self._nodes = nodes
        self._say = say
        self._deciding = threading.Lock()
        self._tries = 0
        self._refusal = ""

    def join(self, item: Join) -> None:
        """Found a further node of a member, let it follow, and make it a validator. Raises `TimedOut`."""
        node = item.node
        home, first = self._nodes.home(node), self._nodes.home(item.member)
        address = self._nodes.wires.public_address(node)
        genesis = str(self._nodes.net.directory / "genesis.json")
        named = ("--name", node, "--member", item.member, "--address", address, "--ca", str(first.root))
        self._must(node, "init", *named, "--genesis", genesis, "--joins")
        self._nodes.configure(node)
        self._nodes.start(node)
        self._nodes.wait_ready(node)
        self._say(f"{node} follows as {self._role(node)}")
        self._must(node, "validator", "entry", "--address", address)
        self._decide(("add", str(entry_path(home))), "add_validator", node, lambda found: node in found.indexes)
        self._until(f"{node} votes", lambda: self._role(node) == "validator")
        self._nodes.add(node)

    def leave(self, node: str) -> None:
        """Let the members vote that a validator leaves. Raises `TimedOut`."""
        self._decide(("remove", node), "remove_validator", node, lambda found: node not in found.indexes)

    def readmit(self, item: Readmit) -> None:
        """Stop a node, give it new keys, and let the members vote for them. Raises `TimedOut`."""
        node, home = item.node, self._nodes.home(item.node)
        self._nodes.stop(node)
        self._must(node, "validator", "renew-keys")
        key = read_key(home.vote_key, "vote").public
        self._nodes.start(node)
        self._nodes.wait_ready(node)
        self._must(node, "validator", "entry")

        def is_in(found: ValidatorSet) -> bool:
            return any(each.vote_key.hex() == key for each in found.validators)

        self._decide(("rekey", str(entry_path(home))), "rekey_validator", node, is_in)
        self._until(f"{node} votes again", lambda: self._role(node) == "validator")

    def amend(self, item: Amend) -> None:
        """Let the members vote for another figure, and return once a node judges blocks by it. Raises `TimedOut`."""
        what = f"{item.figure} = {item.value}"
        figures = [{"name": item.figure, "value": item.value}]
        words = ("member", "propose", "policy", f"{item.figure}={item.value}")
        with self._deciding:
            proposal = self._until(
                f"{what} is proposed",
                lambda: self._proposed(words, lambda action: action.get("figures") == figures),
            )
            self._until(f"{what} has its votes", lambda: self._has_votes(proposal))
            self._until(f"{what} is in force", lambda: self._figures().get(item.figure) == item.value)
            self.figures[item.figure] = item.value
            self._say(f"{what} is in force")

    def _figures(self) -> dict[str, int]:
        found = self._ask("gov_getPolicy", lambda answer: answer["figures"]) or ()
        return {row["name"]: row["value"] for row in found}

    # --- one change

    def _decide(self, words: Sequence[str], kind: str, node: str, is_made: Callable[[ValidatorSet], bool]) -> None:
        """Propose a change, vote for it, and return once a node knows a set in which it is made, which is noted."""
        with self._deciding:
            began = time.monotonic()
            proposal = self._until(f"{kind} of {node} is proposed", lambda: self._is_proposed(words, kind, node))
            self._until(f"{kind} of {node} has its votes", lambda: self._has_votes(proposal))
            self._say(f"{kind} of {node} has its votes")
            self._until(f"{kind} of {node} is made", lambda: self._is_noted(is_made))
            self._say(f"epoch {max(self.sets)} {time.monotonic() - began:.1f} s after {kind} of {node} was asked for")

    def _is_proposed(self, words: Sequence[str], kind: str, node: str) -> str | None:
        return self._proposed(
            ("validator", "propose", *words), lambda action: (action["type"], action.get("name")) == (kind, node)
        )

    def _proposed(self, words: Sequence[str], is_it: Callable[[Json], bool]) -> str | None:
        """Return the id of a proposal that is under way; where there is none, make it."""
        for row in self._ask("gov_listProposals", lambda found: found["proposals"]) or ():
            if is_it(row["action"]):
                return str(row["id"])
        said = self._send(self._through(), *words)
        return None if said is None else str(said["id"])

    def _has_votes(self, proposal: str) -> bool:
        """Say whether enough have voted; where not, let the next vote. A proposal that failed never has."""
        row = self._ask("gov_getProposal", lambda found: found["proposal"], id=proposal)
        if row is None:
            return False
        if row["stage"] != Stage.OPEN.value:
            if row["stage"] not in (Stage.APPROVED.value, Stage.ENACTED.value):
                raise TimedOut("a proposal came to nothing", where=proposal, got=f"{row['stage']}: {row['detail']}")
            return True
        waiting = [member for member in row["voters"] if member not in row["approvals"]]
        member = waiting[self._tries % len(waiting)]
        officer = self._nodes.net.keys / f"{member}-{GOVERNANCE_ROLE}.key"
        self._send(self._through(member), "validator", "approve", proposal, "--officer", str(officer))
        return False

    def _is_noted(self, is_made: Callable[[ValidatorSet], bool]) -> bool:
        for name in self._nodes.names:
            found = self._set_of(name)
            if found is not None:
                self.sets.setdefault(int(found.epoch), found)
        return is_made(self.sets[max(self.sets)])

    def _set_of(self, name: str) -> ValidatorSet | None:
        try:
            found = self._nodes.call(name, "net_validators", timeout_s=ANSWER_S)
        except (CallRefused, Unreachable, TimedOut):
            return None
        return set_from_json(found)

    # --- asking and sending through whoever answers

    def _role(self, name: str) -> str:
        return str((self._nodes.status(name) or {}).get("role"))

    def _through(self, preferred: str = "") -> str:
        """Return a node that answers and whose gateway can sign: the preferred one first, another at each try."""
        manifest = self._nodes.manifest
        names = [name for name in manifest.founders if name not in manifest.without_outbox]
        turn = self._tries % len(names)
        self._tries += 1
        order = sorted(names[turn:] + names[:turn], key=lambda name: name != preferred)
        return next((name for name in order if self._nodes.status(name, ANSWER_S) is not None), order[0])

    def _ask(self, method: str, part: Callable[[Json], T], **params: Any) -> T | None:  # Any: JSON
        """Return part of the answer of the first node that has one."""
        for name in self._nodes.names:
            try:
                return part(self._nodes.call(name, method, timeout_s=ANSWER_S, **params))
            except (CallRefused, Unreachable, TimedOut):
                continue
        return None

    def _send(self, name: str, *words: str) -> Json | None:
        """Run a command through a node; None where it did not come through, which the next try or its end tells."""
        try:
            done = self._nodes.cli(name, *words, "--timeout", f"{WAIT_FOR_ORDER_S:g}", timeout_s=COMMAND_S)
        except subprocess.TimeoutExpired:
            self._refusal = f"{name}: {' '.join(words[:2])} did not end"
            return None
        if done.returncode:
            self._refusal = f"{name}: {done.stderr.strip()[-300:]}"
            return None
        said: Json = json.loads(done.stdout)
        return said

    def _must(self, name: str, *words: str) -> None:
        """Run a command that needs nobody else. Raises `TimedOut` where it fails."""
        done = self._nodes.cli(name, *words)
        if done.returncode:
            raise TimedOut("a command failed", where=f"{name}: {' '.join(words[:2])}", got=done.stderr.strip()[-400:])

    def _until(self, what: str, found: Callable[[], T | None]) -> T:
        end = time.monotonic() + STEP_S
        while True:
            value = found()
            if value:
                return value
            if time.monotonic() > end:
                raise TimedOut("not so in time", where=what, expected=f"within {STEP_S:g} s", got=self._refusal)
            time.sleep(AGAIN_S)


def set_from_json(found: Json) -> ValidatorSet:
    """Return the set of an answer of `net_validators`; it must have the hash that the node says."""
    validators = tuple(
        Validator(
            row["name"],
            MemberId(row["member"]),
            *(bytes.fromhex(row[key]) for key in ("vote_key", "cosign_key", "log_key")),
        )
        for row in found["validators"]
    )
    made = ValidatorSet(Epoch(found["epoch"]), validators)
    assert made.hash.hex() == found["hash"], "a node names its validators by another hash"
    return made
