"""A node whose chain has something for every method to show, the same in every run; and asking it without HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pytest
from msgspec.structs import replace
from nacl.public import PrivateKey

from ledger.accreditations import USUAL_STANDARD, AccreditedRole
from ledger.approvals import signed_by
from ledger.certificate_bodies import Grant
from ledger.certificate_records import read_application
from ledger.committed_state import CommittedState
from ledger.event_json import body_from_json
from ledger.events import TIME_MS_MAX, Event
from ledger.genesis import Genesis, GenesisAccreditation
from ledger.governance import PROPOSE
from ledger.governance_bodies import ActivateRules, Propose
from ledger.index_reader import IndexReader
from ledger.inspection_records import read_inspection
from ledger.inspection_selection import commitment_of
from ledger.members import Officer
from ledger.payments import PAYMENT_STATEMENT, AgentRecord, AgentRole, AgentScheme, Side, TokenField, TokenRecord
from ledger.policy import DAY_MS
from ledger.rules import RULES_PAYMENTS
from ledger.times import day_of
from ledger.totals import payments_root
from ledger.totals_bodies import PAYMENT_TOTALS, Flow, PaymentTotals, TotalsLeg, TotalsLine
from ledger.voucher_bodies import (
    REDEEM_VOUCHERS,
    REGISTER_WALLET,
    RedeemVouchers,
    RegisterWallet,
    Voucher,
    voucher_statement,
    wallet_statement,
)
from primitives.encoding import decode, encode
from primitives.errors import UsageError
from primitives.ids import EventId
from primitives.keys import SigningKey
from rpc.dispatch import Answer, Caller, Dispatcher
from rpc.methods.catalogue import METHODS
from rpc.ports import ArchivedSegment, ArchiveStatus, Ending, NewToken, Services, SnapshotStatus, TokenRow
from rpc.rights import Rights, Role
from rpc.subscriptions import MessageSubscriber, Subscriptions
from rpc.types import time_text
from tests.rpc.conftest import BANKS, START_MS, MemoryGateway, MemoryNode, genesis_of_four_banks, key_of, statement
from tests.rpc.test_evidence import record, votes
from tests.rpc.test_records import life

UETR = "eb6305c9-1f7f-49de-aed0-16487c27b42d"
OTHER_UETR = "1c2f8a60-70cd-4b0b-9a2c-0c1c4f6f4a11"
PAIR_KEY = sha256(b"the secret of bank-a and bank-b").digest()
PROPOSAL_LIFE_MS = 25 * 86_400_000
SNAPSHOT = "height-7.chainsnap"


OFFICERS = ("officer", "other officer")
AGENT_CODES = {"bank-a": ("RCHACNBJ",), "bank-b": ("RCHBCNBJ",)}
TOTALS_DAY = 2026_01_03
"""The settlement date of the payments that bank-a counts in its totals with bank-b."""


def genesis_of_the_scheme() -> Genesis:
    """Return the genesis of four banks by the newest rules, with the body's two officers."""
    genesis = genesis_of_four_banks()
    officers = tuple(Officer(key_of("cb", use).public, "certification") for use in OFFICERS)
    members = tuple(
        replace(member, officers=officers if member.id == "cb" else (), agents=AGENT_CODES.get(member.id, ()))
        for member in genesis.members
    )
    accreditations = tuple(
        GenesisAccreditation(member, role, tuple(range(1, 15)), 0, until_ms, USUAL_STANDARD[role])
        for member, role, until_ms in (
            ("lab", AccreditedRole.LABORATORY, TIME_MS_MAX),
            ("lab", AccreditedRole.LABORATORY, START_MS + 1),
            ("ins", AccreditedRole.INSPECTOR, TIME_MS_MAX - 1),
        )
    )
    return replace(genesis, members=members, rules=RULES_PAYMENTS, accreditations=accreditations)


def number_of(serial: int) -> str:
    """Return a certificate's number."""
    return f"FTP-2026-06-{serial:06d}"


class ReadySnapshot:
    """A maker whose snapshot is ready."""

    data = bytes(range(64))

    def create(self) -> SnapshotStatus:
        return SnapshotStatus("making", 7, 3, SNAPSHOT, 0, "", "")

    def status(self) -> SnapshotStatus:
        return SnapshotStatus("ready", 7, 100, SNAPSHOT, len(self.data), "ab" * 32, "")

    def read(self, name: str, offset: int, size: int) -> bytes:
        if name != SNAPSHOT:
            raise UsageError("no such snapshot here", expected=SNAPSHOT, got=name)
        return self.data[offset : offset + size]


