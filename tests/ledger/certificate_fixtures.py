"""A consortium in memory for tests of certificates: members, keys, a clock, and one call that submits an event."""

from __future__ import annotations

from hashlib import sha256

from ledger.catalogue import PUBLISHED_CATALOGUES, EvidenceKind, catalogue_key
from ledger.certificate_bodies import (
    Accept,
    Apply,
    Body,
    Cancel,
    Evidence,
    Grant,
    Product,
    Refuse,
    Renew,
    Restore,
    Review,
    Revoke,
    SiteCheck,
    Suspend,
    TypeTest,
)
from ledger.certificate_records import Application, Certificate, State, read_application, read_certificate
from ledger.certificates import apply_event
from ledger.kinds import ApplyContext, RuleBroken
from ledger.members import Member, Role, member_key
from ledger.policy import POLICY_KEY, Policy
from ledger.state import EmptyState, StateView, Transaction
from primitives.hashing import RULES_FIRST
from primitives.ids import ZERO_HASH, Epoch, EventId, Height, MemberId, SourceKey, TimeMs

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
DAY_MS = 86_400_000

ROLES = {
    "bank-a": (Role.BANK,),
    "bank-b": (Role.BANK,),
    "bank-c": (Role.BANK,),
    "bank-d": (Role.BANK,),
    "vendor": (Role.VENDOR,),
    "cb": (Role.CERTIFICATION_BODY,),
    "cb-other": (Role.CERTIFICATION_BODY,),
    "lab": (Role.LABORATORY,),
    "ins": (Role.INSPECTOR,),
    "switch": (Role.SWITCH,),
    "regulator": (Role.REGULATOR,),
    "auditor": (Role.AUDITOR,),
    "conglomerate": (Role.BANK, Role.CERTIFICATION_BODY, Role.LABORATORY, Role.INSPECTOR),
}

APPLICATION = "bank-a.0001"
NUMBER = "FTP-2026-06-000001"
CATEGORY = 6
PRODUCT = Product("Counter terminal", "CT-1", "2.0")


def piece(kind: EvidenceKind, text: str = "", custodian: str = "cb") -> Evidence:
    """Return evidence of a kind whose digest follows from kind and text."""
    return Evidence(kind, sha256(f"{kind} {text}".encode()).digest(), custodian, 1_000)


DOCUMENTS = (piece(EvidenceKind.TECHNICAL_DOCUMENTS),)
EXAMINATION = (piece(EvidenceKind.TYPE_EXAMINATION),)
INSPECTION = (piece(EvidenceKind.SITE_CHECK),)
REPORT = (piece(EvidenceKind.REVIEW_REPORT),)
CORRECTION = (piece(EvidenceKind.CORRECTIVE_ACTION),)
REQUEST = (piece(EvidenceKind.HOLDER_REQUEST),)


class Consortium:
    """The state, a clock that tests set, and submitting as any member, by its first key or another."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.now_ms = START_MS
        self.view = StateView(EmptyState())
        self.submitted = 0
        rows = Transaction(self.view)
        for member, roles in ROLES.items():
            rows.put(member_key(member), Member(member, member, roles, "", (), ()))
        for catalogue in PUBLISHED_CATALOGUES:
            rows.put(catalogue_key(catalogue.version), catalogue)
        rows.put(POLICY_KEY, self.policy)
        rows.apply(self.view)

    def context(self, member: str, desk: str = "first", roles: frozenset[str] | None = None) -> ApplyContext:
        """Return where the next event of a member stands; `desk` names the key that signs."""
        own: frozenset[str] = frozenset(ROLES[member])
        return ApplyContext(
            chain_id=ZERO_HASH,
            epoch=Epoch(0),
            rules=RULES_FIRST,
            member=MemberId(member),
            source=SourceKey(sha256(f"{member} {desk}".encode()).digest()),
            roles=own,
            source_roles=own if roles is None else roles,
            event_id=EventId(sha256(f"event {self.submitted}".encode()).digest()),
            reference=self.submitted.to_bytes(16, "big"),
            height=Height(1),
            time_ms=TimeMs(self.now_ms),
            policy=self.policy,
        )

    def submit(self, member: str, body: Body, desk: str = "first", roles: frozenset[str] | None = None) -> str:
        """Apply an event as execution would; return the rule that it broke, empty where it was applied."""
        self.submitted += 1
        transaction = Transaction(self.view)
        try:
            apply_event(self.context(member, desk, roles), transaction, body)
        except RuleBroken as broken:
            return broken.rule
        transaction.apply(self.view)
        return ""

    def must(self, member: str, body: Body, desk: str = "first") -> None:
        """Apply an event that has to be admitted."""
        rule = self.submit(member, body, desk)
        assert rule == "", f"{body} broke {rule}"

    def application(self, application: str = APPLICATION) -> Application:
        """Return an application that is there."""
        found = read_application(self.view, application)
        assert found is not None
        return found

    def certificate(self, number: str = NUMBER) -> Certificate:
        """Return a certificate that is there."""
        found = read_certificate(self.view, number)
        assert found is not None
        return found

    def bring_to(self, state: State) -> None:
        """Bring bank-a's application, or its certificate, to a state, an event a minute."""
        for member, desk, body in events_to(state):
            self.now_ms += 60_000
            self.must(member, body, desk)
        if state is State.EXPIRED:
            self.now_ms = self.certificate().valid_until_ms


