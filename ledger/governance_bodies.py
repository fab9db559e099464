"""What the events of governance say: proposals and their actions, votes, readiness; and what is signed for each.

Here: records and the statements that signatures cover. The rules that they are judged by are in
`ledger.governance_rules`. The actions are a closed union of tagged records; one is added by a record here and its rule
there. Source: architecture §5 (Epochs, Lost disks), decision record 10.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from ledger.accreditations import AccreditedRole, Categories
from ledger.catalogue import CATEGORY_MAX, Category, VersionNumber
from ledger.events import EventTimeMs
from ledger.genesis import OFFICERS_A_MEMBER_MAX, GenesisMember
from ledger.members import CaCertificate, MemberName, Officer, PublicKey, Role, Text
from ledger.nodes import Address, NodeName
from ledger.policy import FIGURES_MAX
from ledger.rules import RULES_MAX
from ledger.scheme_policy import CorrectionDays, InspectionWindow, MarkUse, RegisterImports, SurveillanceMonths
from ledger.standards import CategoriesStandards
from ledger.thresholds import Share
from ledger.voucher_bodies import Amount, Count
from ledger.voucher_policy import AgeDays, WalletCount
from primitives.encoding import Record
from primitives.hashing import statement
from primitives.ids import HASH_BYTES, Hash

HEIGHT_MAX = 2**53
ROLES_MAX = len(Role)
SLUG_PATTERN = r"\A[a-z][a-z0-9_]{0,63}\Z"

Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Hash32 = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
BlockHeight = Annotated[int, Meta(ge=0, le=HEIGHT_MAX)]
Slug = Annotated[str, Meta(pattern=SLUG_PATTERN)]


class ValidatorKeys(Record):
    """A validator's new keys, each with its own signature over `key_statement`: whoever proposes them holds them."""

    vote_key: PublicKey
    cosign_key: PublicKey
    log_key: PublicKey
    vote_proof: Signature
    cosign_proof: Signature
    log_proof: Signature


class AddValidator(Record, tag="add_validator"):
    """A member's node becomes a validator, once it is approved and has shown that it has caught up."""

    name: NodeName
    member: MemberName
    keys: ValidatorKeys
    address: Address


class RemoveValidator(Record, tag="remove_validator"):
    """A validator leaves; `fewer_faults` says in so many words that the chain shall bear fewer faulty ones after it."""

    name: NodeName
    fewer_faults: bool


class RekeyValidator(Record, tag="rekey_validator"):
    """A validator gets new keys, after it lost its disk or in turn, and an address where that is not empty."""

    name: NodeName
    keys: ValidatorKeys
    address: Address


class ActivateRules(Record, tag="activate_rules"):
    """Blocks from a height on follow another version of the rules."""

    version: Annotated[int, Meta(ge=1, le=RULES_MAX)]
    height: BlockHeight


class AddMember(Record, tag="add_member"):
    """An organisation becomes a member, as a founding one stands in genesis: with its CA, sources and officers."""

    member: GenesisMember


class ExcludeMember(Record, tag="exclude_member"):
    """A member leaves for good: its sources submit nothing more, and nobody links with its nodes."""

    member: MemberName


class AddSource(Record, tag="add_source"):
    """A member gets a further signing key, which itself signed `source_statement`."""

    member: MemberName
    key: PublicKey
    roles: tuple[Role, ...]
    proof: Signature


class RemoveSource(Record, tag="remove_source"):
    """A member's signing key may submit nothing more."""

    key: PublicKey


class SetOfficers(Record, tag="set_officers"):
    """A member gets these officers in place of those that it has."""

    member: MemberName
    officers: Annotated[tuple[Officer, ...], Meta(max_length=OFFICERS_A_MEMBER_MAX)]


MemberAction: TypeAlias = AddMember | ExcludeMember | AddSource | RemoveSource | SetOfficers
Action: TypeAlias = (
    AddValidator
    | RemoveValidator
    | RekeyValidator
    | ActivateRules
    | AddMember
    | ExcludeMember
    | AddSource
    | RemoveSource
    | SetOfficers
)


class SetRoles(Record, tag="set_roles"):
    """A member gets these roles in place of those that it has: what it is accredited for."""

    member: MemberName
    roles: Annotated[tuple[Role, ...], Meta(max_length=ROLES_MAX)]


class SetSourceRoles(Record, tag="set_source_roles"):
    """A member's signing key may act under these of the member's roles, in place of those that it has."""

    key: PublicKey
    roles: Annotated[tuple[Role, ...], Meta(max_length=ROLES_MAX)]


class ReplaceCa(Record, tag="replace_ca"):
    """A member's nodes are known by another root CA; with `keeps_old` by the one before as well, until said again."""

    member: MemberName
    ca_certificate: CaCertificate
    keeps_old: bool


class Figure(Record):
    """A figure of the policy and the value that it shall have."""

    name: Slug
    value: Annotated[int, Meta(ge=0, le=HEIGHT_MAX)]


class ChangePolicy(Record, tag="change_policy"):
    """Blocks from a height on are judged by other figures; 0: from the block after the decision on."""

    figures: Annotated[tuple[Figure, ...], Meta(min_length=1, max_length=FIGURES_MAX)]
    height: BlockHeight


