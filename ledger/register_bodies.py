"""What the events of a register say: certificates that were granted before they came to this chain.

Here: the bodies of kinds 31 and 104, a row, the tree over a register's rows, and what officers sign. Not here: the
rules that rows are held to (`ledger.register_checks`), and what the events write (`ledger.registers`). The tree is that
of RFC 6962; a leaf names the register and its place in it, so that no row stands for another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta

from ledger.catalogue import CategoryNumber, VersionNumber
from ledger.certificate_bodies import (
    APPLICATION_ID_PATTERN,
    APPROVALS,
    HOLDER_ID_PATTERN,
    SCOPE_ENTRIES_MAX,
    Approvals,
    CertificateNumber,
    EvidenceList,
    Product,
    Reason,
    ScopeEntry,
)
from ledger.events import EventTimeMs
from ledger.members import MemberName, Text
from primitives.encoding import Record
from primitives.errors import InputError
from primitives.hashing import leaf_hash, node_hash, statement
from primitives.ids import HASH_BYTES, Hash

OPEN_REGISTER: Final = 31
IMPORT: Final = 104
"""A number of its own range: 1 to 31, the certificates', is full."""
REGISTER_ROWS_MAX: Final = 1_000_000
PATH_MAX: Final = 20
"""Hashes beside a row of the largest register."""

RegisterId = Annotated[str, Meta(pattern=APPLICATION_ID_PATTERN)]
"""MEMBER.SERIAL, as an application's: the importing body's own id first, so that nobody takes another's."""
HashBytes = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
RowIndex = Annotated[int, Meta(ge=0, lt=REGISTER_ROWS_MAX)]
RowScope = Annotated[tuple[ScopeEntry, ...], Meta(max_length=SCOPE_ENTRIES_MAX)]


class SourceFile(Record):
    """The file that a register was read from: its SHA-256, the member that keeps it, and its size."""

    digest: HashBytes
    custodian: MemberName
    size_bytes: Annotated[int, Meta(ge=1, le=1 << 50)]


class OpenRegister(Record):
    """A certification body says which certificates of its own it will import: the root over `count` rows, no others.

    Two officers of the body sign it (`register_statement`).
    """

    register: RegisterId
    root: HashBytes
    count: Annotated[int, Meta(ge=1, le=REGISTER_ROWS_MAX)]
    source: SourceFile
    approvals: Approvals


class RowSuspension(Record):
    """Why a certificate is suspended in the register, and until when."""

    reason: Reason
    until_ms: EventTimeMs


class RegisterRow(Record):
    """A certificate as a register has it; without a `suspension` it is active.

    `holder` is the member that holds it, or acts for an organisation that is no member; `holder_name` and `holder_id`
    are that organisation's. `catalogue` is the version by which it was granted at `granted_ms`, when its term began.
    """

    number: CertificateNumber
    holder: MemberName
    holder_name: Text
    holder_id: Annotated[str, Meta(pattern=HOLDER_ID_PATTERN)]
    product: Product
    category: CategoryNumber
    catalogue: VersionNumber
    scope: RowScope
    granted_ms: EventTimeMs
    valid_until_ms: EventTimeMs
    suspension: RowSuspension | None
    evidence: EvidenceList


class Import(Record):
    """One row of an open register, with its path in the register's tree, lowest hash first."""

    register: RegisterId
    index: RowIndex
    row: RegisterRow
    path: Annotated[tuple[HashBytes, ...], Meta(max_length=PATH_MAX)]


RegisterBody = OpenRegister | Import


def check_register_body(body: RegisterBody) -> None:
    """Raise `InputError` where a body contradicts itself: an officer, an entry of a scope or a document named twice."""
    if isinstance(body, OpenRegister):
        if len({approval.officer for approval in body.approvals}) != APPROVALS:
            raise InputError("an officer stands twice", where="approvals", expected=f"{APPROVALS} officers")
        return
    check_row_shape(body.row)


def check_row_shape(row: RegisterRow) -> None:
    """Raise `InputError` where a row names an entry of its scope or a document twice."""
    if len(set(row.scope)) != len(row.scope):
        raise InputError("an entry stands twice", where="scope", expected="distinct entries")
    if len({piece.digest for piece in row.evidence}) != len(row.evidence):
        raise InputError("a document stands twice", where="evidence", expected="distinct digests")


def register_subjects(body: RegisterBody) -> tuple[str, ...]:
    """Return what an event is about, for indexes: the register, or the number that a row would take."""
    return (body.register,) if isinstance(body, OpenRegister) else (body.row.number,)


def register_statement(chain_id: Hash, body: OpenRegister) -> bytes:
    """Return what two officers sign for a register: the chain and the body without signatures.

    A register's id is taken for good, so the same signatures never open another.
    """
    return statement("certificate-register", chain_id, body.register, body.root, body.count, body.source)


def row_leaf(register: str, index: int, row: RegisterRow) -> Hash:
    """Return the leaf hash of a row at its place."""
    return leaf_hash(statement("register-row", register, index, row))


class RowTree:
    """The tree over a register's rows, kept level by level so that each path takes no more hashing."""

    def __init__(self, leaves: Sequence[Hash]) -> None:
        assert leaves, "a register has rows"
        self._levels: list[list[Hash]] = [list(leaves)]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            level = [node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
            self._levels.append([*level, below[-1]] if len(below) & 1 else level)

    @property
    def root(self) -> Hash:
        """The root over all rows."""
        return self._levels[-1][0]

    def path(self, index: int) -> tuple[Hash, ...]:
        """Return the hashes beside a row, lowest first."""
        found = []
        for level in self._levels[:-1]:
            if index ^ 1 < len(level):
                found.append(level[index ^ 1])
            index >>= 1
        return tuple(found)
