"""What the events of a certificate's life say: the body of each kind and schema, and what evidence looks like.

Here: records, formats of identifiers, and checks that need nothing but the body. The rules that they are judged by are
in `ledger.certificate_rules`. Source: domain §3. Nothing here names a person; documents stay off the chain, and
their digests stand for them. Times and terms that a body leaves out (None) count from the block's time.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from ledger.catalogue import CATEGORY_MAX, EvidenceKind
from ledger.events import EventTimeMs
from ledger.members import MEMBER_ID_PATTERN, TEXT_PATTERN, MemberName, PublicKey, Text
from primitives.encoding import Record
from primitives.errors import InputError
from primitives.ids import HASH_BYTES

EVIDENCE_A_BODY_MAX = 16
TERM_MONTHS_MAX = 1_200
TERM_DAYS_MAX = 36_500

APPROVALS = 2
"""Four eyes: officers who sign a grant or a revocation."""
SCOPE_ENTRIES_MAX = 32
SCOPE_ENTRY_MAX = 200
FINDINGS_MAX = 32
HOLDER_ID_PATTERN = r"\A(?:[0-9A-Z]{18}|[0-9A-Z]{20})\Z"
"""A USCC or an LEI; their check digits are a rule (`ledger.holder_ids`)."""

APPLICATION_ID_PATTERN = MEMBER_ID_PATTERN.removesuffix(r"\Z") + r"\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?\Z"
"""MEMBER.SERIAL: the applicant's own id first, so that nobody can take an id that another member is about to use."""

NUMBER_PATTERN = r"\A[A-Z]{2,8}-[0-9]{4}-[0-9]{2}-[0-9]{4,8}\Z"
"""SCHEME-YEAR-CATEGORY-SERIAL, such as FTP-2026-06-000123; the rules hold the category to the product's."""

REASON_PATTERN = r"\A[a-z][a-z0-9_]{0,63}\Z"
"""A reason is a slug, so that no free text and no name gets in by it."""

ApplicationId = Annotated[str, Meta(pattern=APPLICATION_ID_PATTERN)]
CertificateNumber = Annotated[str, Meta(pattern=NUMBER_PATTERN)]
CaseSubject = Annotated[str, Meta(pattern=f"{APPLICATION_ID_PATTERN}|{NUMBER_PATTERN}")]
"""The two are told apart by their first letter: an application's id begins with a member's, in small letters."""
Reason = Annotated[str, Meta(pattern=REASON_PATTERN)]


class Evidence(Record):
    """A document that stays off the chain: what it shows, its SHA-256, the member that keeps it, and its size."""

    kind: EvidenceKind
    digest: Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
    custodian: MemberName
    size_bytes: Annotated[int, Meta(ge=1, le=1 << 50)]


EvidenceList = Annotated[tuple[Evidence, ...], Meta(max_length=EVIDENCE_A_BODY_MAX)]


class Product(Record):
    """The one unit that a certificate covers."""

    name: Text
    model: Text
    version: Text


class Apply(Record):
    """A bank or vendor applies for a product's certificate; `holder_name` is the organisation that would hold it."""

    application: ApplicationId
    holder_name: Text
    product: Product
    category: Annotated[int, Meta(ge=1, le=CATEGORY_MAX)]
    evidence: EvidenceList


class Renew(Record):
    """The holder applies for the successor of a certificate: the same unit, examined and checked anew."""

    application: ApplicationId
    supersedes: CertificateNumber
    evidence: EvidenceList


class Accept(Record):
    """A certification body takes an application on and becomes the body responsible for it."""

    application: ApplicationId


class TypeTest(Record):
    """A laboratory's finding on the type: whether the product passed, and the digests of its reports."""

    application: ApplicationId
    passed: bool
    evidence: EvidenceList


class SiteCheck(Record):
    """An inspector's finding on the site: whether it passed, and the digests of the reports."""

    application: ApplicationId
    passed: bool
    evidence: EvidenceList


class Review(Record):
    """The responsible body's reviewer has gone through the case."""

    application: ApplicationId
    evidence: EvidenceList


