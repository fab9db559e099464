"""Judging a certification mark: its code against the chain, and its licence, scope and policy by their proofs.

Pure; no network, no picture. Not here: reading the code from a picture (`chainnode.scanning`), the rules
(`ledger.mark_records`), the proofs (`ledger.status_proofs`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from chainnode.interop.stapled import StapledStatus, certificate_in, read_stapled_status
from ledger.mark_bodies import Medium
from ledger.mark_codes import MarkCode, check_chain, check_hash, check_host
from ledger.mark_records import MarkLicense, MarkStanding, breach_of, mark_key, mark_standing
from ledger.scheme_policy import SCHEME_POLICY_KEY, MarkUse, SchemePolicy
from ledger.scheme_records import CertificateScheme, certificate_scheme_key
from ledger.state import STATE_VALUE_SIZE_MAX
from ledger.status_proofs import StatusVerdict, verify_status
from primitives.encoding import Record, decode
from primitives.errors import ProofError

T = TypeVar("T", bound=Record)

PROOFS = 4
"""Of the certificate, its licence, the scheme's policy and the certificate's scope, in this order."""


@dataclass(frozen=True, slots=True)
class Use:
    """How a mark is used where somebody met it; `medium` None: nobody said."""

    medium: Medium | None = None
    covers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """The time that is asked about (None: the last that is proved), and how old a proof may be."""

    at_ms: int | None = None
    fresh_ms: int = 0
    is_now: bool = False


@dataclass(frozen=True, slots=True)
class MarkVerdict:
    """What a mark is worth: its code matches; the certificate's status; and where it is proved, the licence's standing.

    `standing`, `license` and `rule` are None where only the certificate was proved. `breach` is the rule by which the
    use that was named is not admitted.
    """

    code: MarkCode
    stapled: StapledStatus
    standing: MarkStanding | None
    license: MarkLicense | None
    rule: MarkUse | None
    breach: str | None

    @property
    def licensed(self) -> bool | None:
        """Whether the mark may be used as it is; None where that is not proved."""
        return None if self.standing is None else self.standing is MarkStanding.LICENSED and self.breach is None


def judge_mark(
    code: MarkCode, proofs: Sequence[str], policy: str, bases: Collection[str], use: Use, moment: Moment
) -> MarkVerdict:
    """Return what a mark is worth by one proof, of the certificate, or by all four.

    Raises `MarkCodeError` where the code does not match, ProofError where a proof does not hold.
    """
    check_host(code, bases)
    if len(proofs) not in (1, PROOFS):
        raise ProofError("not the proofs of a mark", expected=f"1 or {PROOFS}", got=len(proofs))
    stapled = read_stapled_status(proofs[0], policy, code.number, moment.at_ms, moment.fresh_ms, is_now=moment.is_now)
    check_chain(code, stapled.verdict.chain_id)
    certificate = certificate_in(stapled.verdict)
    if certificate is not None:
        check_hash(code, stapled.verdict.chain_id, certificate)
    if len(proofs) == 1 or certificate is None:
        return MarkVerdict(code, stapled, None, None, None, None)
    license_ = _proved(proofs[1], policy, stapled.verdict, mark_key(code.number), MarkLicense)
    rules = _proved(proofs[2], policy, stapled.verdict, SCHEME_POLICY_KEY, SchemePolicy) or SchemePolicy()
    beside = _proved(proofs[3], policy, stapled.verdict, certificate_scheme_key(code.number), CertificateScheme)
    standing = mark_standing(license_, certificate, stapled.at_ms)
    breach = None
    if use.medium is not None and license_ is not None:
        scope = () if beside is None else beside.scope
        breach = breach_of(use.medium, use.covers, license_.media, scope, rules.mark_use)
    return MarkVerdict(code, stapled, standing, license_, rules.mark_use, breach)


def _proved(text: str, policy: str, beside: StatusVerdict, key: str, type_: type[T]) -> T | None:
    """Return the row that a proof proves in the very block of another; None where it proves that there is none."""
    verdict = verify_status(text, policy)
    if verdict.key != key.encode():
        raise ProofError("status proof of another thing", expected=key, got=verdict.key.decode(errors="replace"))
    if verdict.header_hash != beside.header_hash:
        raise ProofError("proofs of two blocks", where=key, expected=f"block {beside.height}", got=verdict.height)
    return None if verdict.value is None else decode(type_, verdict.value, size_max=STATE_VALUE_SIZE_MAX)
