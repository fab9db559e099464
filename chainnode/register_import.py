"""Importing a register: what a file's rows are held to before anything is sent, and the events that bring them.

Here: what the chain says (members, policy, catalogues, taken numbers), the report of each row, the register and its
events. All follows from the file, so that an import that was killed goes on where it stood: the register's id, its rows
and the reference of each event are the same again. Not here: reading files (`chainnode.ingest.register_rows`), the
rules (`ledger.register_checks`), the command (`chainnode.cli.certificate_import`).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chainnode.client import NOT_FOUND, CallRefused, NodeClient
from chainnode.ingest.register_rows import ReadRow
from chainnode.submission import NewEvent
from ledger.catalogue import Catalogue, Category, EvidenceKind
from ledger.certificate_bodies import Approval
from ledger.events import REFERENCE_SIZE
from ledger.members import Member, Role
from ledger.outcome_texts import detail_text
from ledger.policy import Policy, policy_of
from ledger.register_bodies import (
    IMPORT,
    OPEN_REGISTER,
    Import,
    OpenRegister,
    RegisterRow,
    RowTree,
    SourceFile,
    register_statement,
    row_leaf,
)
from ledger.register_checks import Ground, Problem, member_problems, row_problems
from ledger.rules import RULES_SCHEME
from ledger.times import parse_time
from primitives.encoding import encode
from primitives.errors import InputError, UsageError
from primitives.hashing import domain_hash
from primitives.ids import Hash
from primitives.keys import SigningKey

SERIAL_DIGITS: Final = 16
SCHEMA: Final = 1
NUMBERS_A_CALL: Final = 1_000
ROW_IMPORTED: Final = "row_imported"

Json = dict[str, Any]  # Any: JSON of a node


class RegisterDiffers(InputError):
    """A register of this id is on the chain with other rows than the file's."""

    reason = "register_differs"


class Became(enum.StrEnum):
    """What became of a row."""

    READY = "ready"
    BAD = "bad"
    IMPORTED = "imported"
    PRESENT = "present"
    REJECTED = "rejected"
    PENDING = "pending"
    NOT_SENT = "not_sent"


