"""What forecasts read of a certificate is what its record says, and a row that is none is told."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.certificate_ends import CertificateEnd, ending_certificates
from ledger.certificate_records import Certificate, State, certificate_key
from ledger.state import MemoryState
from primitives.encoding import encode
from primitives.errors import StorageError
from tests.ledger.certificate_fixtures import Consortium

DAY_MS = 86_400_000
NAMES = ("number", "holder", "state", "valid_until_ms")


@pytest.fixture
def record() -> Certificate:
    chain = Consortium()
    chain.bring_to(State.ACTIVE)
    return chain.certificate()


def held(*records: Certificate) -> MemoryState:
    return MemoryState({certificate_key(item.number).encode(): encode(item) for item in records})


def test_the_fields_are_those_of_the_record_at_their_places(record: Certificate) -> None:
    assert CertificateEnd.__struct_fields__ == Certificate.__struct_fields__[: len(CertificateEnd.__struct_fields__)]
    (found,), complete = ending_certificates(held(record), 0, record.valid_until_ms)
    assert complete
    assert [getattr(found, name) for name in NAMES] == [getattr(record, name) for name in NAMES]


def test_only_what_counts_and_ends_in_the_span_is_found_the_first_to_end_first(record: Certificate) -> None:
    end = record.valid_until_ms
    made = [replace(record, number=f"FTP-2026-06-00000{n}", valid_until_ms=end - n * DAY_MS) for n in range(5)]
    made[1] = replace(made[1], state=State.REVOKED)
    made[2] = replace(made[2], state=State.SUSPENDED)
    found, _ = ending_certificates(held(*made), end - 3 * DAY_MS, end)
    assert [item.number[-1] for item in found] == ["2", "0"]


def test_a_row_that_is_no_certificate_is_told(record: Certificate) -> None:
    state = held(record)
    (key,) = state.values
    state.values[key] = state.values[key][:40]
    with pytest.raises(StorageError, match="damaged"):
        ending_certificates(state, 0, record.valid_until_ms)
