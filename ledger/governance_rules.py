"""The rules by which governance is judged: who may propose, and whether an action may change the validators.

Everything is a function of the state, the action and the height, so a change that would leave no safe quorum is refused
by every node alike, before it is made: when it is proposed, and again when it would take effect. What depends on which
nodes are up is asked at the door instead (`chainnode.cli`). Source: architecture §5 (Epochs), decision record 10.
"""

from __future__ import annotations

from typing import assert_never

from ledger.amendment_rules import AHEAD_HEIGHTS_MAX, RULES_AMENDMENTS, check_amendment
from ledger.genesis import GenesisError, parse_address
from ledger.governance_bodies import (
    Accredit,
    ActivateRules,
    AddCatalogue,
    AddMember,
    AddSource,
    AddValidator,
    AnyAction,
    ChangePolicy,
    EndAccreditation,
    ExcludeMember,
    RekeyValidator,
    RemoveSource,
    RemoveValidator,
    ReplaceCa,
    SetOfficers,
    SetRoles,
    SetSchemePolicy,
    SetSourceRoles,
    SetStandards,
    SetThreshold,
    SetVoucherPolicy,
    SuspendWallet,
    ValidatorKeys,
    key_statement,
)
from ledger.governance_errors import broken
from ledger.member_rules import check_fresh, check_member_action, check_voters
from ledger.members import read_member, read_source, read_validators, read_validators_of
from ledger.nodes import USES, name_at, read_node
from ledger.rules import read_rules
from ledger.scheme_governance import check_scheme_action
from ledger.state import StateReader
from ledger.voucher_governance import check_payment_action
from ledger.wallet_records import read_wallet
from primitives.ids import Epoch, Hash, MemberId
from primitives.keys import verify
from primitives.validators import VALIDATORS_MAX, Validator, ValidatorSet

VALIDATORS_MIN = 4
"""Fewer bear no fault; a chain that began with fewer keeps at least as many as it began with."""
RULES_LEAD_HEIGHTS_MIN = 32
"""Blocks between the decision on other rules and the first block by them."""
READY_HEIGHTS_MAX = 256
"""How far below the block that orders it the block may lie that a ready event names."""
PROPOSAL_TERM_MS_MAX = 30 * 86_400_000


def check_action(state: StateReader, chain_id: Hash, action: AnyAction, height: int) -> ValidatorSet | None:
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
        case AddMember() | ExcludeMember() | AddSource() | RemoveSource() | SetOfficers():
            check_member_action(state, chain_id, action)
            return None
        case SetRoles() | SetSourceRoles() | ReplaceCa() | ChangePolicy() | AddCatalogue() | SetThreshold():
            check_amendment(state, action, height)
            return None
        case Accredit() | EndAccreditation() | SetSchemePolicy() | SetStandards():
            check_scheme_action(state, action, height)
            return None
        case SetVoucherPolicy() | SuspendWallet():
            check_payment_action(state, action, height)
            return None
        case _:
            assert_never(action)


def parties(state: StateReader, action: AnyAction) -> frozenset[str]:
    """Return the members besides the voters that may propose an action: whose own matter it is."""
    match action:
        case AddValidator(member=member):
            return frozenset({member})
        case RemoveValidator(name=name) | RekeyValidator(name=name):
            present = read_validators(state)
            index = present.indexes.get(name)
            return frozenset() if index is None else frozenset({present.validators[index].member})
        case ExcludeMember(member=member) | AddSource(member=member) | SetOfficers(member=member):
            return frozenset({member})
        case SetRoles(member=member) | ReplaceCa(member=member):
            return frozenset({member})
        case Accredit(member=member) | EndAccreditation(member=member):
            return frozenset({member})
        case RemoveSource(key=key) | SetSourceRoles(key=key):
            source = read_source(state, key)
            return frozenset() if source is None else frozenset({source.member})
        case ActivateRules() | AddMember() | ChangePolicy() | AddCatalogue() | SetThreshold():
            return frozenset()
        case SetSchemePolicy() | SetStandards() | SetVoucherPolicy():
            return frozenset()
        case SuspendWallet(wallet=identity):
            wallet = read_wallet(state, identity)
            return frozenset() if wallet is None else frozenset({wallet.issuer})
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
    following = _next(present, (*present.validators, _validator(action.name, action.member, action.keys)))
    check_voters(state, following)
    return following


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
    check_voters(state, following)
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
    if rules.at(height) >= RULES_AMENDMENTS and action.height > height + AHEAD_HEIGHTS_MAX:
        raise broken("rules_height", f"at most {height + AHEAD_HEIGHTS_MAX}")


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
    holder = name_at(state, address)
    if holder is not None and holder != name and holder in present.indexes:
        raise broken("address_taken", f"{address} of {holder}")


def _check_keys(state: StateReader, chain_id: Hash, name: str, member: str, keys: ValidatorKeys) -> None:
    """Raise unless the three keys are sound, never used for anything, and held by whoever proposes them."""
    publics = (keys.vote_key, keys.cosign_key, keys.log_key)
    check_fresh(state, publics)
    proofs = (keys.vote_proof, keys.cosign_proof, keys.log_proof)
    for use, key, proof in zip(USES, publics, proofs, strict=True):
        if not verify(key, key_statement(chain_id, use, name, member, key), proof):
            raise broken("bad_signature", f"the proof of the {use} key")
