"""Which kind of proof a file holds: by the record that its extra data are.

The kinds have different numbers of fields, which is the first thing that the bytes say. Here: telling them apart, so
that people need not. Not here: verifying any of them.
"""

from __future__ import annotations

from typing import Final

from ledger.certificate_history import CertificateHistory
from ledger.completeness import COMPLETENESS_SIZE_MAX, Completeness
from ledger.receipts import Receipt
from ledger.status_proofs import StatusProof
from ledger.tlog_proofs import HEADING, parse_tlog_proof
from primitives.encoding import Record
from primitives.errors import ProofError

KINDS: Final[tuple[type[Record], ...]] = (Receipt, StatusProof, Completeness, CertificateHistory)
_SHORT_ARRAY: Final = 0x90
"""In MessagePack an array of up to 15 items begins with this and their number."""

BY_FIRST_BYTE: Final = {_SHORT_ARRAY + len(kind.__struct_fields__): kind for kind in KINDS}
assert len(BY_FIRST_BYTE) == len(KINDS), "kinds of proof must have different numbers of fields"


def pages_of(text: str) -> list[str]:
    """Return the proofs of a text that holds one after the other; ProofError where it is none."""
    head, *pages = text.split(f"{HEADING}\n")
    if head or not pages:
        raise ProofError("not a proof", expected=f"{HEADING} first")
    return [f"{HEADING}\n{page}" for page in pages]


def kind_of(text: str) -> type[Record]:
    """Return what the extra data of a text's first proof are; ProofError where they are none of the known kinds."""
    extra = parse_tlog_proof(pages_of(text)[0], size_max=COMPLETENESS_SIZE_MAX).extra
    kind = BY_FIRST_BYTE.get(extra[0]) if extra else None
    if kind is None:
        raise ProofError(
            "proof of an unknown kind",
            where="extra data",
            expected="a receipt, or a proof of status, history or completeness",
            hint="of an entry alone: verify it with `chainnode audit verify-entry`; else with a newer release",
        )
    return kind
