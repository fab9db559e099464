"""Log keys of nodes that serve without being validators: declared by their member, and listed in policies from then on.

Who serves a checkpoint signs it as the log, and a verifier takes it only under a log key that its policy names. Those
of validators stand in their sets. An observer's stands nowhere else, so its member says in an event that this key is
one of its nodes', and the key itself signs that it is held. That admits nobody to anything: what a checkpoint is worth
is its cosignatures, which are the validators'. Here: kind 64, its row `log-keys/<member>`, the keys in the state. Not
here: the lines of a policy (`ledger.trust_policy`). Source: domain §2.
"""

from __future__ import annotations

from typing import Final

from ledger.governance_bodies import Signature, key_statement
from ledger.kinds import ApplyContext, KindSpec, RuleBroken
from ledger.members import PublicKey
from ledger.nodes import NodeName, read_key_use
from ledger.state import StateReader, Transaction
from primitives.encoding import Record
from primitives.errors import SignatureError
from primitives.keys import check_public_key, verify

DECLARE_LOG_KEY: Final = 64
SCHEMA: Final = 1
LOG_KEYS_A_MEMBER_MAX: Final = 8
"""Of one more, the oldest leaves the list: its node serves no more, or has had other keys since."""
PREFIX: Final = "log-keys/"
LOG_USE: Final = "log"


class DeclareLogKey(Record):
    """A node of the member that submits this signs what it serves with `key`, which signed `key_statement` as `log`."""

    name: NodeName
    key: PublicKey
    proof: Signature


class DeclaredKey(Record):
    """A log key and the node that holds it, as its member says."""

    name: NodeName
    key: PublicKey


class LogKeys(Record):
    """The log keys that a member declared, at `log-keys/<member>`: the newest ones, the oldest first."""

    keys: tuple[DeclaredKey, ...]


def log_keys_key(member: str) -> str:
    """Return the state key of the log keys that a member declared."""
    return f"{PREFIX}{member}"


def declared_log_keys(state: StateReader) -> list[bytes]:
    """Return the log keys that any member declared, by member."""
    return [declared.key for _, row in state.scan(PREFIX, LogKeys) for declared in row.keys]


def is_listed(state: StateReader, member: str, key: bytes) -> bool:
    """Say whether policies list this log key of a member's node: it is or was a validator's, or it is declared."""
    used = read_key_use(state, key)
    return (used is not None and used.use == LOG_USE) or any(item.key == key for item in _declared(state, member))


def _declared(state: StateReader, member: str) -> tuple[DeclaredKey, ...]:
    row = state.get(log_keys_key(member), LogKeys)
    return () if row is None else row.keys


def _declare(context: ApplyContext, state: Transaction, body: DeclareLogKey) -> None:
    held = _declared(state, context.member)
    if any(item.key == body.key for item in held):
        raise RuleBroken("already_declared", body.key.hex()[:16])
    try:
        check_public_key(body.key)
    except SignatureError:
        raise RuleBroken("bad_key", body.key.hex()[:16]) from None
    if not verify(body.key, key_statement(context.chain_id, LOG_USE, body.name, context.member, body.key), body.proof):
        raise RuleBroken("bad_signature", "the log key's")
    kept = (*held, DeclaredKey(body.name, body.key))[-LOG_KEYS_A_MEMBER_MAX:]
    state.put(log_keys_key(context.member), LogKeys(kept))


MEMBER_KINDS: tuple[KindSpec, ...] = (
    KindSpec(
        DECLARE_LOG_KEY,
        "member.declare_log_key",
        {SCHEMA: DeclareLogKey},
        changes_state=True,
        apply=_declare,
        is_dear=True,
    ),
)
