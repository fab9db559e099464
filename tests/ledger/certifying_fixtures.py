"""A chain on which certificates live while its validators change, with checkpoints cosigned at any time."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from ledger.catalogue import PUBLISHED_CATALOGUES
from ledger.certificate_bodies import Body
from ledger.checkpoint_rows import checkpoint_rows
from ledger.genesis import Genesis, GenesisMember, GenesisSource
from ledger.governance_bodies import Withdraw
from ledger.handovers import spans_of
from ledger.reader import LedgerReader
from ledger.trust_policy import assemble_checkpoint, policy_text
from primitives.ids import Hash
from primitives.keys import SigningKey
from primitives.notes import Checkpoint, cosign_statement
from tests.ledger.certificate_fixtures import ROLES, State, events_to
from tests.ledger.governance_fixtures import Council, genesis_of, key_of

DESKS = ("source", "first", "reviewer", "decider")


@dataclass
class Certifying(Council):
    """A council beside whose banks there are those that apply for certificates, examine, and certify."""

    reader: LedgerReader = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reader = LedgerReader(self.store, self.genesis)

    def founded(self) -> Genesis:
        """Return the genesis, with the members of the certificates' fixtures and the published catalogues."""
        others = tuple(
            GenesisMember(
                name,
                name,
                roles,
                "",
                (),
                tuple(GenesisSource(key_of(name, desk).public, roles) for desk in DESKS),
                (),
            )
            for name, roles in ROLES.items()
        )
        genesis = genesis_of(self.validators + self.outsiders, self.validators)
        return replace(genesis, members=(*genesis.members, *others), catalogues=PUBLISHED_CATALOGUES)

    def act(self, member: str, desk: str, body: Body) -> Hash:
        """Commit a block with one event of a certificate's life, which must be applied; return its id."""
        result = self.block((f"{member}/{desk}", body))
        assert result.outcomes[0].applied, result.outcomes[0]
        return Hash(result.event_ids[0])

    def bring_to(self, state: State) -> list[Hash]:
        """Bring bank-a's application, or its certificate, to a state, a block an event; return the events' ids."""
        return [self.act(*said) for said in events_to(state)]

    def stable(self, time_ms: int | None = None, node: str = "node-0", log: SigningKey | None = None) -> str:
        """Cosign and store the checkpoint of the tip, at a time or that of the block; return its note.

        A quorum of the present set cosigns, node-0 being the first to; `log` signs as the log, `node`'s own key unless
        another is given.
        """
        validators, chain = self.set, self.chain
        time_s = (chain.header.time_ms if time_ms is None else time_ms) // 1_000
        text = Checkpoint(self.genesis.origin, chain.log_size, chain.log_root).text()
        signed = []
        for index, validator in enumerate(validators.validators[: validators.quorum]):
            keys = (key_of(validator.name, use) for use in ("cosign", "cosign1", "cosign2"))
            key = next(item for item in keys if item.public == validator.cosign_key)
            at_s = time_s + index
            signed.append((index, at_s, key.sign(cosign_statement(text, at_s))))
        key = key_of(node, "log") if log is None else log
        name = None if log is not None else node
        note = assemble_checkpoint(self.genesis, validators, name, key, chain.log_size, chain.log_root, signed)
        self.store.write(checkpoint_rows(self.store, note), sync=True)
        return note

    def policy(self, epoch: int | None = None) -> str:
        """Return the policy of an epoch, by default the newest block's."""
        return policy_text(self.genesis, spans_of(self.reader, self.chain.header.epoch if epoch is None else epoch))

    def next_epoch(self, turn: int) -> None:
        """Give node-3 new keys, which begins an epoch, and commit the first block of it."""
        self.rekey(3, turn)
        self.block(("bank-0", Withdraw(bytes(32))))
