"""What must hold once the faults of a run have ended: of the running network, and of each home once it is stopped.

Here: holding every node to every answer that any node gave, and to the others. Not here: driving a run (`run`). Each
check adds what is wrong to a list of complaints, so that one run tells all of it.
"""

from __future__ import annotations

import base64
import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chainnode.client import CallRefused, NodeClient, TimedOut, Unreachable
from chainnode.identity import read_key
from consensus.messages import WINDOW
from ledger.policy import policy_figures
from ledger.receipts import verify
from primitives.block import BlockHeader
from primitives.encoding import decode
from primitives.errors import ChainError, ProofError
from primitives.ids import Epoch, Hash, Height, View
from primitives.notes import ED25519, NoteKey
from primitives.validators import ValidatorSet
from primitives.votes import COMMIT, QuorumCertificate, verify_certificate
from torment.manifest import FillDisk, Flip
from torment.nodes import Nodes
from torment.perturb import LostVote

HEADER_BYTES_MAX: Final = 4_096
BLOCKS_A_PAGE: Final = 100
EVENTS_A_PAGE: Final = 100
LEVEL_S: Final = 30.0
LEVEL_S_MAX: Final = 300.0
RECEIPTS_A_NODE: Final = 5
RECEIPT_S: Final = 60.0
RSS_MIB_MAX: Final = 512
FDS_MAX: Final = 400
FSCK_FAILED: Final = 3
WITHOUT_LOG: Final = "a voting key without its write-ahead log"

Json = dict[str, Any]  # Any: a node's answer


@dataclass
class Answers:
    """What the load was answered: by event id, its place and outcome; who accepted it; all that was asked for."""

    asked: set[str] = field(default_factory=set)
    committed: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    refusals: int = 0
    contradictions: list[str] = field(default_factory=list)


def read_answers(path: Path) -> Answers:
    """Return the answers of a record; two that contradict each other are noted."""
    found = Answers()
    for line in path.read_text().splitlines():
        row = json.loads(line)
        found.asked.update(row.get("asked", ()))
        found.refusals += "refused" in row
        for event, status, height, index, outcome in row.get("rows", ()):
            if status == "Pending":
                found.accepted.setdefault(event, row["node"])
            elif status == "Refused":
                found.refused.add(event)
            elif status == "Committed":
                standing = (height, index, json.dumps(outcome, sort_keys=True))
                known = found.committed.setdefault(event, standing)
                if known != standing:
                    found.contradictions.append(f"{event}: answered {known}, then {standing}")
    return found


