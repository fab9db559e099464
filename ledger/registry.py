"""All kinds of event that this version knows, assembled from the modules that define them.

Numbers: 1-31 certificates (`ledger.certificates.CERTIFICATE_KINDS`), 32-63 payments
(`ledger.payment_events.PAYMENT_KINDS`), 64-79 members (`ledger.log_keys.MEMBER_KINDS`), 80-84 governance
(`ledger.governance.GOVERNANCE_KINDS`), 85-95 free, 96-103 evidence (`ledger.evidence.EVIDENCE_KINDS`). A number is
never given to another kind.

Besides its kinds, execution asks of the members and the policy in the state:

- `ledger.members.source_grant(state, source) -> SourceGrant | None`: `member`, the member's `roles` and the key's own
  `source_roles` (both frozen sets of text); None for a key that is not registered, or of a member that is excluded.
- `ledger.policy.read_policy(state) -> Policy`: a record of integers, among them `event_expiry_ahead_ms_max`,
  `block_batches_max`, `block_events_max` and `block_bytes_max`.
- `ledger.members.read_validators(state) -> ValidatorSet`: the set that the next block's header names.
"""

from ledger.certificates import CERTIFICATE_KINDS
from ledger.evidence import EVIDENCE_KINDS
from ledger.governance import GOVERNANCE_KINDS
from ledger.kinds import KindSpec, assemble
from ledger.log_keys import MEMBER_KINDS
from ledger.payment_events import PAYMENT_KINDS

KINDS: dict[int, KindSpec] = assemble(CERTIFICATE_KINDS, PAYMENT_KINDS, MEMBER_KINDS, GOVERNANCE_KINDS, EVIDENCE_KINDS)
KINDS_BY_NAME: dict[str, KindSpec] = {spec.name: spec for spec in KINDS.values()}