class Grant(Record):
    """The decider grants: the certificate's number and its term.

    `valid_from_ms` None is the block's time. The end is `valid_until_ms` (the first millisecond that is no longer
    valid), or `valid_months` calendar months after the start, or, with both None, as late as the policy permits.
    """

    application: ApplicationId
    number: CertificateNumber
    valid_from_ms: EventTimeMs | None
    valid_until_ms: EventTimeMs | None
    valid_months: Annotated[int, Meta(ge=1, le=TERM_MONTHS_MAX)] | None


class Refuse(Record):
    """The decider refuses."""

    application: ApplicationId
    reason: Reason


class Suspend(Record):
    """The responsible body suspends until a time, or for days of 24 hours; with both None for the policy's longest."""

    number: CertificateNumber
    reason: Reason
    until_ms: EventTimeMs | None
    days: Annotated[int, Meta(ge=1, le=TERM_DAYS_MAX)] | None


class Restore(Record):
    """The responsible body ends a suspension, with evidence of what was corrected."""

    number: CertificateNumber
    evidence: EvidenceList


class Revoke(Record):
    """The responsible body or the regulator revokes, from the block's time or from an earlier one."""

    number: CertificateNumber
    reason: Reason
    invalid_from_ms: EventTimeMs | None


class Cancel(Record):
    """The responsible body cancels at the holder's request, whose digest is the evidence."""

    number: CertificateNumber
    evidence: EvidenceList


ScopeEntry = Annotated[str, Meta(min_length=1, max_length=SCOPE_ENTRY_MAX, pattern=TEXT_PATTERN)]
Scope = Annotated[tuple[ScopeEntry, ...], Meta(min_length=1, max_length=SCOPE_ENTRIES_MAX)]


class Approval(Record):
    """An officer's signature over `decision_statement`, by which a second pair of eyes stands for a decision."""

    officer: PublicKey
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]


Approvals = Annotated[tuple[Approval, ...], Meta(min_length=APPROVALS, max_length=APPROVALS)]


class ApplyScoped(Apply):
    """An application that names the holder by its USCC or LEI, and the scope that is asked for (schema 2)."""

    holder_id: Annotated[str, Meta(pattern=HOLDER_ID_PATTERN)]
    scope: Scope


class GrantSigned(Grant):
    """A grant that two officers of the deciding member signed (schema 2)."""

    approvals: Approvals


class RevokeSigned(Revoke):
    """A revocation that two officers of the deciding member signed (schema 2)."""

    approvals: Approvals


class Surveil(Record):
    """Surveillance of a certificate in use: whether it passed and, where not, what was found and how grave it is.

    `correct_by_ms` is the time until which findings must be corrected.
    """

    number: CertificateNumber
    passed: bool
    grave: bool
    findings: Annotated[tuple[Reason, ...], Meta(max_length=FINDINGS_MAX)]
    correct_by_ms: EventTimeMs | None
    evidence: EvidenceList


class ApplyChange(Record):
    """The holder applies for another scope of a certificate, which keeps its present one until that is decided."""

    application: ApplicationId
    number: CertificateNumber
    scope: Scope
    evidence: EvidenceList


class Extend(Record):
    """The decider gives a certificate the scope that a reviewed application for a change asks for."""

    application: ApplicationId
    number: CertificateNumber


class Reduce(Record):
    """The responsible body takes entries off a scope, at the holder's request or on a finding, which is the evidence.

    `removes` names the entries as the scope has them.
    """

    number: CertificateNumber
    reason: Reason
    removes: Scope
    evidence: EvidenceList


class Reissue(Record):
    """The responsible body issues a lost or damaged certificate again, at the holder's request."""

    number: CertificateNumber
    reason: Reason
    evidence: EvidenceList


class Appeal(Record):
    """The holder appeals against the newest decision on a subject: an application's refusal, or on a certificate."""

    subject: CaseSubject
    reason: Reason
    evidence: EvidenceList