class Checker:
    """Checks one run; `complaints` is what it found, `facts` what it counted."""

    def __init__(self, nodes: Nodes, answers: Answers) -> None:
        self.nodes = nodes
        self.answers = answers
        self.complaints: list[str] = list(answers.contradictions)
        self.facts: Json = {}

    # --- while it runs

    def while_running(
        self, *, losses: Sequence[LostVote], sets: Mapping[int, ValidatorSet], figures: Mapping[str, int]
    ) -> None:
        """Check everything that nodes answer.

        `losses` are keys that must sign nothing more, `sets` the epochs', `figures` those of the policy that were
        decided on.
        """
        top = self._level()
        if top is None:
            return
        chains = {name: self._chain(name, top, losses, sets) for name in self.nodes.names}
        if len({tuple(chain) for chain in chains.values()}) != 1:
            self.complaints.append(f"nodes hold different blocks: {_first_difference(chains)}")
            return
        self._answers(top)
        self._governed(figures)
        voted = sets[max(sets)]
        self._receipts(voted)
        self._validators(losses, voted)

    def _governed(self, figures: Mapping[str, int]) -> None:
        """Hold every node's figures to those of genesis and to what was decided since."""
        expected = {**policy_figures(self.nodes.genesis.policy), **figures}
        for name in self.nodes.names:
            found = {row["name"]: row["value"] for row in self.nodes.call(name, "gov_getPolicy")["figures"]}
            if found != expected:
                self.complaints.append(f"{name}: judges by another policy: {sorted(found.items() ^ expected.items())}")

    def _level(self) -> int | None:
        """Return the height at which all nodes stand still together; None, with a complaint, where they do not."""
        began = time.monotonic()
        end = began + LEVEL_S
        seen: Json = {}
        while time.monotonic() < min(end, began + LEVEL_S_MAX):
            before = seen
            seen = {name: (self.nodes.status(name) or {}).get("height") for name in self.nodes.names}
            if len(set(seen.values())) == 1 and None not in seen.values() and seen == before:
                self.facts["height"] = next(iter(seen.values()))
                return int(self.facts["height"])
            if seen != before:  # slow is not stuck
                end = time.monotonic() + LEVEL_S
            time.sleep(0.3)
        self.complaints.append(f"nodes are not level, and no height moved for {LEVEL_S:g} s: {seen}")
        return None

    def _chain(self, name: str, top: int, losses: Sequence[LostVote], sets: Mapping[int, ValidatorSet]) -> list[str]:
        """Return the hashes of a node's blocks, with links, certificates, sets and times checked; learners abstain."""
        hashes: list[str] = []
        log_index, events, time_ms, following = 0, 0, 0, sets[0].hash
        for height, block in enumerate(self._blocks(name, top)):
            header = decode(BlockHeader, base64.b64decode(block["header_leaf"])[1:], size_max=HEADER_BYTES_MAX)
            validators = sets.get(header.epoch)
            sound = [
                (header.height, header.first_index) == (height, log_index),
                header.hash().hex() == block["hash"],
                height == 0 or header.parent.hex() == hashes[-1],
                header.time_ms > time_ms or height == 0,
                # The block before names the set that decides on this one.
                validators is not None and validators.hash == following,
            ]
            if not all(sound):
                self.complaints.append(f"{name}: block {height} does not follow: {sound}")
                return hashes
            if height and validators is not None:
                self._certified(name, block, header, validators, losses)
            log_index += header.event_count + 1
            events += header.event_count
            time_ms, following = header.time_ms, header.next_validators
            hashes.append(block["hash"])
        ahead_s = time_ms / 1_000 - time.time()
        if ahead_s > self.nodes.genesis.policy.block_time_drift_ms_max / 1_000:
            self.complaints.append(f"the newest block is {ahead_s:.1f} s ahead of the clocks that are right")
        self.facts["events_in_log"] = events
        return hashes

    def _certified(
        self, name: str, block: Json, header: BlockHeader, validators: ValidatorSet, losses: Sequence[LostVote]
    ) -> None:
        """A block's certificate is one of its epoch's set, and no key signed it that must sign nothing more."""
        certificate = _certificate(block["certificate"])
        if (certificate.block_hash.hex(), certificate.height) != (block["hash"], header.height):
            self.complaints.append(f"{name}: the certificate of block {header.height} is another block's")
        try:
            verify_certificate(certificate, self.nodes.genesis.chain_id, validators)
        except ChainError as error:
            self.complaints.append(f"{name}: the certificate of block {header.height} does not verify: {error}")
        keys = {validators.validators[index].vote_key for index, _ in certificate.signatures}
        for lost in losses:
            if lost.vote_key in keys and header.height > lost.height + WINDOW:
                self.complaints.append(f"{lost.node} lost what it signed and signed block {header.height}")

    def _validators(self, losses: Sequence[LostVote], voted: ValidatorSet) -> None:
        """The set is what was voted, every node knows it, each key is its node's, and each node says its part in it."""
        names = self.nodes.manifest.validators
        if voted.indexes.keys() != names:
            self.complaints.append(f"voted were {sorted(names)}, validators are {sorted(voted.indexes)}")
        lost = {each.vote_key for each in losses}
        parts = dict.fromkeys(self.nodes.names, "observer")
        for each in voted.validators:
            own = read_key(self.nodes.home(each.name).vote_key, "vote").public
            if each.vote_key.hex() != own:
                self.complaints.append(f"{each.name} holds another key than the one that was voted for")
            parts[each.name] = "learner" if each.vote_key in lost else "validator"
        for name in self.nodes.names:
            found = self.nodes.call(name, "net_validators")
            if (found["epoch"], found["hash"]) != (voted.epoch, voted.hash.hex()):
                self.complaints.append(f"{name} knows other validators: epoch {found['epoch']}, {found['validators']}")
            if (role := self.nodes.call(name, "net_status")["role"]) != parts[name]:
                self.complaints.append(f"{name} says that it is {role}, not {parts[name]}")
            version = self.nodes.call(name, "ledger_getCapabilities")["version"]
            if version != self.nodes.release(name).version:
                self.complaints.append(f"{name} is release {version}, not {self.nodes.release(name).version}")
        self.facts["epoch"] = int(voted.epoch)

    def _blocks(self, name: str, top: int) -> list[Json]:
        pages = [
            self.nodes.call(name, "ledger_getBlocks", start=start, limit=BLOCKS_A_PAGE, order="asc")["blocks"]
            for start in range(0, top + 1, BLOCKS_A_PAGE)
        ]
        return [block for page in pages for block in page][: top + 1]

    def _answers(self, top: int) -> None:
        """Every node has all that any answered `committed`, in one place; each event is in the log at most once."""
        answers = self.answers
        submitted = self.facts["events_in_log"] - self._decisions(top)
        exempt = self.nodes.manifest.without_outbox
        owed = {item for item, node in answers.accepted.items() if node not in exempt}
        ids = sorted(answers.asked)
        for name in self.nodes.names:
            standing = self._standing(name, ids)
            for item, known in answers.committed.items():
                if standing.get(item) != known:
                    self.complaints.append(f"{name}: {item} was answered {known}, stands {standing.get(item)}")
            lost = [item for item in owed if item not in standing and item not in answers.refused]
            if lost:
                self.complaints.append(f"{name}: {len(lost)} events answered `accepted` are nowhere, such as {lost[0]}")
            if len(standing) != submitted:
                said = f"{len(standing)} submitted events, {submitted} in the log up to {top}"
                self.complaints.append(f"{name}: an event stands twice, or nobody submitted it: {said}")
        self.facts["asked"] = len(ids)
        self.facts["answered_committed"] = len(answers.committed)
        self.facts["answered_accepted"] = len(answers.accepted)
        self.facts["lost_with_an_outbox"] = len(
            [item for item, node in answers.accepted.items() if node in exempt and item not in standing]
        )

    def _decisions(self, top: int) -> int:
        """Return how many events of the log are the members' decisions; there is no third kind in a run."""
        if not self.nodes.manifest.is_governed:
            return 0
        name, kinds = self.nodes.names[0], Counter[str]()
        for block in self._blocks(name, top):
            asked: Json = {"height": block["header"]["height"], "limit": EVENTS_A_PAGE}
            while block["header"]["event_count"]:
                page = self.nodes.call(name, "ledger_getBlockEvents", **asked)
                kinds.update(event["kind"].partition(".")[0] for event in page["events"])
                if page["cursor"] is None:
                    break
                asked["cursor"] = page["cursor"]
        if kinds.keys() > {"payment", "governance"}:
            self.complaints.append(f"the log holds events that nobody submitted: {dict(kinds)}")
        self.facts["decisions"] = kinds["governance"]
        return kinds["governance"]

    def _standing(self, name: str, ids: list[str]) -> dict[str, tuple[int, int, str]]:
        client = NodeClient(self.nodes.rpc(name), timeout_s=30.0)
        try:
            rows = client.call_many("ledger_getStatus", [{"event_id": item} for item in ids])
        finally:
            client.close()
        return {
            row["id"]: (row["height"], row["index"], json.dumps(row["outcome"], sort_keys=True))
            for row in rows
            if row["status"] == "Committed"
        }

    def _receipts(self, voted: ValidatorSet) -> None:
        """A sample of events is proved by each node and verified offline under another's policy.

        Policies list the log keys of validators, those that left included; who trusts another log lists its key.
        """
        draw = random.Random(self.nodes.manifest.seed)
        sample = draw.sample(sorted(self.answers.committed), min(RECEIPTS_A_NODE, len(self.answers.committed)))
        verified = 0
        for place, name in enumerate(self.nodes.names):
            policy = self._policy(self.nodes.names[place - 1])
            if name not in voted.indexes:
                own = bytes.fromhex(read_key(self.nodes.home(name).log_key, "log").public)
                line = f"log {NoteKey(self.nodes.genesis.origin, ED25519, own).vkey()}\n"
                policy += "" if line in policy else line
            for item in sample:
                receipt = self._receipt(name, item)
                if receipt is None:
                    self.complaints.append(f"{name} gives no receipt of {item}")
                    continue
                try:
                    verdict = verify(receipt, policy)
                except ProofError as error:
                    self.complaints.append(f"{name}: the receipt of {item} does not verify: {error}")
                    continue
                verified += 1
                if verdict.event_id.hex() != item:
                    self.complaints.append(f"{name}: the receipt of {item} is one of {verdict.event_id.hex()}")
        self.facts["receipts_verified"] = verified

    def _receipt(self, name: str, item: str) -> str | None:
        end = time.monotonic() + RECEIPT_S
        while time.monotonic() < end:
            try:
                return str(self.nodes.call(name, "ledger_getProof", event_id=item)["receipt"])
            except (CallRefused, Unreachable, TimedOut):
                time.sleep(0.2)  # no stable checkpoint covers it yet
        return None

    def _policy(self, name: str) -> str:
        from urllib.request import urlopen

        with urlopen(f"{self.nodes.rpc(name)}/policy", timeout=10.0) as answer:
            return str(answer.read().decode())

    # --- afterwards

    def when_stopped(self) -> None:
        """Check each home and what each node said; all nodes are stopped."""
        for name in self.nodes.names:
            self._fsck(name)
            self._log(name)
        for name, peak in self.nodes.peaks.items():
            if peak["rss_mib"] > RSS_MIB_MAX or peak["fds"] > FDS_MAX:
                self.complaints.append(f"{name} grew to {peak}, past {RSS_MIB_MAX} MiB or {FDS_MAX} files")
        self.facts["peaks"] = self.nodes.peaks

    def _fsck(self, name: str) -> None:
        status, report = self.nodes.fsck(name)
        problem = str(report.get("problem") or "")
        manifest = self.nodes.manifest
        expected = (name in manifest.voteless and WITHOUT_LOG in problem) or (
            name in manifest.without_outbox and "outbox" in problem
        )
        if status and not (status == FSCK_FAILED and expected):
            self.complaints.append(f"fsck of {name}: {problem or report}")

    def _log(self, name: str) -> None:
        """A node's log has JSON lines without traces, and last words only of nodes that were made to end."""
        manifest = self.nodes.manifest
        may_end = {item.node for item in manifest.perturbations if isinstance(item, FillDisk | Flip)}
        for line in self.nodes.log(name).read_text("utf-8", "replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                if not (line.startswith("chainnode: ") and name in may_end):
                    self.complaints.append(f"{name} said: {line[:300]}")
                continue
            if record.get("level") == "critical" or "frames" in record or "Traceback" in line:
                self.complaints.append(f"{name} logged: {line[:600]}")


def _first_difference(chains: dict[str, list[str]]) -> str:
    for height, row in enumerate(zip(*chains.values(), strict=False)):
        if len(set(row)) != 1:
            return f"height {height}: {dict(zip(chains, row, strict=True))}"
    return f"lengths {[len(chain) for chain in chains.values()]}"


def _certificate(found: Json) -> QuorumCertificate:
    signatures = tuple((item["validator"], bytes.fromhex(item["signature"])) for item in found["signatures"])
    return QuorumCertificate(
        COMMIT,
        Epoch(found["epoch"]),
        View(found["view"]),
        Height(found["height"]),
        Hash(bytes.fromhex(found["block_hash"])),
        signatures,
    )
