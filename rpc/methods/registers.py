"""cert_getRegister, cert_checkNumbers: imported registers, and which certificates' numbers are taken.

For whoever imports: what came of a register so far, and which of many numbers are free. Not here: the certificates
(`rpc.methods.certificates`), the rules (`ledger.registers`).
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from ledger.certificate_bodies import APPLICATION_ID_PATTERN
from ledger.certificate_records import read_certificate
from ledger.committed_state import CommittedState
from ledger.register_records import read_imported, read_register
from rpc.errors import Code, not_found
from rpc.methods.certificates import CertificateNumber
from rpc.methods.heights import tip_of
from rpc.ports import Services
from rpc.registry import method
from rpc.types import AsOf, Params, Result, Time, time_text

NUMBERS_MAX: Final = 1_000


class GetRegister(Params, frozen=True):
    """A register that a certification body opened."""

    register: Annotated[
        str,
        msgspec.Meta(
            pattern=APPLICATION_ID_PATTERN, description="A register's id: MEMBER.SERIAL.", examples=["cb.2025"]
        ),
    ]


class RegisterResult(Result, frozen=True):
    """A register: whose, the root over its rows, how many there are and came, who signed, and until when rows come."""

    register: str
    body: str
    root: str
    count: int
    imported: int
    source_digest: str
    source_custodian: str
    source_bytes: int
    officers: list[str]
    event_id: str
    opened: Time
    opened_height: int
    open_until: Time
    as_of: AsOf


@method("cert_getRegister", params=GetRegister, result=RegisterResult, errors=(Code.NOT_FOUND,), in_thread=True)
def get_register(services: Services, params: GetRegister) -> RegisterResult:
    """A register of certificates that were granted before they came to this chain, and how many of them came."""
    as_of = int(tip_of(services).height)
    found = read_register(CommittedState(services.reads.store), params.register)
    if found is None:
        raise not_found("no such register", got=params.register)
    return RegisterResult(
        register=found.id,
        body=found.body,
        root=found.root.hex(),
        count=found.count,
        imported=found.imported,
        source_digest=found.source.digest.hex(),
        source_custodian=found.source.custodian,
        source_bytes=found.source.size_bytes,
        officers=[key.hex() for key in found.officers],
        event_id=found.event_id.hex(),
        opened=time_text(found.opened_ms),
        opened_height=found.opened_height,
        open_until=time_text(found.open_until_ms),
        as_of=as_of,
    )


class CheckNumbers(Params, frozen=True):
    """Numbers of certificates, granted or not."""

    numbers: Annotated[
        tuple[CertificateNumber, ...],
        msgspec.Meta(min_length=1, max_length=NUMBERS_MAX, description="The numbers to look up."),
    ]


class TakenNumber(Result, frozen=True):
    """A number that a certificate has: of which body, and from which row of which register where it was imported."""

    number: str
    body: str
    register: str | None
    index: int | None


class NumbersResult(Result, frozen=True):
    """Those of the numbers that are taken at the newest block."""

    taken: list[TakenNumber]
    as_of: AsOf


@method("cert_checkNumbers", params=CheckNumbers, result=NumbersResult, in_thread=True)
def check_numbers(services: Services, params: CheckNumbers) -> NumbersResult:
    """Which of these numbers of certificates are taken, and by which certification body."""
    as_of = int(tip_of(services).height)
    state = CommittedState(services.reads.store)
    taken = []
    for number in params.numbers:
        certificate = read_certificate(state, number)
        if certificate is not None:
            imported = read_imported(state, number)
            register, index = (None, None) if imported is None else (imported.register, imported.index)
            taken.append(TakenNumber(number, certificate.body, register, index))
    return NumbersResult(taken, as_of)


METHODS = (get_register, check_numbers)
