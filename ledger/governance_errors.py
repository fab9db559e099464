"""The rules that an event of governance can break, by name, with the sentence that people read.

Here: words. What each rule asks is in `ledger.governance_rules`, `ledger.member_rules`, `ledger.amendment_rules`,
`ledger.scheme_governance` and `ledger.governance`.
"""

from __future__ import annotations

from ledger.kinds import RuleBroken

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
    "unknown_officer": "Who signed is no officer for governance of the member.",
    "bad_signature": "A signature of the event does not verify.",
    "stale_block": "A ready event names one of the newest blocks below its own.",
    "wrong_block": "The chain has another block at the height that a ready event names.",
    "member_known": "There is a member of this id, or was one.",
    "too_many_members": "The chain would have more members than it may have.",
    "bad_member": "The member's roles are none, stand twice, or a source has one that its member lacks.",
    "agent_taken": "Another member answers for this code.",
    "ca_taken": "The root CA is or was another member's.",
    "bad_ca": "The root CA is not one certificate in PEM.",
    "has_validator": "The member still has a validator in the present set.",
    "too_few_voters": "Too few of the members with a validator would have an officer to vote.",
    "unknown_source": "No member has a source of this key, or it was removed.",
    "too_many_sources": "The member would have more sources than it may have.",
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
    "rules_height": "Other rules need more blocks of notice, or are put off too far.",
    "rules_needed": "The rules in force do not have this action yet.",
    "bad_roles": "The roles are none, stand twice, or are not to be had.",
    "policy_pending": "Another policy is decided on already and not in force yet.",
    "policy_height": "The height from which the policy shall be in force has passed, or lies too far ahead.",
    "policy_figure": "The policy has no such figure, or it stands twice.",
    "policy_range": "A figure of the policy is out of its range.",
    "catalogue_version": "Versions of the catalogue follow each other without a gap.",
    "too_many_catalogues": "The chain would have more versions of the catalogue than it may have.",
    "catalogue_time": "The version would be in force before the one that precedes it, or lies too far ahead.",
    "bad_catalogue": "A category stands twice, or asks too little evidence or one kind twice.",
    "category_taken": "A number or slug of a category stands for another one in an earlier version.",
    "threshold_fixed": "What decides on this type of action is two thirds for good.",
    "threshold_low": "Fewer may not decide on this type of action.",
    "accreditation_role": "The member lacks the role that it would be accredited in.",
    "accreditation_categories": "A category of an accreditation stands twice, or in no version of the catalogue.",
    "accreditation_time": "An accreditation ends after it begins and after its decision, and lasts six years at most.",
    "too_many_accreditations": "The member has as many accreditations in this role as are kept, and none is over.",
    "not_accredited": "The member has no accreditation in this role that could be ended then.",
    "scheme_policy_unchanged": "The scheme's policy has these figures already.",
    "standards_category": "Standards name a category that the version of the catalogue lacks, or one twice.",
    "superseded": "Another proposal that took effect changed the same.",
}
"""Every rule that an event of governance can break, and why an approved proposal can fail, with what it says."""

NUMBERS = {
    "superseded": 1,
    "member_known": 2,
    "too_many_members": 3,
    "bad_member": 4,
    "agent_taken": 5,
    "ca_taken": 6,
    "bad_ca": 7,
    "has_validator": 8,
    "too_few_voters": 9,
    "unknown_source": 10,
    "too_many_sources": 11,
    "unknown_member": 12,
    "no_ca": 13,
    "unknown_validator": 14,
    "name_taken": 15,
    "address_taken": 16,
    "bad_address": 17,
    "bad_key": 18,
    "key_taken": 19,
    "too_many_validators": 20,
    "no_safe_quorum": 21,
    "fewer_faults": 22,
    "rules_pending": 23,
    "rules_version": 24,
    "rules_height": 25,
    "bad_signature": 26,
    "not_a_party": 27,
    "not_a_voter": 28,
    "proposals_under_way": 29,
    "proposal_term": 30,
    "pending_change": 31,
    "unknown_proposal": 32,
    "proposal_closed": 33,
    "not_approved": 34,
    "not_the_proposer": 35,
    "already_voted": 36,
    "unknown_officer": 37,
    "stale_block": 38,
    "wrong_block": 39,
    "rules_needed": 40,
    "bad_roles": 41,
    "policy_pending": 42,
    "policy_height": 43,
    "policy_figure": 44,
    "policy_range": 45,
    "catalogue_version": 46,
    "too_many_catalogues": 47,
    "catalogue_time": 48,
    "bad_catalogue": 49,
    "category_taken": 50,
    "threshold_fixed": 51,
    "threshold_low": 52,
    "accreditation_role": 53,
    "accreditation_categories": 54,
    "accreditation_time": 55,
    "too_many_accreditations": 56,
    "not_accredited": 57,
    "scheme_policy_unchanged": 58,
    "standards_category": 59,
}
"""The number by which the state says why a proposal failed. It is part of the chain, so none is ever given anew."""

_RULE_OF = {number: rule for rule, number in NUMBERS.items()}


def rule_of(number: int) -> str:
    """Return the rule of a number in the state; `unknown` for one of later rules than this build knows."""
    return _RULE_OF.get(number, "unknown")


def broken(rule: str, detail: str = "") -> RuleBroken:
    """Return the outcome of an event that breaks one of RULES."""
    assert rule in RULES, f"a rule without a sentence: {rule}"
    return RuleBroken(rule, detail)