class SmallArchive:
    """An archive into which something was moved."""

    archived_height = 3
    minimum_index = 4

    def start(self, height: int | None, older_than_days: int | None) -> int:
        return 5

    def status(self) -> ArchiveStatus:
        segment = ArchivedSegment(1, 3, "cd" * 32, 3, 9, 4_096, 1_024, 1_767_225_700_000, "policy")
        return ArchiveStatus(3, 0, 4, 5, False, "", 0, 0, "", {"seconds": 0.5}, [segment], 9)


class FewTokens:
    """The tokens of a node that has let one desk in."""

    def __init__(self) -> None:
        self._rows = {"desk": self._row("desk", "auditor", "bank-b", "valid")}

    def _row(self, name: str, role: str, member: str, state: str) -> TokenRow:
        return TokenRow(name, role, member, state, START_MS, START_MS + 7_776_000_000, 0)

    def find(self, digest: bytes) -> Rights | None:
        return None

    def create(self, name: str, role: Role, *, member: str, valid_ms: int | None) -> NewToken:
        if name in self._rows:
            raise UsageError("the name is taken", where="$.name", expected="another name", got=name)
        self._rows[name] = self._row(name, str(role), member, "valid")
        return NewToken("the-secret-that-is-told-once", self._rows[name])

    def list(self) -> list[TokenRow]:
        return list(self._rows.values())

    def revoke(self, name: str) -> TokenRow:
        if name not in self._rows:
            raise UsageError("no such token", where="$.name", expected="one that is listed", got=name)
        self._rows[name] = replace(self._rows[name], state="revoked")
        return self._rows[name]


class Deaf:
    """A connection on which nothing that was opened ever begins."""

    has_room = True

    def push(self, frames: bytes) -> None:
        raise AssertionError("nothing began")

    async def drained(self) -> None:
        """There is room."""

    def close_behind(self, cursor: str) -> None:
        raise AssertionError("nothing began")

    def abort(self) -> None:
        raise AssertionError("nothing began")


