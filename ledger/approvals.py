"""How a decision gets its officers' signatures: schema 2 of a grant or revocation out of schema 1.

Here: what an officer's key signs and the signed body. Not here: the rule that holds blocks to it
(`ledger.scheme_checks`), where keys lie (`chainnode.decisions`). Source: domain §3, four eyes.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.certificate_bodies import Approval, Grant, GrantSigned, Revoke, RevokeSigned
from ledger.certificate_records import History
from ledger.certificates import CERTIFICATE_KINDS
from ledger.kinds import KindSpec
from ledger.scheme_checks import statement_upon
from primitives.ids import Hash
from primitives.keys import SigningKey

_SPECS = {type_: spec for spec in CERTIFICATE_KINDS for type_ in spec.schemas.values()}


def spec_of(body: Grant | Revoke) -> KindSpec:
    """Return the kind of a decision."""
    return _SPECS[type(body)]


def approve(chain_id: Hash, body: Grant | Revoke, history: History, key: SigningKey) -> Approval:
    """Return an officer's signature of a decision upon this history (`ledger.scheme_checks.decided_upon`)."""
    return Approval(key.public, key.sign(statement_upon(chain_id, spec_of(body).kind, body, history)))


def with_approvals(body: Grant | Revoke, approvals: Sequence[Approval]) -> GrantSigned | RevokeSigned:
    """Return a decision with these signatures in place of those that it has."""
    signed = tuple(approvals)
    if isinstance(body, Grant):
        return GrantSigned(
            body.application, body.number, body.valid_from_ms, body.valid_until_ms, body.valid_months, signed
        )
    return RevokeSigned(body.number, body.reason, body.invalid_from_ms, signed)


def signed_by(
    chain_id: Hash, body: Grant | Revoke, history: History, keys: Sequence[SigningKey]
) -> GrantSigned | RevokeSigned:
    """Return a decision upon this history, signed by these officers."""
    return with_approvals(body, [approve(chain_id, body, history, key) for key in keys])
