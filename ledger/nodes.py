"""What the state holds of validators besides their set: where each is reached, and every key that ever was one's.

Here: the rows `node/<name>`, `node-address/<hex>` and `validator-key/<hex>`, and the one way in which a new set is
written. Not here: the set itself (`ledger.members`), who decides on it (`ledger.governance`).
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated

from msgspec import Meta

from ledger.members import MemberName, put_validators, read_validators_of
from ledger.shape_errors import NODE_NAME_PATTERN
from ledger.state import StateReader, Transaction
from primitives.encoding import Record
from primitives.ids import Epoch
from primitives.validators import Validator, ValidatorSet

NODE_PREFIX = "node/"
NodeName = Annotated[str, Meta(pattern=NODE_NAME_PATTERN)]
Address = Annotated[str, Meta(max_length=300)]
USES = ("vote", "cosign", "log")


class Node(Record):
    """A node that is or was a validator, at `node/<name>`: whose it is and where its peers find it (`host:port`)."""

    member: MemberName
    address: Address


class KeyUse(Record):
    """A key of a validator, at `validator-key/<hex>`, kept for good: a retired key never comes back."""

    name: NodeName
    use: str
    epoch: Epoch


class NodeAddress(Record):
    """Which validator has an address, at `node-address/<SHA-256 of it>`; the last one to take it."""

    name: NodeName


def node_key(name: str) -> str:
    """Return the state key of a node's row."""
    return f"{NODE_PREFIX}{name}"


def validator_key_key(key: bytes) -> str:
    """Return the state key of the row that a validator's key has."""
    return f"validator-key/{key.hex()}"


def read_node(state: StateReader, name: str) -> Node | None:
    """Return where a validator is reached, also of one that left; None for a name that never was one's."""
    return state.get(node_key(name), Node)


def name_at(state: StateReader, address: str) -> str | None:
    """Return which node has an address, or had it last; None for one that no validator ever had."""
    row = state.get(_address_key(address), NodeAddress)
    node = None if row is None else read_node(state, row.name)
    return row.name if row is not None and node is not None and node.address == address else None


def read_key_use(state: StateReader, key: bytes) -> KeyUse | None:
    """Return whose key this is or was; None for one that no validator ever had."""
    return state.get(validator_key_key(key), KeyUse)


def keys_of(validator: Validator) -> tuple[tuple[str, bytes], ...]:
    """Return a validator's keys with their uses."""
    return tuple(zip(USES, (validator.vote_key, validator.cosign_key, validator.log_key), strict=True))


def put_set(state: Transaction, validators: ValidatorSet, addresses: dict[str, str]) -> None:
    """Write the set of an epoch, the given validators' addresses, and every key that was not a validator's before."""
    before = read_validators_of(state, Epoch(validators.epoch - 1))
    known = frozenset() if before is None else frozenset(before.validators)
    put_validators(state, validators)
    for validator in validators.validators:
        if validator.name in addresses:
            address = addresses[validator.name]
            state.put(node_key(validator.name), Node(validator.member, address))
            state.put(_address_key(address), NodeAddress(validator.name))
        if validator in known:
            continue  # its keys are known since it joined
        for use, key in keys_of(validator):
            if read_key_use(state, key) is None:
                state.put(validator_key_key(key), KeyUse(validator.name, use, validators.epoch))


def _address_key(address: str) -> str:
    return f"node-address/{sha256(address.encode()).hexdigest()}"


def listed_nodes(state: StateReader, epoch: Epoch, *, with_previous: bool) -> dict[str, Node]:
    """Return name and node of the validators of an epoch, and of the one before where asked."""
    epochs = [epoch, Epoch(epoch - 1)] if with_previous and epoch else [epoch]
    sets = [found for item in epochs if (found := read_validators_of(state, item)) is not None]
    nodes = {validator.name: read_node(state, validator.name) for item in sets for validator in item.validators}
    return {name: node for name, node in sorted(nodes.items()) if node is not None}
