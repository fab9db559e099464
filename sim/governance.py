"""Governance in a simulated consortium: the events by which validators join, leave and change their keys.

Here: bodies and signatures, all derived from names, so that a run depends on its seed alone. How an event gets into a
batch is the source's part (`sim.workload.Source.batch_of`). The chain verifies these signatures by Ed25519, whatever
stands in for it elsewhere: they are few.

A node's keys have a generation: 0 at genesis, one higher with each re-keying.
"""

from __future__ import annotations

from typing import Final

from chainnode.readiness import Readiness, Submission
from ledger.events import Event, event_id
from ledger.governance import AMEND, PROPOSE, REGULATE, RETIRE_SOURCE, SCHEMA, STEER, VOTE
from ledger.governance_bodies import (
    AddValidator,
    Amend,
    Amendment,
    AnyAction,
    CastVote,
    PaymentAction,
    Propose,
    Regulate,
    RekeyValidator,
    RemoveValidator,
    RetireSource,
    SchemeAction,
    Steer,
    ValidatorKeys,
    key_statement,
    retirement_statement,
    vote_statement,
)
from ledger.nodes import USES
from primitives.encoding import encode
from primitives.ids import EventId, Hash, TimeMs
from primitives.keys import SigningKey
from sim.signatures import StandInSigner
from sim.workload import EVENT_LIFETIME_MS, key_of, reference_of

TERM_MS: Final = 24 * 3_600_000


def node_key(name: str, use: str, generation: int = 0) -> SigningKey:
    """Return a node's key for a use (`vote`, `cosign`, `log`); generation 0 is that of genesis."""
    return key_of(name, use if generation == 0 else f"{use} {generation}")


def signer_of(name: str, generation: int = 0) -> StandInSigner:
    """Return what a node with these keys signs votes and cosignatures with."""
    return StandInSigner(*(node_key(name, use, generation).public for use in ("vote", "cosign")))


def readiness_of(name: str, generation: int = 0) -> Readiness:
    """Return what lets a core with these keys say that it has caught up."""
    key = node_key(name, "vote", generation)
    return Readiness(key.public, key.sign)


def addition(chain_id: Hash, name: str, member: str, port: int, generation: int = 0) -> AddValidator:
    """Return the action that makes a node of a member a validator."""
    return AddValidator(name, member, _keys(chain_id, name, member, generation), f"127.0.0.1:{port}")


def rekeying(chain_id: Hash, name: str, member: str, generation: int) -> RekeyValidator:
    """Return the action that gives a validator the keys of a generation."""
    return RekeyValidator(name, _keys(chain_id, name, member, generation), "")


def removal(name: str, *, fewer_faults: bool = False) -> RemoveValidator:
    """Return the action that lets a validator go."""
    return RemoveValidator(name, fewer_faults)


def proposal(member: str, action: AnyAction, now_ms: TimeMs) -> tuple[EventId, bytes]:
    """Return the id, which is the proposal's, and the bytes of a member's proposing event."""
    if isinstance(action, Amendment):
        return _event(member, AMEND, encode(Amend(action, now_ms + TERM_MS)), now_ms)
    if isinstance(action, SchemeAction):
        return _event(member, STEER, encode(Steer(action, now_ms + TERM_MS)), now_ms)
    if isinstance(action, PaymentAction):
        return _event(member, REGULATE, encode(Regulate(action, now_ms + TERM_MS)), now_ms)
    return _event(member, PROPOSE, encode(Propose(action, now_ms + TERM_MS)), now_ms)


def vote(member: str, chain_id: Hash, proposal_id: bytes, now_ms: TimeMs, *, approve: bool = True) -> bytes:
    """Return the bytes of a member's vote, signed by its officer."""
    officer = key_of(member, "officer")
    signature = officer.sign(vote_statement(chain_id, proposal_id, approve))
    return _event(member, VOTE, encode(CastVote(bytes(proposal_id), approve, officer.public, signature)), now_ms)[1]


def retirement(carrier: str, member: str, chain_id: Hash, now_ms: TimeMs) -> bytes:
    """Return the bytes of an event by which a member's officer stops its source; `carrier` submits it."""
    source, officer = key_of(member, "source").public, key_of(member, "officer")
    signature = officer.sign(retirement_statement(chain_id, source))
    return _event(carrier, RETIRE_SOURCE, encode(RetireSource(source, officer.public, signature)), now_ms)[1]


def submitted(member: str, submission: Submission, now_ms: TimeMs) -> bytes:
    """Return the bytes of an event that a node wants its member's source to submit."""
    event = Event(
        member, submission.reference, now_ms + EVENT_LIFETIME_MS, submission.kind, submission.schema, submission.body
    )
    return encode(event)


def _event(member: str, kind: int, body: bytes, now_ms: TimeMs) -> tuple[EventId, bytes]:
    # Another time, another reference: a vote that came before its proposal may be cast again.
    reference = reference_of(body + encode(int(now_ms)))
    data = encode(Event(member, reference, now_ms + EVENT_LIFETIME_MS, kind, SCHEMA, body))
    return event_id(data, kind), data


def _keys(chain_id: Hash, name: str, member: str, generation: int) -> ValidatorKeys:
    keys = [node_key(name, use, generation) for use in USES]
    proofs = [
        key.sign(key_statement(chain_id, use, name, member, key.public)) for use, key in zip(USES, keys, strict=True)
    ]
    return ValidatorKeys(*(key.public for key in keys), *proofs)
