"""Members, their sources and officers by governance: what may be changed, and what a change does at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from chainnode.application import LedgerApplication
from ledger.batches import ParsedBatch, build_batch, parse_batch
from ledger.event_json import record_from_json, record_to_json
from ledger.events import Event
from ledger.execution import BlockRefused
from ledger.genesis import GenesisMember, GenesisSource
from ledger.governance import RETIRE_SOURCE, WITHDRAW
from ledger.governance_bodies import (
    Action,
    ActivateRules,
    AddMember,
    AddSource,
    ExcludeMember,
    Propose,
    RemoveSource,
    RemoveValidator,
    RetireSource,
    SetOfficers,
    Withdraw,
    retirement_statement,
    source_statement,
)
from ledger.governance_errors import RULES, rule_of
from ledger.governance_records import Stage
from ledger.member_rules import is_pem_certificate
from ledger.members import (
    GOVERNANCE_ROLE,
    Officer,
    Role,
    member_of_agent,
    read_member,
    read_source,
    source_grant,
    sources_of,
)
from ledger.pool import Pool
from p2p.certificates import certificate_pem, make_member_ca
from primitives.block import Block, CommittedBlock
from primitives.encoding import encode
from primitives.ids import Hash, SourceKey, TimeMs
from tests.ledger.governance_fixtures import START_MS, Council, key_of

NEW = "bank-new"
AGENT = "NEWBCNBJ"
CA = certificate_pem(make_member_ca(NEW, START_MS)[1])


def key(name: str, use: str) -> bytes:
    return key_of(name, use).public


def newcomer(**change: object) -> AddMember:
    """Return the admission of a bank with a CA, a source, an officer and a code."""
    entry = GenesisMember(
        NEW,
        "New Bank",
        (Role.BANK,),
        CA,
        (AGENT,),
        (GenesisSource(key(NEW, "source"), (Role.BANK,)),),
        (Officer(key(NEW, "officer"), GOVERNANCE_ROLE),),
    )
    return AddMember(replace(entry, **change))


def further(council: Council, member: str = "bank-1", use: str = "source2", **change: object) -> AddSource:
    """Return the action that gives a member a further source."""
    signing = key_of(member, use)
    proof = signing.sign(source_statement(council.chain_id, member, signing.public))
    return replace(AddSource(member, signing.public, (Role.BANK,), proof), **change)


def officers(*keys: bytes) -> tuple[Officer, ...]:
    return tuple(Officer(item, GOVERNANCE_ROLE) for item in keys)


def retirement(council: Council, member: str, *, use: str = "officer", source: bytes | None = None) -> RetireSource:
    """Return an officer's word that its member's source is to stop."""
    target = key(member, "source") if source is None else source
    signing = key_of(member, use)
    return RetireSource(target, signing.public, signing.sign(retirement_statement(council.chain_id, target)))


def passed(council: Council, action: Action, *voters: int) -> bytes:
    """Propose an action and vote it through."""
    proposal = council.propose(action)
    council.vote(proposal, *(voters or (0, 1, 2)))
    assert council.stage(proposal) is Stage.ENACTED, council.proposal(proposal).failure
    return proposal


def batch_of(council: Council, member: str, use: str = "source", number: int = 0) -> ParsedBatch:
    """Return a batch that a key of a member signed as its next, or further ahead, with an event of no effect."""
    signing = key_of(member, use)
    first, previous = council.chain.next_number(council.chain.tip_hash, signing.public)
    event = Event(member, bytes([number]) * 16, council.now_ms + 1_000, WITHDRAW, 1, encode(Withdraw(bytes(32))))
    raw = build_batch(
        [encode(event)],
        chain_id=council.chain_id,
        member=member,
        key=signing,
        number=first + number,
        previous=previous if number == 0 else Hash(batch_of(council, member, use, number - 1).hash),
        time_ms=TimeMs(council.now_ms),
    )
    return parse_batch(raw)


# ---- what may be changed

NOT_POSSIBLE: list[tuple[str, Callable[[Council], Action]]] = [
    ("member_known", lambda council: newcomer(id="bank-1")),
    ("agent_taken", lambda council: newcomer(agents=(AGENT, AGENT))),
    ("bad_member", lambda council: newcomer(roles=())),
    ("bad_member", lambda council: newcomer(roles=(Role.BANK, Role.BANK))),
    ("bad_member", lambda council: newcomer(sources=(GenesisSource(key(NEW, "source"), ()),))),
    ("bad_member", lambda council: newcomer(sources=(GenesisSource(key(NEW, "source"), (Role.AUDITOR,)),))),
    ("bad_ca", lambda council: newcomer(ca_certificate="a CA")),
    ("bad_ca", lambda council: newcomer(ca_certificate=CA + CA)),
    ("bad_ca", lambda council: newcomer(ca_certificate=CA.replace("\n", "\r\n"))),
    ("bad_ca", lambda council: newcomer(ca_certificate="\n" + CA)),
    ("bad_key", lambda council: newcomer(officers=officers(bytes(32)))),
    ("bad_key", lambda council: newcomer(officers=officers(key(NEW, "source")))),
    ("key_taken", lambda council: newcomer(officers=officers(key("bank-1", "officer")))),
    ("key_taken", lambda council: newcomer(officers=officers(key("bank-1", "source")))),
    ("key_taken", lambda council: newcomer(officers=officers(key("node-1", "vote")))),
    ("key_taken", lambda council: newcomer(sources=(GenesisSource(key("bank-4", "source"), (Role.BANK,)),))),
    ("unknown_member", lambda council: ExcludeMember("bank-9")),
    ("has_validator", lambda council: ExcludeMember("bank-1")),
    ("unknown_member", lambda council: further(council, "bank-9")),
    ("bad_member", lambda council: further(council, roles=())),
    ("bad_member", lambda council: further(council, roles=(Role.OPERATOR,))),
    ("key_taken", lambda council: further(council, use="source")),
    ("key_taken", lambda council: further(council, use="clerk")),
    ("bad_key", lambda council: further(council, key=bytes(32))),
    ("bad_signature", lambda council: further(council, proof=bytes(64))),
    ("bad_signature", lambda council: replace(further(council), member="bank-2")),
    ("unknown_source", lambda council: RemoveSource(key("bank-1", "source2"))),
    ("unknown_member", lambda council: SetOfficers("bank-9", ())),
    ("key_taken", lambda council: SetOfficers("bank-1", officers(key("bank-2", "officer")))),
    ("key_taken", lambda council: SetOfficers("bank-1", officers(key("bank-1", "source")))),
    ("bad_key", lambda council: SetOfficers("bank-1", officers(key("bank-1", "officer"), key("bank-1", "officer")))),
]


@pytest.mark.parametrize(("rule", "action"), NOT_POSSIBLE, ids=lambda value: value if isinstance(value, str) else "")
def test_a_change_of_members_that_may_not_be_is_refused_when_it_is_proposed(
    rule: str, action: Callable[[Council], Action]
) -> None:
    council = Council(4)
    assert council.refused(action(council)) == rule
    assert rule in RULES


def test_the_root_cas_form_is_judged_and_nothing_that_hangs_on_a_library() -> None:
    assert is_pem_certificate(CA)
    body = CA.removeprefix("-----BEGIN CERTIFICATE-----\n").removesuffix("-----END CERTIFICATE-----\n")
    assert not is_pem_certificate(CA.replace("\n", ""))
    assert not is_pem_certificate(CA.replace(body, body.replace("\n", "") + "\n"))
    assert not is_pem_certificate(CA.replace(body, "AAAA\n"))
    assert not is_pem_certificate(CA.replace(body, "é" * 64 + "\n"))


def test_only_voters_and_whose_own_matter_it_is_propose_changes_of_members() -> None:
    council = Council(4, outsiders=2)
    assert council.refused(newcomer(), "bank-4") == "not_a_party"
    assert council.refused(ExcludeMember("bank-5"), "bank-4") == "not_a_party"
    assert council.refused(RemoveSource(key("bank-5", "source")), "bank-4") == "not_a_party"
    assert council.refused(further(council, "bank-5"), "bank-4") == "not_a_party"
    council.propose(further(council, "bank-4"), "bank-4")
    council.propose(ExcludeMember("bank-5"), "bank-5")


def test_a_member_proposes_one_change_of_the_same_and_of_several_members_one_takes_effect() -> None:
    council = Council(4)
    first = council.propose(newcomer())
    assert council.refused(newcomer(name="Another")) == "pending_change"
    second = council.propose(newcomer(name="Another"), "bank-1")
    council.vote(first, 0, 1, 2)
    council.vote(second, 0, 1, 2)
    assert council.stage(second) is Stage.FAILED
    assert rule_of(council.proposal(second).failure) == "member_known"
    council.propose(SetOfficers("bank-1", officers(key("bank-1", "officer2"))))
    assert council.refused(SetOfficers("bank-1", ())) == "pending_change"


# ---- members


def test_an_admitted_member_acts_from_the_next_block_on() -> None:
    council = Council(4)
    assert source_grant(council.state, key(NEW, "source")) is None
    passed(council, newcomer())
    member = read_member(council.state, NEW)
    assert member is not None
    assert (member.name, member.ca_certificate, member.agents) == ("New Bank", CA, (AGENT,))
    assert council.rule(NEW, Withdraw(bytes(32))) == "unknown_proposal"
    council.propose(council.addition(0, "node-x"), "bank-0")
    keys = council.keys("node-new", NEW)
    addition = replace(council.addition(), name="node-new", member=NEW, keys=keys)
    proposal = council.propose(addition, NEW)
    council.vote(proposal, 0, 1, 2)
    assert council.say(NEW, council.ready(proposal, "node-new")).applied
    assert council.set.n == 5
    rules = council.propose(ActivateRules(2, 1_000))
    council.vote(rules, 0, 1, 2)
    assert council.stage(rules) is Stage.OPEN
    assert council.say(NEW, council.ballot(NEW, rules)).applied
    assert council.stage(rules) is Stage.ENACTED


def test_no_two_members_answer_for_one_code_also_if_both_were_proposed_before() -> None:
    council = Council(4)
    first = council.propose(newcomer())
    other = newcomer(id="bank-late", ca_certificate="", sources=(), officers=())
    second = council.propose(other)
    council.vote(first, 0, 1, 2)
    council.vote(second, 0, 1, 2)
    assert council.stage(second) is Stage.FAILED
    assert rule_of(council.proposal(second).failure) == "agent_taken"
    assert council.refused(newcomer(id="bank-late", agents=(), sources=(), officers=())) == "ca_taken"


def test_an_excluded_member_submits_nothing_more_and_its_codes_are_free() -> None:
    council = Council(4)
    passed(council, newcomer())
    early = batch_of(council, NEW)
    passed(council, ExcludeMember(NEW))
    assert source_grant(council.state, key(NEW, "source")) is None
    with pytest.raises(BlockRefused, match="source not registered"):
        council.chain.check_admission(council.chain.tip_hash, early)
    assert member_of_agent(council.state, AGENT) is None
    assert council.refused(newcomer()) == "member_known"
    assert council.refused(further(council, NEW)) == "unknown_member"
    again = newcomer(id="bank-late", sources=(), officers=())
    assert council.refused(again) == "ca_taken"
    passed(council, AddMember(replace(again.member, ca_certificate="")))
    found = member_of_agent(council.state, AGENT)
    assert found is not None
    assert found.id == "bank-late"


def test_a_member_is_excluded_once_its_validators_have_left() -> None:
    council = Council(5)
    passed(council, RemoveValidator("node-4", False), 0, 1, 2, 3)
    passed(council, ExcludeMember("bank-4"), 0, 1, 2)
    rejoining = replace(council.addition(4, "node-y"), member="bank-4")
    assert council.refused(rejoining) == "unknown_member"


# ---- sources


def test_a_removed_source_is_refused_from_the_next_block_on_and_never_comes_back() -> None:
    council = Council(4)
    waiting = batch_of(council, "bank-3")
    proposal = council.propose(RemoveSource(key("bank-3", "source")))
    council.vote(proposal, 0, 1)
    # What stands in the same block is ordered still.
    result = council.block(
        ("bank-2", council.ballot("bank-2", proposal)), ("bank-3", Propose(ActivateRules(2, 999), council.now_ms + 500))
    )
    assert [outcome.applied for outcome in result.outcomes] == [True, True]
    with pytest.raises(BlockRefused, match="source not registered"):
        council.chain.check_admission(council.chain.tip_hash, waiting)
    with pytest.raises(BlockRefused, match="source not registered"):
        council.say("bank-3", Withdraw(proposal))
    assert [row.removed for _, row in sources_of(council.state, "bank-3")] == [True]
    assert council.refused(RemoveSource(key("bank-3", "source"))) == "unknown_source"
    assert council.refused(further(council, "bank-3", "source")) == "key_taken"
    passed(council, further(council, "bank-3"))
    council.chain.check_admission(council.chain.tip_hash, batch_of(council, "bank-3", "source2"))


def test_an_officer_stops_its_own_members_key_at_once_whoever_carries_its_word() -> None:
    council = Council(4)
    result = council.block(("bank-0", retirement(council, "bank-3")))
    assert result.outcomes[0].applied
    assert source_grant(council.state, key("bank-3", "source")) is None
    row = read_source(council.state, key("bank-3", "source"))
    assert row is not None
    assert (row.member, row.removed) == ("bank-3", True)
    assert council.rule("bank-0", retirement(council, "bank-3")) == "unknown_source"


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ("unknown_officer", lambda council: retirement(council, "bank-1", source=key("bank-3", "source"))),
        ("unknown_officer", lambda council: retirement(council, "bank-3", use="clerk")),
        ("unknown_officer", lambda council: retirement(council, "bank-3", use="source")),
        ("unknown_source", lambda council: retirement(council, "bank-3", source=key("bank-3", "nothing"))),
        ("bad_signature", lambda council: replace(retirement(council, "bank-3"), signature=bytes(64))),
    ],
)
def test_a_key_is_stopped_by_no_word_but_that_of_its_own_members_officer(
    rule: str, word: Callable[[Council], RetireSource]
) -> None:
    council = Council(4)
    assert council.rule("bank-0", word(council)) == rule
    assert source_grant(council.state, key("bank-3", "source")) is not None


def test_members_whose_gateways_are_gone_vote_through_anothers_and_come_back() -> None:
    council = Council(4)
    for lost in ("bank-2", "bank-3"):
        assert council.say("bank-0", retirement(council, lost)).applied
    proposal = council.propose(further(council, "bank-2"))
    council.vote(proposal, 0, 1)
    assert council.stage(proposal) is Stage.OPEN
    assert council.say("bank-0", council.ballot("bank-3", proposal)).applied
    assert council.proposal(proposal).approvals == ("bank-0", "bank-1", "bank-3")
    assert council.stage(proposal) is Stage.ENACTED


def test_a_carried_vote_counts_once_and_for_whose_officer_signed() -> None:
    council = Council(4)
    proposal = council.propose(newcomer())
    assert council.say("bank-4", council.ballot("bank-1", proposal)).applied
    assert council.rule("bank-1", council.ballot("bank-1", proposal)) == "already_voted"
    assert council.proposal(proposal).approvals == ("bank-1",)


# ---- officers


def test_replaced_officers_vote_no_more_and_their_keys_never_come_back() -> None:
    council = Council(4)
    passed(council, SetOfficers("bank-3", officers(key("bank-3", "officer2"))))
    proposal = council.propose(newcomer())
    assert council.rule("bank-3", council.ballot("bank-3", proposal)) == "unknown_officer"
    assert council.say("bank-3", council.ballot("bank-3", proposal, use="officer2")).applied
    back = SetOfficers("bank-3", officers(key("bank-3", "officer"), key("bank-3", "officer2")))
    assert council.refused(back) == "key_taken"
    assert council.refused(SetOfficers("bank-2", officers(key("bank-3", "officer")))) == "key_taken"


def test_a_change_that_leaves_too_few_officers_to_pass_anything_is_refused() -> None:
    council = Council(4)
    passed(council, SetOfficers("bank-3", ()))  # 3 of 4 remain, and 3 decide
    assert council.refused(SetOfficers("bank-2", officers())) == "too_few_voters"
    council.propose(SetOfficers("bank-2", officers(key("bank-2", "officer2"))))
    five = Council(5)
    passed(five, SetOfficers("bank-4", ()), 0, 1, 2, 3)
    assert five.refused(RemoveValidator("node-3", False)) == ""
    mute = newcomer(officers=())
    passed(five, mute, 0, 1, 2, 3)
    keys = five.keys("node-new", NEW)
    assert five.refused(replace(five.addition(), name="node-new", member=NEW, keys=keys)) == "too_few_voters"


# ---- what waits


def waits(council: Council) -> tuple[LedgerApplication, list[ParsedBatch]]:
    """Return an application in which two batches of a source wait, and these."""
    application = LedgerApplication(council.chain, Pool(), 1_000)
    batches = [batch_of(council, "bank-3", number=number) for number in (0, 1)]
    for batch in batches:
        assert application.add_batch(batch, TimeMs(council.now_ms))
    council.store.write(application.take_rows(), sync=True)
    return application, batches


def removing_block(council: Council) -> Block:
    """Return an executed block on the tip in which the officer of bank-3 stops its source."""
    event = Event("bank-0", b"r" * 16, council.now_ms + 1_000, RETIRE_SOURCE, 1, encode(retirement(council, "bank-3")))
    number, previous = council.chain.next_number(council.chain.tip_hash, key("bank-0", "source"))
    raw = build_batch(
        [encode(event)],
        chain_id=council.chain_id,
        member="bank-0",
        key=key_of("bank-0", "source"),
        number=number,
        previous=previous,
        time_ms=TimeMs(council.now_ms),
    )
    batch = parse_batch(raw)
    council.chain.add_batch(batch)
    time_ms = council.now_ms + 5
    return council.chain.build(council.chain.tip_hash, time_ms=time_ms, epoch=0, proposer=0, batches=[batch])


def test_waiting_batches_of_a_removed_source_are_let_go_and_held_against_no_leader() -> None:
    council = Council(4)
    application, batches = waits(council)
    assert application.something_to_order()
    block = removing_block(council)
    certificate = council.certificate(block.header.epoch, block.header.height, block.header.hash())
    application.deliver(CommittedBlock(block, certificate))
    assert not application.something_to_order()
    assert len(application.pool) == 0
    assert application.pool.size_bytes == 0
    assert not application.offers.waits_for(SourceKey(key("bank-3", "source")))
    for batch in batches:
        application.pool.take_back(council.chain, batch, TimeMs(council.now_ms))
    assert len(application.pool) == 0


def test_nothing_of_a_source_is_proposed_on_a_block_that_removes_it_committed_or_not() -> None:
    council = Council(4)
    application, batches = waits(council)
    tip = council.chain.tip_hash
    removing = removing_block(council).header.hash()
    assert application.pool.select(council.chain, tip) == batches
    assert application.pool.select(council.chain, removing) == []
    # Until it is committed the batches wait: another branch may order them.
    assert len(application.pool) == 2


@pytest.mark.parametrize("action", [newcomer(), ExcludeMember("bank-1"), RemoveSource(bytes(32)), SetOfficers("b", ())])
def test_actions_come_back_from_json_as_they_went(action: Action) -> None:
    body = Propose(action, START_MS)
    assert record_from_json(Propose, record_to_json(body), where="body") == body
