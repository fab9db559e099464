"""The rules by which governance is judged: who may propose, and whether an action may change the validators.

Everything is a function of the state, the action and the height, so a change that would leave no safe quorum is refused
by every node alike, before it is made: when it is proposed, and again when it would take effect. What depends on which
nodes are up is asked at the door instead (`chainnode.cli`). Source: architecture §5 (Epochs), decision record 10.
"""

from __future__ import annotations

from typing import assert_never

from ledger.genesis import GenesisError, parse_address
from ledger.governance_bodies import (
    Action,
    ActivateRules,
    AddValidator,
    RekeyValidator,
    RemoveValidator,
    ValidatorKeys,
    key_statement,
)
from ledger.kinds import RuleBroken
from ledger.members import Member, Source, read_member, read_members, read_validators, read_validators_of, source_key
from ledger.nodes import USES, read_key_use, read_node
from ledger.rules import read_rules
from ledger.state import StateReader
from primitives.errors import SignatureError
from primitives.ids import Epoch, Hash, MemberId
from primitives.keys import check_public_key, verify
from primitives.validators import VALIDATORS_MAX, Validator, ValidatorSet

GOVERNANCE_ROLE = "governance"
"""The role of the officers whose signatures are votes."""
VALIDATORS_MIN = 4
"""Fewer bear no fault; a chain that began with fewer keeps at least as many as it began with."""
RULES_LEAD_HEIGHTS_MIN = 32
"""Blocks between the decision on other rules and the first block by them."""
READY_HEIGHTS_MAX = 256
"""How far below the block that orders it the block may lie that a ready event names."""
PROPOSAL_TERM_MS_MAX = 30 * 86_400_000

RULES = {
    "not_a_party": "Only a member with a validator, or the one whose validator it concerns, may propose.",
    "not_a_voter": "Only members with a validator of the present set vote.",
    "proposals_under_way": "The member has as many proposals under way as one may have.",
    "proposal_term": "A proposal's end lies after its block's time, and not more than 30 days after.",
    "pending_change": "Another proposal of the member, under way, changes the same.",
    "unknown_proposal": "There is no proposal of this id.",
    "proposal_closed": "The proposal does not wait for this: it has ended, or its votes are decided.",
    "not_approved": "The proposal waits for votes, not for its node.",
    "not_the_proposer": "Only the member that proposed it takes a proposal back.",
    "already_voted": "A member votes once on a proposal.",
    "unknown_officer": "The vote is signed by no officer of the member whose role is governance.",
    "bad_signature": "A signature of the event does not verify.",
    "stale_block": "A ready event names one of the newest blocks below its own.",
    "wrong_block": "The chain has another block at the height that a ready event names.",
    "unknown_member": "There is no such member, or it is excluded.",
    "no_ca": "The member has no root CA, so none of its nodes could link with others.",
    "unknown_validator": "The present set has no validator of this name.",
    "name_taken": "The name is another validator's, or belonged to one of another member.",
    "address_taken": "Another validator has this address.",
    "bad_address": "The address is not host:port.",
    "bad_key": "A key is degenerate, or stands twice.",
    "key_taken": "A key is or was a validator's, a source's or an officer's; a retired key never comes back.",
    "too_many_validators": "The set would have more validators than it may have.",
    "no_safe_quorum": "Too few validators would be left to bear a fault.",
    "fewer_faults": "The chain would bear fewer faulty validators, and the proposal does not say that it shall.",
    "rules_pending": "Other rules are decided on already and not in force yet.",
    "rules_version": "The version of the rules is not later than the one in force.",
    "rules_height": "Other rules need more blocks of notice.",
}
"""Every rule that an event of governance can break, with what it says."""


def broken(rule: str, detail: str = "") -> RuleBroken:
    """Return the outcome of an event that breaks one of RULES."""
    assert rule in RULES, f"a rule without a sentence: {rule}"
    return RuleBroken(rule, detail)


def check_action(state: StateReader, chain_id: Hash, action: Action, height: int) -> ValidatorSet | None:
    """Return the validators that the action would leave, None where it changes none; RuleBroken where it may not be.

    `height` is that of the block that would make the change. The epoch of the set returned is the next.
    """
    match action:
        case AddValidator():
            return _added(state, chain_id, action)
        case RemoveValidator():
            return _removed(state, action)
        case RekeyValidator():
            return _rekeyed(state, chain_id, action)
        case ActivateRules():
            _check_rules(state, action, height)
            return None
        case _:
            assert_never(action)


def parties(state: StateReader, action: Action) -> frozenset[str]:
    """Return the members besides the voters that may propose an action: whose validator it concerns."""
    match action:
        case AddValidator(member=member):
            return frozenset({member})
        case RemoveValidator(name=name) | RekeyValidator(name=name):
            return frozenset(v.member for v in read_validators(state).validators if v.name == name)
        case ActivateRules():
            return frozenset()
        case _:
            assert_never(action)


