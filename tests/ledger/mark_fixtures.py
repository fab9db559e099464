"""The consortium of the mark's tests: a granted certificate with a scope, its licence, and events about the mark."""

from __future__ import annotations

from hashlib import sha256

from ledger.kinds import RuleBroken
from ledger.mark_bodies import (
    DecideMisuse,
    LicenseMark,
    MarkBody,
    MarkDocument,
    Medium,
    Misuse,
    MisuseFinding,
    ReportMisuse,
    UseMark,
    WithdrawMark,
)
from ledger.mark_events import MARK_KIND_OF, apply_mark_event
from ledger.mark_records import MarkLicense, MarkStanding, MisuseReport, mark_standing, read_license, read_report
from ledger.scheme_policy import MarkUse, SchemePolicy, put_scheme_policy
from ledger.state import Transaction
from tests.ledger.certificate_fixtures import NUMBER, ROLES
from tests.ledger.scheme_fixtures import SCOPE, Scheme

PLAIN = (Medium.PRODUCT, Medium.PACKAGING, Medium.MANUAL, Medium.APP, Medium.WEB)


def document(text: str, custodian: str = "cb") -> MarkDocument:
    """Return a document whose digest follows from its text."""
    return MarkDocument(sha256(text.encode()).digest(), custodian, 1_000)


LICENSE = LicenseMark(NUMBER, PLAIN, None, document("terms"))
USE = UseMark(NUMBER, Medium.PACKAGING, SCOPE[:1], document("artwork", "bank-a"))
REPORT = ReportMisuse(NUMBER, None, None, Medium.WEB, Misuse.BEYOND_SCOPE, (document("screenshot", "bank-b"),))
WITHDRAW = WithdrawMark(NUMBER, "terms_broken", None)
DECIDE = DecideMisuse(1, MisuseFinding.CONFIRMED, "seen_by_us", ())


class Marked(Scheme):
    """The consortium with bank-a's certificate in force, by the third rules."""

    def __init__(self) -> None:
        super().__init__()
        self.granted()
        self.now_ms += 60_000

    def mark(self, member: str, body: MarkBody, desk: str = "first", roles: frozenset[str] | None = None) -> str:
        """Apply an event about the mark as execution would; return the rule that it broke, empty where applied."""
        self.submitted += 1
        if not MARK_KIND_OF[type(body)].roles & frozenset(ROLES[member] if roles is None else roles):
            return "not_permitted"
        transaction = Transaction(self.view)
        try:
            apply_mark_event(self.context(member, desk, roles), transaction, body)
        except RuleBroken as broken:
            return broken.rule
        transaction.apply(self.view)
        return ""

    def marked(self, member: str, body: MarkBody, desk: str = "first") -> None:
        """Apply an event about the mark that has to be admitted."""
        rule = self.mark(member, body, desk)
        assert rule == "", f"{body} broke {rule}"

    def licensed(self, *media: Medium) -> Marked:
        """License the mark."""
        self.marked("cb", LicenseMark(NUMBER, media or PLAIN, None, document("terms")))
        return self

    def allow(self, use: MarkUse) -> None:
        """Let the scheme's policy be this."""
        rows = Transaction(self.view)
        put_scheme_policy(rows, SchemePolicy(mark_use=use))
        rows.apply(self.view)

    def license(self) -> MarkLicense:
        """Return the licence that is there."""
        found = read_license(self.view, NUMBER)
        assert found is not None
        return found

    def report(self, number: int = 1) -> MisuseReport:
        """Return a report that is there."""
        found = read_report(self.view, number)
        assert found is not None
        return found

    def standing(self) -> MarkStanding:
        """Return what the mark is worth now."""
        return mark_standing(read_license(self.view, NUMBER), self.certificate(), self.now_ms)
