"""A consortium with certificates to be drawn: any number at once, blocks with hashes, and submitting any kind."""

from __future__ import annotations

from dataclasses import replace as with_fields
from hashlib import sha256

from msgspec.structs import replace

from ledger.certificate_bodies import Body, ReportInspection
from ledger.certificate_records import Certificate, certificate_key
from ledger.inspection_bodies import (
    AnnounceInspection,
    CloseInspection,
    CommitInspection,
    DrawBody,
    DrawCategory,
    DrawInspection,
    RevealInspection,
)
from ledger.inspection_closing import close_commitments
from ledger.inspection_records import Inspection, Phase, read_inspection
from ledger.inspection_selection import commitment_of
from ledger.inspection_standing import keep_standings
from ledger.kinds import ApplyContext, KindSpec, RuleBroken
from ledger.recent_blocks import note_block
from ledger.registry import KINDS
from ledger.scheme_policy import SCHEME_POLICY_KEY, SchemePolicy
from ledger.state import Transaction
from primitives.encoding import Record
from primitives.ids import ZERO_HASH, Hash, Height
from tests.ledger.certificate_fixtures import CATEGORY, NUMBER
from tests.ledger.scheme_fixtures import VISIT, Scheme

DRAW = "regulator.2026-1"
COMMITTERS = ("auditor", "cb", "ins", "lab", "regulator")
MINUTE_MS = 60_000
SPECS = {type_: spec for spec in KINDS.values() for type_ in spec.schemas.values()}


def secret_of(member: str, salt: str = "") -> bytes:
    """Return a member's secret, the same in every run."""
    return sha256(f"secret {member} {salt}".encode()).digest()


def number_of(serial: int, category: int = CATEGORY) -> str:
    """Return a certificate's number."""
    return f"FTP-2026-{category:02}-{serial:06}"


class Inspections(Scheme):
    """The consortium of the scheme's tests, with blocks: each call is an event of a block of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.height = 0
        self.spec: KindSpec | None = None
        self.put(SCHEME_POLICY_KEY, SchemePolicy(inspection_window_s_min=MINUTE_MS // 1_000))
        self.next_block()

    def next_block(self, parent: bytes | None = None) -> None:
        """Begin the next block; its parent has this hash, by default one that follows from its height."""
        found = sha256(f"block {self.height}".encode()).digest() if parent is None else parent
        note_block(self.view, self.height, Hash(found))
        self.height += 1
        close_commitments(self.view, self.height, self.now_ms, Hash(found))

    def context(self, member: str, desk: str = "first", roles: frozenset[str] | None = None) -> ApplyContext:
        """Return where the next event of a member stands."""
        return with_fields(super().context(member, desk, roles), height=Height(self.height))

    def submit(
        self,
        member: str,
        body: Body | DrawBody,
        desk: str = "first",
        roles: frozenset[str] | None = None,
        *,
        same_block: bool = False,
    ) -> str:
        """Apply an event of any kind as execution would, in a block of its own unless it goes into the present one."""
        if not same_block:
            self.next_block()
        self.submitted += 1
        context, transaction, spec = self.context(member, desk, roles), Transaction(self.view), SPECS[type(body)]
        if spec.roles and spec.roles.isdisjoint(context.source_roles):
            return "not_permitted"
        assert spec.apply is not None
        try:
            spec.apply(context, transaction, body)
            keep_standings(transaction, self.view, self.height)
        except RuleBroken as broken:
            return broken.rule
        transaction.apply(self.view)
        return ""

    def next_event_id(self) -> bytes:
        """Return the id that the next submitted event has."""
        return sha256(f"event {self.submitted + 1}".encode()).digest()

    def must(self, member: str, body: Body | DrawBody, desk: str = "first") -> None:
        """Apply an event that has to be admitted."""
        rule = self.submit(member, body, desk)
        assert rule == "", f"{body} broke {rule}"

    def certified(self, *numbers: str) -> Inspections:
        """Bring certificates into force: that of the fixtures, and copies of it under these numbers."""
        self.granted()
        pattern = self.certificate()
        rows = Transaction(self.view)
        for number in numbers:
            rows.put(certificate_key(number), replace(pattern, number=number, category=int(number.split("-")[2])))
        rows.apply(self.view)
        return self

    def put(self, key: str, record: Record) -> None:
        """Write a row as if an event had."""
        rows = Transaction(self.view)
        rows.put(key, record)
        rows.apply(self.view)

    def change(self, number: str, **fields: object) -> None:
        """Write a certificate's record with other fields as an event would."""
        self.next_block()
        rows = Transaction(self.view)
        found = self.view.get(certificate_key(number), Certificate)
        assert found is not None
        rows.put(certificate_key(number), replace(found, **fields))
        keep_standings(rows, self.view, self.height)
        rows.apply(self.view)

    def draw(self, draw: str = DRAW) -> Inspection:
        """Return a draw that is there."""
        found = read_inspection(self.view, draw)
        assert found is not None
        return found

    def announced(self, draw: str = DRAW, count: int = 3, **change: object) -> Inspections:
        """Announce a draw: commitments for a minute, reveals for a minute more."""
        self.must(draw.partition(".")[0], announcement(self, draw, count, **change))
        return self

    def committed(self, draw: str = DRAW, members: tuple[str, ...] = COMMITTERS) -> Inspections:
        """Let members commit."""
        for member in members:
            self.must(member, CommitInspection(draw, commitment(member, draw)))
        return self

    def closed(self, draw: str = DRAW) -> Inspections:
        """Let the time for commitments end; the present block is the one that closed the draw, unless another was."""
        if self.draw(draw).closing is None:
            self.now_ms = max(self.now_ms, self.draw(draw).commit_until_ms)
            self.must("bank-b", CloseInspection(draw))
        return self

    def revealed(self, draw: str = DRAW, members: tuple[str, ...] = COMMITTERS) -> Inspections:
        """Let members reveal."""
        for member in members:
            self.must(member, RevealInspection(draw, secret_of(member, draw)))
        return self

    def drawn(self, draw: str = DRAW) -> Inspections:
        """Go on with a draw up to its end."""
        while self.draw(draw).phase in (Phase.CLOSED, Phase.DRAWING):
            self.must("bank-c", DrawInspection(draw))
        return self

    def selected(self, draw: str = DRAW) -> Inspections:
        """Announce a draw and bring it to its end, with the secrets of all that commit."""
        return self.announced(draw).committed(draw).closed(draw).revealed(draw).drawn(draw)


def announcement(world: Inspections, draw: str = DRAW, count: int = 3, **change: object) -> AnnounceInspection:
    """Return an announcement that is admitted now, with some fields changed."""
    body = AnnounceInspection(
        draw=draw,
        categories=(DrawCategory(CATEGORY, 1),),
        count=count,
        commit_until_ms=world.now_ms + MINUTE_MS,
        reveal_until_ms=world.now_ms + 2 * MINUTE_MS,
        report_days=30,
        replaces=None,
    )
    return replace(body, **change)


def commitment(member: str, draw: str = DRAW, secret: bytes | None = None) -> bytes:
    """Return a member's commitment to its secret."""
    return commitment_of(ZERO_HASH, draw, member, secret_of(member, draw) if secret is None else secret)


PASSED = ReportInspection(DRAW, NUMBER, True, False, (), None, VISIT)
FAILED = ReportInspection(DRAW, NUMBER, False, False, ("seal_broken",), None, VISIT)
GRAVE = replace(FAILED, grave=True)
