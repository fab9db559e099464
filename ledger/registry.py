"""All kinds of event that this version knows, assembled from the modules that define them.

Numbers, of which none is ever given to another kind:

- 1-31 and 104-127 certificates (`ledger.certificates.CERTIFICATE_KINDS`); of these
  20-24 the draws of random inspections (`ledger.inspection_events.INSPECTION_KINDS`),
  27-30 and 105 the mark (`ledger.mark_events.MARK_KINDS`),
  31 and 104 imports (`ledger.registers.REGISTER_KINDS`)
- 32-63 payments (`ledger.payment_events.PAYMENT_KINDS`); of these
  33 end-of-day totals (`ledger.totals_bodies.TOTALS_KINDS`),
  34 pairing keys (`ledger.pairing_keys.PAIRING_KINDS`),
  35-37 disclosure and erasure (`ledger.disclosures.DISCLOSURE_KINDS`),
  38-41 wallets and offline vouchers (`ledger.wallets.WALLET_KINDS`)
- 64-79 members (`ledger.log_keys.MEMBER_KINDS`)
- 80-87 governance (`ledger.governance.GOVERNANCE_KINDS`); 88-95 are free
- 96-103 evidence (`ledger.evidence.EVIDENCE_KINDS`)

Besides its kinds, execution asks of the members and the policy in the state:

- `ledger.members.source_grant(state, source) -> SourceGrant | None`: `member`, the member's `roles` and the key's own
  `source_roles` (both frozen sets of text); None for a key that is not registered, or of a member that is excluded.
- `ledger.policy.read_policy(state) -> Policy`: a record of integers, among them `event_expiry_ahead_ms_max`,
  `block_batches_max`, `block_events_max` and `block_bytes_max`.
- `ledger.members.read_validators(state) -> ValidatorSet`: the set that the next block's header names.
"""

from ledger.certificates import CERTIFICATE_KINDS
from ledger.disclosures import DISCLOSURE_KINDS
from ledger.evidence import EVIDENCE_KINDS
from ledger.governance import GOVERNANCE_KINDS
from ledger.inspection_events import INSPECTION_KINDS
from ledger.kinds import KindSpec, assemble
from ledger.log_keys import MEMBER_KINDS
from ledger.mark_events import MARK_KINDS
from ledger.pairing_keys import PAIRING_KINDS
from ledger.payment_events import PAYMENT_KINDS
from ledger.registers import REGISTER_KINDS
from ledger.totals_bodies import TOTALS_KINDS
from ledger.wallets import WALLET_KINDS

KINDS: dict[int, KindSpec] = assemble(
    CERTIFICATE_KINDS,
    INSPECTION_KINDS,
    MARK_KINDS,
    REGISTER_KINDS,
    PAYMENT_KINDS,
    TOTALS_KINDS,
    PAIRING_KINDS,
    DISCLOSURE_KINDS,
    WALLET_KINDS,
    MEMBER_KINDS,
    GOVERNANCE_KINDS,
    EVIDENCE_KINDS,
)
KINDS_BY_NAME: dict[str, KindSpec] = {spec.name: spec for spec in KINDS.values()}
