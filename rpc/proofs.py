"""What goes out to be verified offline: receipts, and the policy under which they are trusted.

Here: finding out why there is no receipt yet. Not here: their bytes (`ledger.receipts`, `ledger.trust_policy`).
"""

from __future__ import annotations

from collections.abc import Collection

from ledger.block_parts import make_parts
from ledger.committed_state import CommittedState
from ledger.handovers import make_handovers, spans_of
from ledger.log_keys import declared_log_keys
from ledger.members import VALIDATORS_KEY
from ledger.receipts import make_receipt
from ledger.state import STATE_VALUE_SIZE_MAX
from ledger.trust_policy import policy_text as policy_of
from primitives.encoding import decode, encode
from primitives.ids import EventId
from primitives.validators import ValidatorSet
from rpc.errors import RpcError, not_found, unavailable
from rpc.ports import Services

CHECKPOINT_RETRY_MS = 500


def receipt_text(services: Services, event_id: EventId, from_epoch: int = 0, witnesses: Collection[str] = ()) -> str:
    """Return an event's receipt; -32001 for an unknown event, -32002 until a stable checkpoint covers it.

    With `witnesses`, one that all of these have cosigned.
    """
    text = make_receipt(services.reads, event_id, from_epoch, witnesses)
    if text is not None:
        return text
    if services.reads.position(event_id) is None:
        raise no_event(services, event_id)
    raise checkpoint_pending("event", witnesses)


def checkpoint_pending(what: str, witnesses: Collection[str], hint: str = "ask again shortly") -> RpcError:
    """Return the error for what no stable checkpoint covers yet, or none that these witnesses cosigned."""
    if not witnesses:
        reason, message = "checkpoint_pending", f"no stable checkpoint covers this {what} yet"
    else:
        reason, message = "witness_pending", f"no checkpoint that these witnesses cosigned covers this {what} yet"
        hint = f"{hint}; does this node ask them? see its [witnesses] and chainnode_witness_failures_total"
    return unavailable(reason, message, hint=hint, retry_after_ms=CHECKPOINT_RETRY_MS)


def no_event(services: Services, event_id: EventId) -> RpcError:
    """Return the error for an event that this node does not know: it may lie before what it holds."""
    base = services.reads.base()
    hint = "ledger_getStatus tells of pending ones"
    if base:
        hint = f"this node holds the events above block {base} alone: ask one that holds the whole chain"
    return not_found("the ledger holds no such event", got=event_id.hex(), hint=hint)


def present_validators(services: Services) -> tuple[ValidatorSet, int]:
    """Return the set that votes now and the height of the state that says so; -32002 before there is a chain."""
    value = services.reads.state_value(VALIDATORS_KEY)
    if value is None or value.value is None:
        raise unavailable("no_chain", "this node holds no chain yet")
    return decode(ValidatorSet, value.value, size_max=STATE_VALUE_SIZE_MAX), int(value.header.height)


def policy_text(services: Services) -> str:
    """Return the policy of the present validators, which judges past epochs as well, with all declared log keys."""
    reads = services.reads
    declared = declared_log_keys(CommittedState(reads.store))
    return policy_of(reads.genesis, spans_of(reads, present_validators(services)[0].epoch), declared)


def handover_bytes(services: Services, epoch: int) -> bytes | None:
    """Return the canonical bytes of the handover that ends an epoch; None where it is not over."""
    if epoch >= present_validators(services)[0].epoch:
        return None
    return encode(make_handovers(services.reads, epoch + 1, epoch)[0])


def block_parts(services: Services, height: int) -> bytes | None:
    """Return the canonical bytes of a block's parts; None where there is no such block yet."""
    return None if services.reads.committed_block(height) is None else encode(make_parts(services.reads, height))