def grant(
    application: str = APPLICATION,
    number: str = NUMBER,
    *,
    valid_from_ms: int | None = None,
    valid_until_ms: int | None = None,
    valid_months: int | None = None,
) -> Grant:
    """Return a grant, its terms left to the policy where none are given."""
    return Grant(application, number, valid_from_ms, valid_until_ms, valid_months)


def suspend(number: str = NUMBER, until_ms: int | None = None, days: int | None = None) -> Suspend:
    """Return a suspension, its end left to the policy where none is given."""
    return Suspend(number, "inspection_failed", until_ms, days)


EVENTS: dict[str, tuple[str, str, Body]] = {
    "certificate.apply": ("bank-a", "first", Apply(APPLICATION, "Bank A", PRODUCT, CATEGORY, DOCUMENTS)),
    "certificate.accept": ("cb", "first", Accept(APPLICATION)),
    "certificate.type_test": ("lab", "first", TypeTest(APPLICATION, True, EXAMINATION)),
    "certificate.site_check": ("ins", "first", SiteCheck(APPLICATION, True, INSPECTION)),
    "certificate.review": ("cb", "reviewer", Review(APPLICATION, REPORT)),
    "certificate.grant": ("cb", "decider", grant()),
    "certificate.refuse": ("cb", "decider", Refuse(APPLICATION, "nonconformity")),
    "certificate.suspend": ("cb", "first", suspend()),
    "certificate.restore": ("cb", "first", Restore(NUMBER, CORRECTION)),
    "certificate.revoke": ("cb", "first", Revoke(NUMBER, "mark_misused", None)),
    "certificate.cancel": ("cb", "first", Cancel(NUMBER, REQUEST)),
    "certificate.renew": ("bank-a", "first", Renew("bank-a.0002", NUMBER, DOCUMENTS)),
}
"""An event of each kind that is admitted in its state: member, key, body."""

_ROAD = ("apply", "accept", "type_test", "site_check", "review")
_LENGTHS = {
    State.APPLIED: 1,
    State.ACCEPTED: 2,
    State.TYPE_TESTED: 3,
    State.SITE_CHECKED: 4,
    State.REVIEWED: 5,
}
_ENDS = {
    State.GRANTED: ("grant",),
    State.ACTIVE: ("grant",),
    State.EXPIRED: ("grant",),
    State.REFUSED: ("refuse",),
    State.SUSPENDED: ("grant", "suspend"),
    State.REVOKED: ("grant", "revoke"),
    State.CANCELLED: ("grant", "cancel"),
}


def events_to(state: State) -> list[tuple[str, str, Body]]:
    """Return the events that lead to a state from nothing."""
    names = _ROAD[: _LENGTHS.get(state, len(_ROAD))] + _ENDS.get(state, ())
    return [EVENTS[f"certificate.{name}"] for name in names]
