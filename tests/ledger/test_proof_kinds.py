"""Which kind of proof a file holds is told by its first bytes, and what is none of them is refused."""

from __future__ import annotations

import pytest

from ledger.certificate_history import CertificateHistory
from ledger.completeness import Completeness
from ledger.proof_kinds import kind_of, pages_of
from ledger.receipts import Receipt
from ledger.status_proofs import StatusProof
from ledger.tlog_proofs import HEADING, TlogProof, parse_tlog_proof
from primitives.errors import ProofError
from tests.fuzz.reader_targets import proofs


def test_each_kind_is_told_from_the_others() -> None:
    kinds = [kind_of(text) for text in proofs().texts]
    assert kinds == [Receipt, StatusProof, Completeness, CertificateHistory]


@pytest.mark.parametrize("extra", [b"", b"\x90", b"\x9f", b"\xc0", b"\xdc\x00\x07", b"text"])
def test_extra_data_of_no_known_kind_are_refused(extra: bytes) -> None:
    note = parse_tlog_proof(proofs().texts[0]).note
    with pytest.raises(ProofError, match="proof of an unknown kind"):
        kind_of(TlogProof(extra, 0, (), note).text())


def test_pages_are_cut_where_one_begins() -> None:
    receipt, status, *_ = proofs().texts
    assert pages_of(receipt + status) == [receipt, status]
    for text in ("", "x", f" {receipt}", HEADING, f"x{HEADING}\n"):
        with pytest.raises(ProofError, match="not a proof"):
            pages_of(text)