class AddCatalogue(Record, tag="add_catalogue"):
    """A further version of the catalogue, in force from a time on, at the earliest that of the decision's block."""

    version: VersionNumber
    effective_from_ms: EventTimeMs
    source: Text
    categories: Annotated[tuple[Category, ...], Meta(min_length=1, max_length=CATEGORY_MAX)]


class SetThreshold(Record, tag="set_threshold"):
    """Another share of the members with a validator decides on a kind of action, given by its type."""

    action: Slug
    share: Share


Amendment: TypeAlias = SetRoles | SetSourceRoles | ReplaceCa | ChangePolicy | AddCatalogue | SetThreshold
"""The actions that came with the second rules, and a kind of event of their own."""


class Accredit(Record, tag="accredit"):
    """Evidence of a member in a role counts for these categories from a time on and until another.

    It adds a term to those that the member has in the role. `standard` is what it was accredited by, such as ISO/IEC
    17025.
    """

    member: MemberName
    role: AccreditedRole
    categories: Categories
    valid_from_ms: EventTimeMs
    valid_until_ms: EventTimeMs
    standard: Text


class EndAccreditation(Record, tag="end_accreditation"):
    """All terms of a member in a role end at a time, at the earliest that of the decision's block."""

    member: MemberName
    role: AccreditedRole
    from_ms: EventTimeMs
    reason: Slug


class SetSchemePolicy(Record, tag="set_scheme_policy"):
    """Other figures of the scheme's policy from the decision on; what is None stays."""

    surveillance_interval_months: SurveillanceMonths | None
    mark_use: MarkUse | None
    correction_days_max: CorrectionDays | None
    register_imports: RegisterImports | None
    inspection_window_s_min: InspectionWindow | None


class SetStandards(Record, tag="set_standards"):
    """Products of a version of the catalogue are examined by these standards, in place of all that it named before."""

    version: VersionNumber
    categories: CategoriesStandards


SchemeAction: TypeAlias = Accredit | EndAccreditation | SetSchemePolicy | SetStandards
"""The actions that came with the third rules, and a kind of event of their own."""


class SetVoucherPolicy(Record, tag="set_voucher_policy"):
    """Other limits of offline vouchers from the decision on; what is None stays."""

    enabled: bool | None
    amount_max: Amount | None
    count_max: Count | None
    age_max_days: AgeDays | None
    wallets_per_bank_max: WalletCount | None


class SuspendWallet(Record, tag="suspend_wallet"):
    """A wallet that was proved to spend twice is suspended for good, given by its id, whatever its bank does."""

    wallet: Hash32


PaymentAction: TypeAlias = SetVoucherPolicy | SuspendWallet
"""The actions that came with the fourth rules, and a kind of event of their own."""
AnyAction: TypeAlias = Action | Amendment | SchemeAction | PaymentAction


class Propose(Record):
    """A member proposes an action; whatever it still waits for must come by the block time `expires_ms`."""

    action: Action
    expires_ms: EventTimeMs


class Amend(Record):
    """As `Propose`, for the actions that came with the second rules."""

    action: Amendment
    expires_ms: EventTimeMs


class Steer(Record):
    """As `Propose`, for the actions that came with the third rules."""

    action: SchemeAction
    expires_ms: EventTimeMs


class Regulate(Record):
    """As `Propose`, for the actions that came with the fourth rules."""

    action: PaymentAction
    expires_ms: EventTimeMs


class CastVote(Record):
    """A vote on a proposal, signed over `vote_statement` by a member's officer for governance: it is that member's."""

    proposal: Hash32
    approve: bool
    officer: PublicKey
    signature: Signature


class Ready(Record):
    """The node of an approved addition or re-keying holds the chain up to a block; signed by its new voting key."""

    proposal: Hash32
    height: BlockHeight
    block_hash: Hash32
    signature: Signature


class Withdraw(Record):
    """The proposing member takes its proposal back."""

    proposal: Hash32


class RetireSource(Record):
    """A member stops a key of its own at once, by the word of its officer for governance; anybody may carry it."""

    source: PublicKey
    officer: PublicKey
    signature: Signature


def key_statement(chain_id: Hash, use: str, name: str, member: str, key: bytes) -> bytes:
    """Return what a validator's key signs to show that it is held, and what for (`vote`, `cosign` or `log`)."""
    return statement("validator-key", bytes(chain_id), use, name, member, key)


def vote_statement(chain_id: Hash, proposal: bytes, approve: bool) -> bytes:
    """Return what an officer signs to vote."""
    return statement("governance-vote", bytes(chain_id), proposal, approve)


def ready_statement(chain_id: Hash, proposal: bytes, height: int, block_hash: bytes) -> bytes:
    """Return what a new voting key signs to show that its node has caught up."""
    return statement("validator-ready", bytes(chain_id), proposal, height, block_hash)


def source_statement(chain_id: Hash, member: str, key: bytes) -> bytes:
    """Return what a member's new signing key signs to show that it is held."""
    return statement("source-key", bytes(chain_id), member, key)


def retirement_statement(chain_id: Hash, source: bytes) -> bytes:
    """Return what an officer signs to stop a signing key of its member."""
    return statement("source-retirement", bytes(chain_id), source)


def type_of(action: AnyAction) -> str:
    """Return an action's type, such as `add_validator`."""
    tag = action.__struct_config__.tag
    assert isinstance(tag, str)
    return tag