@dataclass(slots=True)
class RowReport:
    """A row of the file and what became of it; `index` is its place in the register, None where it has none."""

    read: ReadRow
    index: int | None
    became: Became
    problems: list[Problem] = field(default_factory=list)
    event_id: str | None = None
    height: int | None = None

    def json(self) -> Json:
        """Return the row's line of the report."""
        return {
            "line": self.read.line,
            "number": self.read.number,
            "status": self.became.value,
            "index": self.index,
            "event_id": self.event_id,
            "height": self.height,
            "problems": [
                {"field": each.field or None, "rule": each.rule, "expected": each.expected, "got": each.got}
                for each in self.problems
            ],
        }

    def text(self) -> str:
        """Return what a person reads of the row."""
        said = "; ".join(
            f"{each.rule}: {f'{each.field}: ' if each.field else ''}expected {each.expected}, got {each.got}"
            for each in self.problems
        )
        return f"{self.became.value:<9} line {self.read.line}  {self.read.number or '-'}{'  ' if said else ''}{said}"


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What the chain has that rows are judged by; `chain_id` is what officers sign for."""

    chain_id: Hash
    rules: int
    policy: Policy
    catalogues: tuple[Catalogue, ...]
    members: Mapping[str, Member]


def chain_facts(client: NodeClient) -> ChainFacts:
    """Return what a node says of the chain. Raises `UsageError` where its rules do not have registers yet."""
    found = client.call("gov_getPolicy")
    if found["rules"] < RULES_SCHEME:
        raise UsageError(
            "the chain's rules have no registers yet",
            expected=f"rules {RULES_SCHEME}",
            got=found["rules"],
            hint="the members vote for them with `chainnode rules propose`",
        )
    members = {
        row["id"]: Member(row["id"], row["name"], tuple(map(Role, row["roles"])), "", (), (), row["excluded"])
        for row in client.members()
    }
    return ChainFacts(
        chain_id=Hash(bytes.fromhex(client.call("ledger_getCapabilities")["chain_id"])),
        rules=found["rules"],
        policy=policy_of({row["name"]: row["value"] for row in found["figures"]}),
        catalogues=tuple(map(_catalogue, found["catalogues"])),
        members=members,
    )


def _catalogue(row: Json) -> Catalogue:
    categories = tuple(
        Category(
            each["number"], each["slug"], each["name"], each["name_zh"], tuple(map(EvidenceKind, each["evidence"]))
        )
        for each in row["categories"]
    )
    return Catalogue(row["version"], parse_time(row["effective_from"]), row["source"], categories)


class RegisterImport:
    """A file's rows on their way to the chain, owned by one run of the command.

    The tree is over every row that the file itself says right, in its order, so that it does not hang on the time or on
    what the chain has: rows that the chain's rules refuse stand in it and are not sent.
    """

    def __init__(self, read: Sequence[ReadRow], *, body: str, serial: str, source: SourceFile, facts: ChainFacts):
        self.facts = facts
        self.body = body
        self.register = f"{body}.{serial}"
        self.source = source
        self.reports: list[RowReport] = []
        self._rows: list[RegisterRow] = []
        for each in read:
            index = None
            if each.row is not None:
                index = len(self._rows)
                self._rows.append(each.row)
            became = Became.BAD if each.problems else Became.READY
            self.reports.append(RowReport(each, index, became, list(each.problems)))
        self._tree = (
            RowTree([row_leaf(self.register, index, row) for index, row in enumerate(self._rows)])
            if self._rows
            else None
        )

    @property
    def count(self) -> int:
        """How many rows the register has."""
        return len(self._rows)

    def check(self, now_ms: int, opened_ms: int | None) -> None:
        """Hold every row against the rules as the chain would now; a register that is not open yet opens now."""
        facts = self.facts
        catalogues = {int(each.version): each for each in facts.catalogues}
        ground = Ground(self.body, now_ms, now_ms if opened_ms is None else opened_ms, facts.policy, catalogues)
        for report in self.ready():
            assert report.read.row is not None
            report.problems += row_problems(report.read.row, ground)
            report.problems += member_problems(report.read.row, facts.members)
            if report.problems:
                report.became = Became.BAD

    def ready(self) -> list[RowReport]:
        """Return the rows that may be sent."""
        return [report for report in self.reports if report.became is Became.READY]

    def ask(self, client: NodeClient) -> Iterator[int]:
        """Ask a node which rows are on the chain already and which numbers others have; yields how many were asked."""
        waiting = [report for report in self.reports if report.read.row is not None]
        for start in range(0, len(waiting), NUMBERS_A_CALL):
            part = waiting[start : start + NUMBERS_A_CALL]
            found = client.call("cert_checkNumbers", numbers=[report.read.number for report in part])
            taken = {row["number"]: row for row in found["taken"]}
            for report in part:
                row = taken.get(report.read.number)
                if row is None:
                    continue
                if (row["register"], row["index"]) == (self.register, report.index):
                    report.became, report.problems = Became.PRESENT, []
                    continue
                report.became = Became.BAD
                holder = row["body"] if row["register"] is None else f"{row['body']}, imported from {row['register']}"
                report.problems.append(Problem("number", "number_taken", "a number that is free", f"it is of {holder}"))
            yield len(part)

    def held(self, client: NodeClient) -> Json | None:
        """Return the register as the chain has it, None before it is open. RegisterDiffers where it is another."""
        try:
            found: Json = client.call("cert_getRegister", register=self.register)
        except CallRefused as refused:
            if refused.code == NOT_FOUND:
                return None
            raise
        if self._tree is None or (found["root"], found["count"]) != (self._tree.root.hex(), self.count):
            raise RegisterDiffers(
                "a register of this id holds other rows",
                where=self.register,
                expected=f"{found['count']} rows under {found['root'][:16]}",
                got=f"{self.count} under {self._tree.root.hex()[:16] if self._tree else 'nothing'}",
                hint="import the same file in the same way, or name another register with --register",
            )
        return found

    def opening(self, officers: Sequence[SigningKey]) -> NewEvent:
        """Return the event that opens the register, signed by these officers."""
        assert self._tree is not None, "there are rows"
        body = OpenRegister(self.register, self._tree.root, self.count, self.source, ())
        signed = register_statement(self.facts.chain_id, body)
        approvals = tuple(Approval(key.public, key.sign(signed)) for key in officers)
        data = encode(OpenRegister(self.register, self._tree.root, self.count, self.source, approvals))
        return NewEvent(OPEN_REGISTER, SCHEMA, data, f"register {self.register}", reference=_reference(data))

    def event(self, report: RowReport) -> NewEvent:
        """Return the event that imports a row."""
        assert self._tree is not None
        assert report.index is not None
        row = self._rows[report.index]
        data = encode(Import(self.register, report.index, row, self._tree.path(report.index)))
        return NewEvent(IMPORT, SCHEMA, data, f"line {report.read.line}", reference=_reference(data))

    def took(self, report: RowReport, answer: Json) -> None:
        """Note where a row's event stands."""
        outcome = answer.get("outcome") or {}
        report.event_id, report.height = answer.get("id"), answer.get("height")
        if outcome.get("applied"):
            report.became = Became.IMPORTED
        elif outcome.get("rule") == ROW_IMPORTED:
            report.became = Became.PRESENT
        elif outcome:
            report.became = Became.REJECTED
            rule = str(outcome.get("rule"))
            said = detail_text(rule, str(outcome.get("detail") or ""))
            report.problems = [Problem("", rule, "what the rule asks", said)]
        elif answer["status"] == "Refused":
            report.became = Became.REJECTED
            reason = str(answer.get("reason") or "refused")
            report.problems = [Problem("", reason, "an event that the node takes", str(answer.get("message")))]
        else:
            report.became = Became.PENDING if answer["status"] == "Pending" else Became.NOT_SENT

    def counts(self) -> dict[str, int]:
        """Return how many rows became what."""
        found = dict.fromkeys((each.value for each in Became), 0)
        for report in self.reports:
            found[report.became.value] += 1
        return found


def serial_of(digest: bytes) -> str:
    """Return the last part of a register's id that follows from its file."""
    return digest.hex()[:SERIAL_DIGITS].upper()


def _reference(body: bytes) -> bytes:
    """Return the reference of an event: the same body is the same event."""
    return bytes(domain_hash("register-event", body)[:REFERENCE_SIZE])