def _added(state: StateReader, chain_id: Hash, action: AddValidator) -> ValidatorSet:
    present = read_validators(state)
    if present.n >= VALIDATORS_MAX:
        raise broken("too_many_validators", f"at most {VALIDATORS_MAX}")
    member = read_member(state, action.member)
    if member is None or member.excluded:
        raise broken("unknown_member", action.member)
    if not member.ca_certificate:
        raise broken("no_ca", action.member)
    known = read_node(state, action.name)
    if action.name in present.indexes or (known is not None and known.member != action.member):
        raise broken("name_taken", action.name)
    _check_address(state, present, action.name, action.address)
    _check_keys(state, chain_id, action.name, action.member, action.keys)
    return _next(present, (*present.validators, _validator(action.name, action.member, action.keys)))


def _removed(state: StateReader, action: RemoveValidator) -> ValidatorSet:
    present = read_validators(state)
    _find(present, action.name)
    following = _next(present, tuple(v for v in present.validators if v.name != action.name))
    first = read_validators_of(state, Epoch(0))
    smallest = VALIDATORS_MIN if first is None else min(VALIDATORS_MIN, first.n)
    if following.n < smallest:
        raise broken("no_safe_quorum", f"{following.n} validators would be left, at least {smallest} are needed")
    if following.f < present.f and not action.fewer_faults:
        raise broken(
            "fewer_faults", f"{following.n} validators bear {following.f} faulty, the present {present.n} {present.f}"
        )
    return following


def _rekeyed(state: StateReader, chain_id: Hash, action: RekeyValidator) -> ValidatorSet:
    present = read_validators(state)
    old = _find(present, action.name)
    if action.address:
        _check_address(state, present, action.name, action.address)
    _check_keys(state, chain_id, action.name, old.member, action.keys)
    new = _validator(action.name, old.member, action.keys)
    return _next(present, tuple(new if v.name == action.name else v for v in present.validators))


def _check_rules(state: StateReader, action: ActivateRules, height: int) -> None:
    rules = read_rules(state)
    if rules.pending_at(height):
        raise broken("rules_pending", f"version {rules.following} from height {rules.height} on")
    if action.version <= rules.at(height):
        raise broken("rules_version", f"above {rules.at(height)}")
    if action.height < height + RULES_LEAD_HEIGHTS_MIN:
        raise broken("rules_height", f"at least {height + RULES_LEAD_HEIGHTS_MIN}")


def _validator(name: str, member: str, keys: ValidatorKeys) -> Validator:
    return Validator(name, MemberId(member), keys.vote_key, keys.cosign_key, keys.log_key)


def _find(present: ValidatorSet, name: str) -> Validator:
    index = present.indexes.get(name)
    if index is None:
        raise broken("unknown_validator", name)
    return present.validators[index]


def _next(present: ValidatorSet, validators: tuple[Validator, ...]) -> ValidatorSet:
    return ValidatorSet(Epoch(present.epoch + 1), validators)


def _check_address(state: StateReader, present: ValidatorSet, name: str, address: str) -> None:
    try:
        parse_address(address)
    except GenesisError:
        raise broken("bad_address", address) from None
    for other in present.validators:
        node = read_node(state, other.name)
        if other.name != name and node is not None and node.address == address:
            raise broken("address_taken", f"{address} of {other.name}")


def _check_keys(state: StateReader, chain_id: Hash, name: str, member: str, keys: ValidatorKeys) -> None:
    """Raise unless the three keys are sound, never used for anything, and held by whoever proposes them."""
    publics = (keys.vote_key, keys.cosign_key, keys.log_key)
    if len(set(publics)) != len(publics):
        raise broken("bad_key", "three different keys are needed")
    officers = {officer.key for holder in read_members(state) for officer in holder.officers}
    proofs = (keys.vote_proof, keys.cosign_proof, keys.log_proof)
    for use, key, proof in zip(USES, publics, proofs, strict=True):
        try:
            check_public_key(key)
        except SignatureError:
            raise broken("bad_key", f"the {use} key") from None
        used = read_key_use(state, key)
        if used is not None:
            raise broken("key_taken", f"the {use} key is {used.name}'s of epoch {used.epoch}")
        if state.get(source_key(key), Source) is not None or key in officers:
            raise broken("key_taken", f"the {use} key is a source's or an officer's")
        if not verify(key, key_statement(chain_id, use, name, member, key), proof):
            raise broken("bad_signature", f"the proof of the {use} key")


def is_governance_officer(member: Member, key: bytes) -> bool:
    """Say whether a key may sign its member's votes."""
    return any(officer.key == key and officer.role == GOVERNANCE_ROLE for officer in member.officers)
