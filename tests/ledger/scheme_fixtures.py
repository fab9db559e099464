"""The consortium of the certificates' tests by the third rules: officers, scopes, and the kinds 13 to 19."""

from __future__ import annotations

from dataclasses import replace as with_fields
from hashlib import sha256

from ledger.accreditations import USUAL_STANDARD, Accreditation, AccreditedRole, Term, accreditation_key
from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import (
    Accept,
    Appeal,
    ApplyChange,
    ApplyScoped,
    Approval,
    Body,
    DecideAppeal,
    Extend,
    Grant,
    GrantSigned,
    Reduce,
    Refuse,
    Reissue,
    Review,
    Revoke,
    RevokeSigned,
    SiteCheck,
    Surveil,
    TypeTest,
)
from ledger.certificate_records import Application
from ledger.certificates import ROWS, apply_event
from ledger.events import TIME_MS_MAX
from ledger.kinds import ApplyContext, RuleBroken
from ledger.members import Member, Officer, member_key
from ledger.rules import RULES_SCHEME
from ledger.scheme_checks import decided_upon, statement_upon
from ledger.scheme_events import SCHEME_ROWS, apply_scheme_event
from ledger.scheme_records import CertificateScheme, read_certificate_scheme
from ledger.state import Transaction
from primitives.ids import ZERO_HASH, Hash
from primitives.keys import SigningKey
from tests.ledger.certificate_fixtures import (
    APPLICATION,
    CATEGORY,
    DOCUMENTS,
    EVENTS,
    EXAMINATION,
    INSPECTION,
    NUMBER,
    PRODUCT,
    REPORT,
    ROLES,
    Consortium,
    grant,
    piece,
)

LEI = "HWUPKR0MPOU8FGXBT394"
USCC = "91110000600037341L"
SCOPE = ("contact", "contactless")
WIDER = (*SCOPE, "barcode")
CHANGE = "bank-a.0100"
CHANGE_DOCUMENTS = (piece(EvidenceKind.TECHNICAL_DOCUMENTS, "change"),)
GRANT_KIND, REVOKE_KIND = 6, 10


def officer_of(member: str, number: int = 0) -> SigningKey:
    """Return an officer's key of a member, the same in every run."""
    return SigningKey(sha256(f"officer {number} of {member}".encode()).digest())


def signed(
    body: Grant | Revoke,
    subject: Application | CertificateScheme,
    member: str = "cb",
    numbers: tuple[int, int] = (0, 1),
    chain_id: Hash = ZERO_HASH,
) -> GrantSigned | RevokeSigned:
    """Return schema 2 of a decision upon a subject, signed by two officers of a member."""
    fields = [getattr(body, name) for name in body.__struct_fields__]
    type_, kind = (GrantSigned, GRANT_KIND) if isinstance(body, Grant) else (RevokeSigned, REVOKE_KIND)
    statement = statement_upon(chain_id, kind, body, decided_upon(subject))
    keys = [officer_of(member, number) for number in numbers]
    return type_(*fields, tuple(Approval(key.public, key.sign(statement)) for key in keys))


class Scheme(Consortium):
    """The consortium with officers, by the third rules."""

    def __init__(self) -> None:
        super().__init__()
        rows = Transaction(self.view)
        for member, roles in ROLES.items():
            officers = tuple(Officer(officer_of(member, number).public, "certification") for number in range(2))
            rows.put(member_key(member), Member(member, member, roles, "", (), officers))
            for role in AccreditedRole:
                if role in roles:
                    term = Term(tuple(range(1, 15)), 0, TIME_MS_MAX, USUAL_STANDARD[role])
                    rows.put(accreditation_key(member, role), Accreditation(member, role, (term,)))
        rows.apply(self.view)

    def context(self, member: str, desk: str = "first", roles: frozenset[str] | None = None) -> ApplyContext:
        """Return where the next event of a member stands."""
        return with_fields(super().context(member, desk, roles), rules=RULES_SCHEME)

    def submit(self, member: str, body: Body, desk: str = "first", roles: frozenset[str] | None = None) -> str:
        """Apply an event as execution would; return the rule that it broke, empty where it was applied."""
        self.submitted += 1
        transaction = Transaction(self.view)
        apply = apply_scheme_event if type(body) in SCHEME_ROWS else apply_event
        assert type(body) in ROWS or type(body) in SCHEME_ROWS
        try:
            apply(self.context(member, desk, roles), transaction, body)  # type: ignore[arg-type]  # of its own kind
        except RuleBroken as broken:
            return broken.rule
        transaction.apply(self.view)
        return ""

    def beside(self, number: str = NUMBER) -> CertificateScheme:
        """Return what stands beside a certificate."""
        return read_certificate_scheme(self.view, number)

    def signed(
        self, body: Grant | Revoke, member: str = "cb", numbers: tuple[int, int] = (0, 1)
    ) -> GrantSigned | RevokeSigned:
        """Return schema 2 of a decision, signed by two officers of a member upon the present record."""
        subject = self.application(body.application) if isinstance(body, Grant) else self.beside(body.number)
        return signed(body, subject, member, numbers)

    def granted(self) -> Scheme:
        """Bring bank-a's certificate into force, with its scope."""
        for member, desk, body in road(APPLICATION):
            self.now_ms += 60_000
            self.must(member, body, desk)
        self.now_ms += 60_000
        self.must("cb", self.signed(grant()), "decider")
        return self

    def reviewed_change(self) -> Scheme:
        """Let the holder ask for a wider scope, up to the review."""
        self.must("bank-a", ApplyChange(CHANGE, NUMBER, WIDER, CHANGE_DOCUMENTS))
        for member, desk, body in road(CHANGE)[1:]:
            self.must(member, body, desk)
        return self


def road(application: str) -> list[tuple[str, str, Body]]:
    """Return the events up to the review."""
    return [
        ("bank-a", "first", ApplyScoped(application, "Bank A", PRODUCT, CATEGORY, DOCUMENTS, LEI, SCOPE)),
        ("cb", "first", Accept(application)),
        ("lab", "first", TypeTest(application, True, EXAMINATION)),
        ("ins", "first", SiteCheck(application, True, INSPECTION)),
        ("cb", "reviewer", Review(application, REPORT)),
    ]


VISIT = (piece(EvidenceKind.SITE_CHECK, "visit"),)
LETTER = (piece(EvidenceKind.HOLDER_REQUEST, "letter"),)
OPINION = (piece(EvidenceKind.REVIEW_REPORT, "opinion"),)

SCHEME_EVENTS: dict[str, tuple[str, str, Body]] = {
    "certificate.surveil": ("ins", "first", Surveil(NUMBER, True, False, (), None, VISIT)),
    "certificate.apply_change": (
        "bank-a",
        "first",
        ApplyChange(CHANGE, NUMBER, WIDER, CHANGE_DOCUMENTS),
    ),
    "certificate.extend": ("cb", "decider", Extend(CHANGE, NUMBER)),
    "certificate.reduce": ("cb", "first", Reduce(NUMBER, "holder_asks", SCOPE[1:], LETTER)),
    "certificate.reissue": ("cb", "first", Reissue(NUMBER, "lost", LETTER)),
    "certificate.appeal": ("bank-a", "first", Appeal(NUMBER, "disagrees", LETTER)),
    "certificate.decide_appeal": ("cb", "panel", DecideAppeal(NUMBER, True, OPINION)),
}
REFUSAL = ("cb", "decider", Refuse(APPLICATION, "nonconformity"))
SUSPENSION = EVENTS["certificate.suspend"]
REVOKE = Revoke(NUMBER, "mark_misused", None)
