"""A register of the tests: a consortium by the third rules, rows that are right, and a register over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as with_fields

from msgspec.structs import replace

from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import Approval, Body, Product
from ledger.kinds import ApplyContext, RuleBroken
from ledger.register_bodies import (
    Import,
    OpenRegister,
    RegisterBody,
    RegisterRow,
    RowSuspension,
    RowTree,
    SourceFile,
    register_statement,
    row_leaf,
)
from ledger.register_records import Register, read_register
from ledger.registers import apply_import, apply_open_register
from ledger.state import Transaction
from primitives.ids import ZERO_HASH, Hash, Height
from tests.ledger.certificate_fixtures import DAY_MS, START_MS, piece
from tests.ledger.scheme_fixtures import LEI, USCC, Scheme, officer_of

REGISTER = "cb.2025"
GRANTED_MS = START_MS - 200 * DAY_MS  # 2025-06-15
SOURCE = SourceFile(b"\x05" * 32, "cb", 12_345)


def row(serial: int = 1, **changes: object) -> RegisterRow:
    """Return a row that no rule refuses, but for its changes."""
    plain = RegisterRow(
        number=f"FTP-2025-06-{serial:06d}",
        holder="bank-a",
        holder_name="Bank A",
        holder_id=LEI if serial % 2 else USCC,
        product=Product("Counter terminal", "CT-1", f"{serial}.0"),
        category=6,
        catalogue=2,
        scope=("contact", "contactless"),
        granted_ms=GRANTED_MS,
        valid_until_ms=START_MS + 400 * DAY_MS,
        suspension=None,
        evidence=(piece(EvidenceKind.TYPE_EXAMINATION, f"register {serial}"),),
    )
    return replace(plain, **changes)


def suspended(serial: int, until_ms: int = START_MS + 30 * DAY_MS) -> RegisterRow:
    """Return a row of a suspended certificate."""
    return row(serial, suspension=RowSuspension("inspection_failed", until_ms))


def opening(
    rows: Sequence[RegisterRow],
    *,
    register: str = REGISTER,
    member: str = "cb",
    officers: tuple[int, int] = (0, 1),
    **changes: object,
) -> OpenRegister:
    """Return the event that opens a register over these rows, signed by two officers of a member."""
    root = tree(rows, register).root
    plain = replace(OpenRegister(register, root, len(rows), SOURCE, ()), **changes)
    return signed_opening(plain, member, officers)


def signed_opening(
    body: OpenRegister, member: str = "cb", officers: tuple[int, int] = (0, 1), chain_id: Hash = ZERO_HASH
) -> OpenRegister:
    """Return an opening with the signatures of two officers of a member."""
    signed = register_statement(chain_id, body)
    keys = [officer_of(member, number) for number in officers]
    return replace(body, approvals=tuple(Approval(key.public, key.sign(signed)) for key in keys))


def tree(rows: Sequence[RegisterRow], register: str = REGISTER) -> RowTree:
    """Return the tree over rows."""
    return RowTree([row_leaf(register, index, each) for index, each in enumerate(rows)])


def importing(rows: Sequence[RegisterRow], index: int, register: str = REGISTER) -> Import:
    """Return the event that imports a row."""
    return Import(register, index, rows[index], tree(rows, register).path(index))


class Registers(Scheme):
    """The consortium, in blocks: what is submitted until `next_block` stands in one."""

    def __init__(self) -> None:
        super().__init__()
        self.height = 1

    def context(self, member: str, desk: str = "first", roles: frozenset[str] | None = None) -> ApplyContext:
        """Return where the next event of a member stands, in the present block."""
        return with_fields(super().context(member, desk, roles), height=Height(self.height))

    def next_block(self) -> None:
        """Begin the next block, a minute later."""
        self.height += 1
        self.now_ms += 60_000

    def submit(  # type: ignore[override]  # registers' bodies besides
        self, member: str, body: Body | RegisterBody, desk: str = "first", roles: frozenset[str] | None = None
    ) -> str:
        """Apply an event; return the rule that it broke, empty where it was applied."""
        if not isinstance(body, OpenRegister | Import):
            return super().submit(member, body, desk, roles)
        self.submitted += 1
        transaction = Transaction(self.view)
        context = self.context(member, desk, roles)
        try:
            if isinstance(body, OpenRegister):
                apply_open_register(context, transaction, body)
            else:
                apply_import(context, transaction, body)
        except RuleBroken as broken:
            return broken.rule
        transaction.apply(self.view)
        return ""

    def opened(self, rows: Sequence[RegisterRow]) -> Registers:
        """Open a register over rows, and go to the next block."""
        assert self.submit("cb", opening(rows)) == ""
        self.next_block()
        return self

    def import_all(self, rows: Sequence[RegisterRow]) -> Registers:
        """Open a register over rows and import them all."""
        self.opened(rows)
        for index in range(len(rows)):
            assert self.submit("cb", importing(rows, index)) == ""
        self.next_block()
        return self

    def register(self, register: str = REGISTER) -> Register:
        """Return a register that is there."""
        found = read_register(self.view, register)
        assert found is not None
        return found