class DecideAppeal(Record):
    """An appeal is decided: upheld returns to the state before the decision, dismissed leaves it for good."""

    subject: CaseSubject
    upheld: bool
    evidence: EvidenceList


class ReportInspection(Record):
    """An inspector's report on a certificate that a draw selected: passed or not, findings, and until when to correct.

    A grave one suspends by rule, as surveillance does.
    """

    draw: ApplicationId
    number: CertificateNumber
    passed: bool
    grave: bool
    findings: Annotated[tuple[Reason, ...], Meta(max_length=FINDINGS_MAX)]
    correct_by_ms: EventTimeMs | None
    evidence: EvidenceList


class ResolveInspection(Record):
    """The responsible body says that what an inspection found was corrected, with the evidence of it."""

    draw: ApplicationId
    number: CertificateNumber
    evidence: EvidenceList


ApplicationBody: TypeAlias = Accept | TypeTest | SiteCheck | Review | Refuse | Grant
CertificateBody: TypeAlias = Suspend | Restore | Revoke | Cancel
LifeBody: TypeAlias = Apply | Renew | ApplicationBody | CertificateBody
SchemeBody: TypeAlias = Surveil | ApplyChange | Extend | Reduce | Reissue | Appeal | DecideAppeal
InspectedBody: TypeAlias = ReportInspection | ResolveInspection
Body: TypeAlias = LifeBody | SchemeBody | InspectedBody


def check_body(body: Body) -> None:
    """Raise `InputError` where a body contradicts itself: two ends of one term, or a document named twice."""
    match body:
        case Grant(valid_until_ms=int(), valid_months=int()):
            raise InputError("two ends of one validity", expected="valid_until_ms or valid_months", got="both")
        case Suspend(until_ms=int(), days=int()):
            raise InputError("two ends of one suspension", expected="until_ms or days", got="both")
        case GrantSigned() | RevokeSigned() if len({approval.officer for approval in body.approvals}) != APPROVALS:
            raise InputError("an officer stands twice", where="approvals", expected=f"{APPROVALS} officers")
        case ApplyScoped() | ApplyChange() if len(set(body.scope)) != len(body.scope):
            raise InputError("an entry stands twice", where="scope", expected="distinct entries")
        case Reduce() if len(set(body.removes)) != len(body.removes):
            raise InputError("an entry stands twice", where="removes", expected="distinct entries")
        case Surveil() | ReportInspection() if body.passed and (
            body.grave or body.findings or body.correct_by_ms is not None
        ):
            raise InputError("findings of what passed", where="passed", expected="no findings", got="some")
        case Surveil() | ReportInspection() if not body.passed and not body.findings:
            raise InputError("failed without a finding", where="findings", expected="at least one")
        case _:
            digests = [evidence.digest for evidence in evidence_of(body)]
            if len(set(digests)) != len(digests):
                raise InputError("a document stands twice", where="evidence", expected="distinct digests")


def evidence_of(body: Body) -> tuple[Evidence, ...]:
    """Return the evidence that a body brings."""
    match body:
        case Apply() | Renew() | TypeTest() | SiteCheck() | Review() | Restore() | Cancel():
            return body.evidence
        case Surveil() | ApplyChange() | Reduce() | Reissue() | Appeal() | DecideAppeal():
            return body.evidence
        case ReportInspection() | ResolveInspection():
            return body.evidence
        case Accept() | Grant() | Refuse() | Suspend() | Revoke() | Extend():
            return ()


def subjects_of(body: Body) -> tuple[str, ...]:
    """Return what an event is about, for indexes: application ids and certificate numbers, as the body names them."""
    match body:
        case Renew():
            return (body.application, body.supersedes)
        case Grant() | ApplyChange() | Extend():
            return (body.application, body.number)
        case Appeal() | DecideAppeal():
            return (body.subject,)
        case Apply() | Accept() | TypeTest() | SiteCheck() | Review() | Refuse():
            return (body.application,)
        case Suspend() | Restore() | Revoke() | Cancel() | Surveil() | Reduce() | Reissue():
            return (body.number,)
        case ReportInspection() | ResolveInspection():
            return (body.number,)