@dataclass
class RichNode(MemoryNode):
    """Certificates, payments told by both sides, evidence, proposals and checkpoints; `grow` adds one of each."""

    genesis: Genesis = field(default_factory=genesis_of_the_scheme)
    grown: int = 0
    drawn: int = 0
    ids: list[EventId] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        for _ in range(4):
            self.grow()
        for _ in range(4):
            self.draw()
        self.member, self.key_use = "bank-a", "source"
        self.ids = self.commit_events(7, first=1_000)
        self.checkpoint()

    def draw(self) -> None:
        """Add a draw of random inspections and a report on what it selected."""
        self.drawn += 1
        draw = {"draw": f"cb.{self.drawn:04d}"}
        windows = {
            "commit_until": time_text(self.now + DAY_MS + 1_000),
            "reveal_until": time_text(self.now + 2 * DAY_MS + 1_000),
        }
        said = {"categories": [{"category": 6, "weight": 2}], "count": 3, "report_days": 30, "replaces": None}
        self.say("cb", "source", "inspection.announce", draw | windows | said)
        secrets = {member: sha256(f"{member} {self.drawn}".encode()).digest() for member in ("cb", "ins", "lab")}
        for member, secret in secrets.items():
            commitment = commitment_of(self.chain.chain_id, draw["draw"], member, secret)
            self.say(member, "source", "inspection.commit", draw | {"commitment": commitment.hex()})
        self.now += DAY_MS
        self.say("bank-b", "source", "inspection.close", draw)
        for member, secret in secrets.items():
            self.say(member, "source", "inspection.reveal", draw | {"secret": secret.hex()})
        self.say("bank-c", "source", "inspection.draw", draw)
        found = read_inspection(CommittedState(self.store), draw["draw"])
        assert found is not None
        assert found.selection, "the draw selected something"
        found_at = draw | {"number": found.selection[0].number, "correct_by": None}
        visit = {"kind": "site_check", "custodian": "ins", "size_bytes": 1_000}
        digest = sha256(f"visit {self.drawn}".encode()).hexdigest()
        result = {"passed": False, "grave": False, "findings": ["seal_broken"]}
        self.say("ins", "source", "inspection.report", found_at | result | {"evidence": [visit | {"digest": digest}]})

    def grow(self) -> None:
        """Add to every list, in blocks of their own."""
        if self.drawn:
            self.draw()
        self.grown += 1
        serial = self.grown
        for member, use, kind, body in life(number_of(serial), f"bank-a.{serial:04d}"):
            self.say(member, use, kind, body)
        self.say(*life(number_of(1), "bank-a.0001")[5])  # rejected, and yet of the certificate's history
        self.license_and_report(serial)
        uetr = bytes.fromhex((UETR if serial != 2 else OTHER_UETR).replace("-", ""))
        for member, side in (("bank-a", Side.DEBTOR), ("bank-b", Side.CREDITOR)):
            self.tell(member, side, uetr, serial)
        self.member, self.key_use = "bank-a", "source"
        record(self, votes(self, serial))
        self.agree(serial)
        self.propose(BANKS[serial % len(BANKS)])
        self.checkpoint()

    def license_and_report(self, serial: int) -> None:
        """License a certificate's mark and report its misuse, of which every second report is decided on."""
        artwork = {"digest": sha256(b"artwork %d" % serial).hexdigest(), "custodian": "cb", "size_bytes": 1_000}
        number = {"number": number_of(serial)}
        self.say("cb", "source", "mark.license", number | {"media": ["web", "app"], "until": None, "terms": artwork})
        about = number | {"holder": None, "product": None} if serial != 3 else {
            "number": None, "holder": "bank-b", "product": None
        }  # fmt: skip
        said = {"medium": "web", "misuse": "beyond_scope", "evidence": [artwork]}
        self.say("bank-b" if serial != 3 else "bank-c", "source", "mark.report_misuse", about | said)
        if serial % 2:
            found = {"report": serial, "finding": "confirmed", "reason": "seen_by_us", "evidence": []}
            self.say("cb", "source", "mark.decide_misuse", found)

    def agree(self, serial: int) -> None:
        """Announce a pairing key of bank-a's, and have it ask bank-b for a disclosure, in one block."""
        key = bytes(PrivateKey(sha256(b"pairing %d" % serial).digest()).public_key).hex()
        announced = {"key": key, "from_day": day_of(self.now + (30 + serial) * DAY_MS)}
        asked = {"reporter": "bank-b", "fields": ["amount", "debtor_name"], "payload": False, "basis": "dispute"}
        about = {"events": [sha256(b"payment %d" % serial).hexdigest()], "document": "ab" * 32, "key": key}
        until = {"until": time_text(self.now + DAY_MS)}
        self.member, self.key_use = "bank-a", "source"
        events = []
        said = (("payment.pairing_key", announced), ("payment.request_disclosure", asked | about | until))
        told = (*(body_from_json(kind, body) for kind, body in said), *self.wallet(serial), *self.totals(serial))
        for kind, schema, data in told:
            self.references += 1
            reference = sha256(b"rich %d" % self.references).digest()[:16]
            events.append(encode(Event("bank-a", reference, self.now + 3_600_000, kind, schema, data)))
        self.commit(self.batch(events))

    def totals(self, serial: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield the bodies of bank-a's statement of a payment to bank-b, and of its totals of a day of its own."""
        ends = ((AgentRole.DEBTOR_AGENT, "bank-a"), (AgentRole.CREDITOR_AGENT, "bank-b"))
        agents = [AgentRecord(role, AgentScheme.BIC, AGENT_CODES[bank][0]) for role, bank in ends]
        pair_key = sha256(b"totalled %d" % serial).digest()
        body = statement(7 * serial + 2, pair_key=pair_key)
        yield PAYMENT_STATEMENT, 1, encode(replace(body, agents=agents, settlement_date=TOTALS_DAY))
        root = bytes(payments_root([pair_key]))
        line = TotalsLine(Flow.SENT, TotalsLeg.PAYMENT, 1, 12_345, bytes([serial]) * 16, root)
        yield PAYMENT_TOTALS, 1, encode(PaymentTotals("bank-b", TOTALS_DAY + serial, "CNY", (line,)))

    def wallet(self, serial: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield the events' bodies that register a wallet and redeem its first voucher."""
        key, chain_id = SigningKey(sha256(b"wallet %d" % serial).digest()), bytes(self.chain.chain_id)
        holder, proof = (
            sha256(b"holder %d" % serial).digest(),
            key.sign(wallet_statement(chain_id, "bank-a", key.public)),
        )
        limits = (50_000, 100, 604_800, self.now, self.now + 365 * DAY_MS)
        yield REGISTER_WALLET, 1, encode(RegisterWallet(key.public, "CNY", *limits, holder, proof))
        unsigned = Voucher(key.public, 0, bytes(32), sha256(b"payee").digest(), 1_250, "CNY", self.now, bytes(64))
        signed = replace(unsigned, signature=key.sign(voucher_statement(chain_id, unsigned)))
        yield REDEEM_VOUCHERS, 1, encode(RedeemVouchers((signed,)))

    def say(self, member: str, use: str, kind: str, body: dict[str, Any]) -> None:
        """Commit an event of a member in a block of its own."""
        number, schema, data = body_from_json(kind, body, None)
        if kind == "certificate.grant":
            schema, data = 2, self._signed(decode(Grant, data, size_max=len(data)))
        self._commit_as(member, use, number, schema, data)

    def _signed(self, body: Grant) -> bytes:
        """Return a grant with the signatures of two officers of the certification body."""
        application = read_application(CommittedState(self.store), body.application)
        assert application is not None
        keys = [key_of("cb", use) for use in OFFICERS]
        return encode(signed_by(self.chain.chain_id, body, application.history, keys))

    def tell(self, member: str, side: Side, uetr: bytes, serial: int) -> None:
        """Commit a side's statement about a payment."""
        token = TokenRecord(TokenField.AMOUNT, bytes([serial]) * 16)
        agents = [AgentRecord(AgentRole.DEBTOR_AGENT, AgentScheme.BIC, "ABCDCNBJ")]
        body = statement(7 * serial, pair_key=PAIR_KEY, uetr=uetr)
        changed = type(body)(**{name: getattr(body, name) for name in body.__struct_fields__} | {
            "side": side, "tokens": [token], "agents": agents,
            "terminal_certificate": number_of(2 if serial == 2 else 1),
        })  # fmt: skip
        self._commit_as(member, "source", 32, 1, encode(changed), *self._paired(serial, side))

    def _paired(self, serial: int, side: Side) -> list[bytes]:
        """Return a statement of a payment of its own, of which the other side never speaks."""
        return [encode(statement(7 * serial + 1, pair_key=sha256(b"pair %d" % serial).digest()))] * (
            side is Side.DEBTOR
        )

    def propose(self, member: str) -> None:
        """Commit a proposal."""
        body = Propose(ActivateRules(RULES_PAYMENTS + 1, 1_000 + self.grown), self.now + PROPOSAL_LIFE_MS)
        self._commit_as(member, "source", PROPOSE, 1, encode(body))

    def _commit_as(self, member: str, use: str, kind: int, schema: int, *bodies: bytes) -> None:
        self.member, self.key_use = member, use
        events = []
        for body in bodies:
            self.references += 1
            reference = sha256(b"rich %d" % self.references).digest()[:16]
            events.append(encode(Event(member, reference, self.now + 3_600_000, kind, schema, body)))
        self.commit(self.batch(events))

    def endings(self) -> list[Ending]:
        return [
            Ending("node_certificate", f"node-{bank}", bank, 1_775_000_000_000 + place, "link")
            for place, bank in enumerate(BANKS)
        ]


def services_of(node: MemoryNode) -> Services:
    """Return services over a node that wait for nothing."""
    return Services(
        node.reader,
        MemoryGateway(node),
        node,
        node.now_ms,
        0,
        IndexReader(node.reader, node.places),
        SmallArchive(),
        ReadySnapshot(),
        feed=node.feed,
        tokens=FewTokens(),
    )


class Asked:
    """Asks a dispatcher, as an operator by one WebSocket would, through everything but HTTP."""

    def __init__(self, services: Services, runner: asyncio.Runner) -> None:
        self._dispatcher = Dispatcher(METHODS, services)
        self._subscriber = Subscriptions(services).connection(Deaf())
        self._runner = runner

    def body(self, body: bytes) -> Answer:
        """Return the answer to a request's body."""
        caller = Caller("trace", Rights("test", Role.OPERATOR), MessageSubscriber(self._subscriber))
        return self._runner.run(self._dispatcher.answer_body(body, caller, lambda _: None))

    def json(self, body: bytes) -> Any:
        """Return the answer to a request's body, read."""
        answer = self.body(body).body
        assert answer is not None
        return json.loads(answer)

    def answer(self, method: str, params: object = None) -> dict[str, Any]:
        """Return the response to one call."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method} | ({} if params is None else {"params": params})
        found: dict[str, Any] = self.json(json.dumps(request).encode())
        return found

    def call(self, method: str, params: object = None) -> Any:
        """Return the result of a call; its error is an AssertionError."""
        answer = self.answer(method, params)
        assert "error" not in answer, (method, params, answer["error"])
        return answer["result"]

    def error(self, method: str, params: object = None) -> Any:
        """Return the error of a call that must fail."""
        answer = self.answer(method, params)
        assert "result" not in answer, (method, params, answer)
        return answer["error"]


@pytest.fixture(scope="session")
def rich_node() -> RichNode:
    """One node for all tests that add nothing to it."""
    return RichNode()


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """Keep one loop for all calls: a loop for each costs more than the call."""
    with asyncio.Runner() as running:
        yield running


@pytest.fixture(scope="session")
def rich(rich_node: RichNode, runner: asyncio.Runner) -> Asked:
    """Ask the node that all share."""
    return Asked(services_of(rich_node), runner)
