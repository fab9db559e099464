"""What an auditor learns from the log's entries: evidence that it verifies by itself, and what ends when."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from chainnode.audit_deadlines import RETURNED, UNPROVED, Book, Relevant, parse_book
from chainnode.audit_sources import OutOfTime
from chainnode.audit_state import Heads
from chainnode.auditor import Auditor, Limits, NodeRound
from chainnode.client import CallRefused
from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import Appeal, Cancel, DecideAppeal, Restore, Surveil, Suspend
from ledger.entry_proofs import verify_entry
from ledger.evidence_bodies import SignedVote, VotesEvidence
from ledger.governance_bodies import Withdraw
from ledger.policy import DAY_MS
from primitives.errors import EncodingError, InputError
from tests.chainnode.auditor_fixtures import Desk
from tests.chainnode.mirror_fixtures import Served, chain, grow, policy_of
from tests.ledger.certificate_fixtures import CORRECTION, NUMBER, REQUEST, State, piece
from tests.ledger.certifying_fixtures import Certifying
from tests.ledger.scheme_chain_fixtures import SchemeChain
from tests.ledger.scheme_fixtures import LETTER, OPINION, REVOKE, VISIT
from tests.rpc.conftest import MemoryNode
from tests.rpc.test_evidence import batches, cosignatures, record, votes

A, B = "http://a", "http://b"
HORIZON = Limits(stale_s=10**9, warn_days=3_650)


@pytest.fixture
def node() -> MemoryNode:
    return chain(5, 3)


@pytest.fixture
def desk(node: MemoryNode, tmp_path: Path) -> Desk:
    return Desk(tmp_path, policy_of(node), node.now, entries=True)


# -- evidence


def test_evidence_on_the_chain_is_verified_and_told_once_with_the_proof_that_it_stands_there(
    node: MemoryNode, desk: Desk
) -> None:
    source = Served(node.reader, A)
    assert desk.look(source) == []
    record(node, votes(node), cosignatures(node), batches(node))
    grow(node, 2)
    told = desk.look(source)
    assert [row["kind"] for row in told] == ["new_evidence"] * 3
    assert [row["message"].split(" signed")[0] for row in told[:2]] == ["node-bank-b of bank-b"] * 2
    assert told[2]["message"].startswith("source ")
    for row in told:
        verdict = verify_entry(Path(row["proof"]).read_text(), desk.policy)
        assert verdict.leaf.hex() == row["subject"]
    (desk.directory / "deadlines.json").unlink(missing_ok=True)
    assert desk.look(source, rounds=2) == [], "also where all entries are read again"


def test_what_poses_as_evidence_is_none(node: MemoryNode, desk: Desk) -> None:
    good = votes(node)
    assert isinstance(good, VotesEvidence)
    unsigned = replace(good, second=SignedVote(good.second.block_hash, bytes(64)))
    nobody = replace(good, validator=9)
    record(node, unsigned, nobody)
    node.checkpoint()
    assert desk.look(Served(node.reader, A)) == []


def test_entries_that_are_not_the_logs_are_a_lie_and_are_not_followed(node: MemoryNode, desk: Desk) -> None:
    record(node, votes(node))
    node.checkpoint()
    liar = Served(node.reader, B, lies={"tile/entries": lambda data: b"\0\0" * 256})
    assert [row["kind"] for row in desk.look(liar)] == ["inconsistent", "no_entries"]
    assert desk.kinds(Served(node.reader, A), liar) == ["new_evidence raised", "no_entries cleared"]


def test_a_long_log_is_followed_in_several_rounds_and_goes_on_after_a_restart(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chainnode.audit_entries.BUNDLES_A_ROUND", 1)
    monkeypatch.setattr("chainnode.audit_entries.KEEP_ENTRIES", 1)
    node = chain(300, 300, 300)
    record(node, votes(node))
    node.checkpoint()
    source = Served(node.reader, A)
    rounds: list[str] = []
    for _ in range(5):
        rounds += desk.kinds(source)
        source.asked.clear()
    assert rounds == ["new_evidence raised"]
    desk.look(source)
    assert "tile/entries/000" not in source.asked


class Dawdler(Served):
    """Gives everything, until the time of its round is used up."""

    left = 0

    def get(self, path: str, size_max: int) -> bytes | None:
        if path.startswith(("tile/", "events/")):
            if not self.left:
                raise OutOfTime("no time left in this round", where=self.name)
            self.left -= 1
        return super().get(path, size_max)


def newer(auditor: Auditor, node: MemoryNode) -> Heads:
    """Return an auditor's heads with a node's newest checkpoint, as its first source gave it."""
    note = Served(node.reader).honest("checkpoint")
    assert note is not None
    seen = auditor.trust.accept(note.decode(), A, lambda epoch: None)
    return dataclasses.replace(auditor.heads, newest=seen)


@pytest.mark.parametrize("left", [0, 1, 3, 5])
def test_who_dawdles_holds_nobody_up_in_following_the_entries(node: MemoryNode, desk: Desk, left: int) -> None:
    desk.look(Served(node.reader, A))
    record(node, votes(node))
    node.checkpoint()
    slow, fast = Dawdler(node.reader, A), Served(node.reader, B)
    with desk.run(slow, fast) as auditor:
        auditor.heads = newer(auditor, node)
        auditor.nodes = {A: NodeRound(), B: NodeRound()}
        slow.left = left
        auditor._follow()
        assert [row["kind"] for row in desk.told] == ["new_evidence"]


def test_entries_that_only_a_late_one_has_are_for_another_round(node: MemoryNode, desk: Desk) -> None:
    slow = Dawdler(node.reader, A)
    without = Served(node.reader, B, lies={"tile/entries": lambda data: CallRefused({"code": 1})})
    slow.left = 9
    with desk.run(slow, without) as auditor:
        auditor.round()
        record(node, votes(node))
        node.checkpoint()
        auditor.heads = newer(auditor, node)
        slow.left = 0
        auditor._follow()
        assert desk.told == [], "not that nobody has them"
        slow.left = 9
        auditor._follow()
        assert [row["kind"] for row in desk.told] == ["new_evidence"]


# -- what ends


def book_of(desk: Desk) -> Book:
    path = desk.directory / "deadlines.json"
    return parse_book(path.read_bytes(), where=str(path))


def ends(desk: Desk, *sources: Served) -> list[str]:
    return [
        f"{row['state']} {row['message'].split(' at ')[0]}" for row in desk.look(*sources) if row["kind"] == "deadline"
    ]


@pytest.fixture
def certifying(tmp_path: Path) -> tuple[Certifying, Served, Desk]:
    certifying = Certifying()
    certifying.bring_to(State.ACTIVE)
    certifying.stable()
    desk = Desk(tmp_path, certifying.policy(0), certifying.now_ms, HORIZON, entries=True)
    return certifying, Served(certifying.reader, A), desk


def test_a_certificates_end_and_its_suspensions_are_told_until_they_are_over(
    certifying: tuple[Certifying, Served, Desk],
) -> None:
    made, source, desk = certifying
    assert made.block(("bank-a/first", Suspend(NUMBER, "inspection_failed", None, 3))).outcomes[0].rule
    made.stable()
    assert ends(desk, source) == [f"raised certificate {NUMBER} ends"], "a suspension that was rejected is none"
    made.act("cb", "first", Suspend(NUMBER, "inspection_failed", None, 3))
    made.stable()
    assert ends(desk, source) == [f"raised suspension of {NUMBER} ends"]
    desk.now_ms = made.now_ms + 4 * DAY_MS
    (row, over) = (row for row in desk.look(source) if row["kind"] == "deadline")
    assert "revocation is due" in row["message"]
    assert over["state"] == "cleared"
    desk.now_ms = made.now_ms
    desk.look(source)
    made.act("cb", "first", Restore(NUMBER, CORRECTION))
    made.stable()
    assert ends(desk, source) == [f"cleared suspension of {NUMBER} ends"]
    assert made.block(("bank-a/first", Cancel(NUMBER, REQUEST))).outcomes[0].rule
    made.stable()
    assert ends(desk, source) == [], "a cancellation that was rejected is none"
    made.act("cb", "first", Cancel(NUMBER, REQUEST))
    made.stable()
    assert ends(desk, source) == [f"cleared certificate {NUMBER} ends"]


def test_without_receipts_what_begins_counts_and_what_ends_does_not(
    certifying: tuple[Certifying, Served, Desk],
) -> None:
    made, source, desk = certifying
    source.lies["events/"] = lambda data: None
    made.act("cb", "first", Cancel(NUMBER, REQUEST))
    made.stable()
    (row,) = (row for row in desk.look(source) if row["kind"] == "deadline")
    assert "no receipt proves that it was applied" in row["message"]


def test_receipts_are_asked_of_the_others_where_one_is_late(certifying: tuple[Certifying, Served, Desk]) -> None:
    made, _, desk = certifying
    late = Served(made.reader, A, lies={"events/": lambda data: OutOfTime("no time left")})
    assert ends(desk, late) == []
    assert ends(desk, late, Served(made.reader, B)) == [f"raised certificate {NUMBER} ends"]


def test_a_receipt_of_another_event_or_a_false_one_proves_nothing(
    certifying: tuple[Certifying, Served, Desk],
) -> None:
    made, source, desk = certifying
    rejected = made.block(("bank-a/first", Cancel(NUMBER, REQUEST)))
    applied = made.act("cb", "first", Suspend(NUMBER, "inspection_failed", None, 3))
    made.stable()
    other = source.honest(f"events/{applied.hex()}.tlog-proof")
    source.lies[f"events/{bytes(rejected.event_ids[0]).hex()}"] = lambda data: other
    liar = Served(made.reader, B, lies={"events/": lambda data: (data or b"")[:-9]})
    assert ends(desk, liar, source) == [f"raised suspension of {NUMBER} ends", f"raised certificate {NUMBER} ends"]


def test_what_an_appeal_brings_back_is_told_again(tmp_path: Path) -> None:
    made = SchemeChain().granted()
    made.stable()
    desk = Desk(tmp_path, made.policy(0), made.now_ms, HORIZON, entries=True)
    source = Served(made.reader, A)
    end, suspended = f"certificate {NUMBER} ends", f"suspension of {NUMBER} ends"
    assert ends(desk, source) == [f"raised {end}"]
    made.act("ins", "first", Surveil(NUMBER, False, True, ("seal_broken",), made.now_ms + 3 * DAY_MS, VISIT))
    again = piece(EvidenceKind.SITE_CHECK, "again")
    made.act("ins", "first", Surveil(NUMBER, False, True, ("seal_broken",), made.now_ms + 9 * DAY_MS, (again,)))
    made.stable()
    assert ends(desk, source) == [f"raised {suspended}"]
    (until_ms,) = (item[0] for name, item in book_of(desk).ends.items() if name.startswith("suspension"))
    suspension = made.certificate_at().suspension
    assert suspension is not None
    assert until_ms == suspension.until_ms, "the second found it suspended already"
    made.act("cb", "first", made.signed(REVOKE))
    made.stable()
    assert ends(desk, source) == [f"cleared {end}", f"cleared {suspended}"]
    assert sorted(book_of(desk).withdrawn) == [f"certificate {NUMBER}", f"suspension of {NUMBER}"]
    made.act("bank-a", "first", Appeal(NUMBER, "disagrees", LETTER))
    assert made.rule_of("bank-a/first", DecideAppeal(NUMBER, True, OPINION)) == "not_permitted"
    made.stable()
    assert ends(desk, source) == []
    made.act("regulator", "first", DecideAppeal(NUMBER, True, OPINION))
    made.stable()
    assert ends(desk, source) == [f"raised {suspended}", f"raised {end}"]
    assert book_of(desk).withdrawn == {}


def test_an_appeal_that_may_have_ended_a_suspension_is_told_with_it() -> None:
    book = Book()
    book.take(Relevant("suspension of X", 1_000, "event", doubts=0))
    book.take(Relevant("certificate X", None, "appeal", doubts=RETURNED))
    (finding,) = book.ending(0, 10_000)
    assert "an appeal was upheld since" in finding.message
    book.withdrawn["certificate Y"] = (1_000, "event", 0)
    book.ending(20_000, 10_000)
    assert book.withdrawn == {}, "what would have ended long ago is forgotten"


def test_proposals_end_unless_they_are_taken_back(tmp_path: Path) -> None:
    council = Certifying()
    desk = Desk(tmp_path, council.policy(0), council.now_ms, HORIZON, entries=True)
    source = Served(council.reader, A)
    proposal = council.propose(council.rekeying(2, 9))
    council.stable()
    assert ends(desk, source) == [f"raised proposal {proposal.hex()} ends"]
    assert council.say("bank-0", Withdraw(proposal)).applied
    council.stable()
    assert ends(desk, source) == [f"cleared proposal {proposal.hex()} ends"]


def test_ends_further_away_are_kept_and_told_in_time(certifying: tuple[Certifying, Served, Desk]) -> None:
    _, source, desk = certifying
    desk.limits = Limits(stale_s=10**9, warn_days=30)
    assert ends(desk, source) == []
    (end,) = json.loads((desk.directory / "deadlines.json").read_text())["ends"].values()
    desk.now_ms = end[0] - 29 * DAY_MS
    assert ends(desk, source) == [f"raised certificate {NUMBER} ends"]
    desk.now_ms = end[0] + 31 * DAY_MS
    assert ends(desk, source) == [f"cleared certificate {NUMBER} ends"], "a month after its end it is forgotten"


def test_a_book_holds_no_more_ends_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainnode.audit_deadlines.DEADLINES_MAX", 3)
    monkeypatch.setattr("chainnode.audit_deadlines.TOLD_MAX", 2)
    book = Book()
    for number in range(9):
        book.take(Relevant(f"proposal {number}", 1_000 + number, "", doubts=0))
    assert list(book.ends) == ["proposal 0", "proposal 1", "proposal 2"]
    book.take(Relevant("proposal 1", 5, "", doubts=0))
    assert [finding.subject for finding in book.ending(0, 10_000)] == ["proposal 1 5", "proposal 0 1000"]


def test_no_event_without_a_receipt_puts_an_end_off() -> None:
    book = Book()
    book.take(Relevant("certificate X", 1_000, "first", doubts=0))
    book.take(Relevant("certificate X", 2_000, "rejected", doubts=UNPROVED))
    assert book.ends == {"certificate X": (1_000, "first", 0)}
    book.take(Relevant("certificate X", 500, "sooner", doubts=UNPROVED))
    assert book.ends == {"certificate X": (500, "sooner", UNPROVED)}
    book.take(Relevant("certificate X", 2_000, "proved", doubts=0))
    assert book.ends == {"certificate X": (2_000, "proved", 0)}


def test_a_header_of_a_later_release_is_told_and_stops_nothing_else(
    node: MemoryNode, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise EncodingError("another record", where="BlockHeader")

    with monkeypatch.context() as later:
        later.setattr("chainnode.audit_entries.decode", unknown)
        assert desk.kinds(Served(node.reader, A), rounds=2) == ["no_entries raised"]
    assert desk.kinds(Served(node.reader, A)) == ["no_entries cleared"]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"size": -1, "time_ms": 0, "ends": {}}',
        '{"size": true, "time_ms": 0, "ends": {}}',
        '{"size": 0, "time_ms": 0, "ends": {}, "withdrawn": []}',
        '{"size": 0, "time_ms": 0, "ends": {}, "withdrawn": {"a": [1]}}',
        '{"size": 0, "time_ms": 0, "ends": {"a": [1]}}',
        '{"size": 0, "time_ms": 0, "ends": {"a": ["1", "", 0]}}',
        f'{{"size": 0, "time_ms": 0, "ends": {{"a": [{10**15}, "", 0]}}}}',
    ],
)
def test_what_is_no_book_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="book"):
        parse_book(text.encode(), where="book")
