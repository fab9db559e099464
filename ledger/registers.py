"""What the events of a register do: a body opens it once for all its rows, then each row becomes a certificate.

Here: kinds 31 and 104, of the third rules. The certificate that a row makes is one like any other, whose history begins
with its import: the chain vouches for it from that block's time on, whatever day the register names for its grant.

The rows are fixed before the first of them comes: the root, signed by two officers, stands in an earlier block than any
row, so that nobody who sees another body's grant on its way can take its number by an import made up for it. Source:
domain §3.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from ledger.catalogue import read_catalogue
from ledger.certificate_filing import check_custodian, filed, history_after
from ledger.certificate_records import (
    NO_HISTORY,
    Certificate,
    State,
    Suspension,
    certificate_key,
    read_certificate,
)
from ledger.certificate_rules import broken
from ledger.kinds import ApplyContext, KindSpec
from ledger.members import Member, Role, read_member
from ledger.policy import DAY_MS
from ledger.register_bodies import (
    IMPORT,
    OPEN_REGISTER,
    Import,
    OpenRegister,
    RegisterBody,
    RegisterRow,
    check_register_body,
    register_statement,
    row_leaf,
)
from ledger.register_checks import REGISTER_OPEN_DAYS, Ground, Problem, member_problems, row_problems
from ledger.register_records import (
    Imported,
    Register,
    import_key,
    place_in_register,
    read_imported,
    read_register,
    register_key,
)
from ledger.rules import RULES_SCHEME
from ledger.scheme_checks import check_officers_signed
from ledger.scheme_policy import RegisterImports, read_scheme_policy
from ledger.scheme_records import certificate_scheme_key, empty_certificate_scheme
from ledger.state import StateReader, Transaction
from primitives.errors import ProofError
from primitives.ids import Hash
from primitives.merkle import verify_inclusion

SCHEMA: Final = 1


def apply_open_register(context: ApplyContext, state: Transaction, body: OpenRegister) -> None:
    """Write a register; RuleBroken names the rule that forbids it."""
    if body.register.partition(".")[0] != context.member:
        raise broken("not_own_register", f"expected {context.member}.SERIAL, got {body.register}")
    if read_scheme_policy(state).register_imports is RegisterImports.CLOSED:
        raise broken("registers_closed", "by the scheme's policy")
    if read_register(state, body.register) is not None:
        raise broken("register_exists", body.register)
    check_custodian(state, body.source.custodian)
    check_officers_signed(state, context.member, body.approvals, register_statement(context.chain_id, body))
    state.put(
        register_key(body.register),
        Register(
            id=body.register,
            body=context.member,
            root=Hash(body.root),
            count=body.count,
            source=body.source,
            officers=tuple(approval.officer for approval in body.approvals),
            event_id=context.event_id,
            opened_ms=context.time_ms,
            opened_height=context.height,
            open_until_ms=context.time_ms + REGISTER_OPEN_DAYS * DAY_MS,
            imported=0,
        ),
    )


def apply_import(context: ApplyContext, state: Transaction, body: Import) -> None:
    """Write the certificate of a row; RuleBroken names the rule that forbids it."""
    row = body.row
    register = _open_register(context, state, body)
    _check_number(state, body)
    _check_place(register, body)
    _check_row(context, state, register, row)
    certificate = certificate_of_row(context, body)
    state.put(certificate_key(row.number), certificate)
    state.put(
        certificate_scheme_key(row.number),
        replace(
            empty_certificate_scheme(row.number),
            holder_id=row.holder_id,
            scope=row.scope,
            rulings=history_after(context, NO_HISTORY),
        ),
    )
    state.put(import_key(row.number), Imported(row.number, register.id, body.index, context.event_id, context.time_ms))
    state.put(register_key(register.id), replace(register, imported=register.imported + 1))


def certificate_of_row(context: ApplyContext, body: Import) -> Certificate:
    """Return the certificate that a row makes.

    Its state begins now, with the event that brings it; its term is that of the register.
    """
    row, now_ms = body.row, context.time_ms
    suspension = None if row.suspension is None else Suspension(row.suspension.reason, now_ms, row.suspension.until_ms)
    return Certificate(
        number=row.number,
        application=place_in_register(body.register, body.index),
        holder=row.holder,
        holder_name=row.holder_name,
        product=row.product,
        category=row.category,
        catalogue=row.catalogue,
        body=context.member,
        state=State.ACTIVE if suspension is None else State.SUSPENDED,
        since_ms=now_ms,
        version=1,
        valid_from_ms=row.granted_ms,
        valid_until_ms=row.valid_until_ms,
        suspension=suspension,
        revocation=None,
        predecessor=None,
        successor=None,
        evidence=filed(context, row.evidence),
        corrections=(),
        appeal_until_ms=None,
        history=history_after(context, NO_HISTORY),
    )


def _open_register(context: ApplyContext, state: StateReader, body: Import) -> Register:
    """Return the register of a row that may come now, by this member."""
    register = read_register(state, body.register)
    if register is None:
        raise broken("unknown_register", body.register)
    if register.body != context.member:
        raise broken("not_own_register", f"expected {register.body}, got {context.member}")
    if context.height <= register.opened_height:
        raise broken("register_not_settled", f"expected a block after {register.opened_height}")
    if context.time_ms >= register.open_until_ms:
        raise broken("register_closed", f"at {register.open_until_ms}, the block's time is {context.time_ms}")
    if body.index >= register.count:
        raise broken("register_count_exceeded", f"expected an index below {register.count}, got {body.index}")
    return register


def _check_number(state: StateReader, body: Import) -> None:
    if read_certificate(state, body.row.number) is None:
        return
    imported = read_imported(state, body.row.number)
    if imported is not None and (imported.register, imported.index) == (body.register, body.index):
        raise broken("row_imported", f"{body.row.number} at {imported.time_ms}")
    raise broken("number_taken", body.row.number)


def _check_place(register: Register, body: Import) -> None:
    leaf = row_leaf(register.id, body.index, body.row)
    try:
        verify_inclusion(register.root, register.count, body.index, leaf, body.path)
    except ProofError:
        raise broken("not_in_register", f"row {body.index} of {register.id}") from None


def _check_row(context: ApplyContext, state: StateReader, register: Register, row: RegisterRow) -> None:
    catalogue = read_catalogue(state, row.catalogue)
    catalogues = {} if catalogue is None else {row.catalogue: catalogue}
    for problem in row_problems(
        row, Ground(context.member, context.time_ms, register.opened_ms, context.policy, catalogues)
    ):
        raise broken(problem.rule, _told(problem))
    for problem in member_problems(row, _members(state, row)):
        raise broken(problem.rule, _told(problem))


def _members(state: StateReader, row: RegisterRow) -> dict[str, Member]:
    """Return those members that a row names."""
    named = {row.holder, *(piece.custodian for piece in row.evidence)}
    return {name: member for name in sorted(named) if (member := read_member(state, name)) is not None}


def _told(problem: Problem) -> str:
    return f"{problem.field}: expected {problem.expected}, got {problem.got}"


_ROLES: Final = frozenset({Role.CERTIFICATION_BODY.value})

REGISTER_KINDS: tuple[KindSpec, ...] = (
    KindSpec(
        kind=OPEN_REGISTER,
        name="certificate.open_register",
        schemas={SCHEMA: OpenRegister},
        changes_state=True,
        apply=apply_open_register,
        check_shape=check_register_body,
        roles=_ROLES,
        is_dear=True,
        rules_min=RULES_SCHEME,
    ),
    KindSpec(
        kind=IMPORT,
        name="certificate.import",
        schemas={SCHEMA: Import},
        changes_state=True,
        apply=apply_import,
        check_shape=check_register_body,
        roles=_ROLES,
        rules_min=RULES_SCHEME,
    ),
)

REGISTER_BODIES: dict[tuple[int, int], type[RegisterBody]] = {
    (OPEN_REGISTER, SCHEMA): OpenRegister,
    (IMPORT, SCHEMA): Import,
}
"""The type of body that a kind and schema of a register have."""
