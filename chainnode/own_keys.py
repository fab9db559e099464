"""Whether a node's key files are those that the chain knows under its name; pure.

A key that is not registered signs nothing that anybody takes: the node would only follow, and nobody would be told.
Here: the comparison, and the words for the log and the status. Not here: reading key files (`chainnode.identity`), what
a node without its registered voting key may do (`consensus.state`). Source: architecture §5 (Epochs, Lost disks).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ledger.governance_bodies import AddValidator, RekeyValidator
from ledger.governance_records import under_way
from ledger.log_keys import is_listed
from ledger.nodes import USES
from ledger.state import StateReader
from primitives.validators import Validator, ValidatorSet

HINT: Final = (
    "put the node's own key files back, or give it new ones with `chainnode validator renew-keys` and have them "
    "approved; a node that is behind knows of newer keys once it has caught up"
)

DECLARE: Final = (
    "declare it with `chainnode keys log-entry` here and `chainnode keys declare-log` at the member's gateway"
)


@dataclass(frozen=True, slots=True)
class KeyFault:
    """A key file that holds another key than the one registered for the node, or a log key that no policy lists."""

    file: str
    expected: str
    got: str
    is_unlisted: bool = False

    @property
    def hint(self) -> str:
        """What to do about it."""
        return DECLARE if self.is_unlisted else HINT

    def sentence(self) -> str:
        """Return the fault for a person."""
        if self.is_unlisted:
            return f"no policy lists {self.file} ({self.got}), so verifiers refuse what this node serves: {DECLARE}"
        return (
            f"{self.file} is not the key that the chain knows for this node: expected {self.expected}, got {self.got}"
        )


def key_faults(
    name: str, member: str, own: Mapping[str, bytes | None], validators: ValidatorSet, ledger: StateReader, time_ms: int
) -> list[KeyFault]:
    """Return what is wrong with a node's public keys by use (`vote`, `cosign`, `log`; None where there is no file).

    A node that is no validator may have any keys but another's; its log key must be one that its member declared, or
    have been a validator's. Keys that a proposal under way would register are right already: `ledger` is the state
    after the delivered block, `time_ms` that block's time.
    """
    index = validators.indexes.get(name)
    registered = None if index is None else validators.validators[index]
    faults = list(_faults(name, own, registered, _owners(validators)))
    log_key = own["log"]
    if not faults and registered is None and log_key is not None and not is_listed(ledger, member, log_key):
        faults.append(KeyFault("keys/log.key", "a log key that policies list", log_key.hex(), is_unlisted=True))
    if faults and _proposed(name, own, ledger, time_ms):
        return []
    return faults


def _faults(
    name: str, own: Mapping[str, bytes | None], registered: Validator | None, owners: Mapping[bytes, tuple[str, str]]
) -> Iterator[KeyFault]:
    for use in USES:
        have = own[use]
        got = "no such file" if have is None else f"{have.hex()}, registered for nobody"
        if have is not None and have in owners:
            whose, what = owners[have]
            got = f"{have.hex()}, the {what} key of {whose}"
        if registered is not None:
            wanted: bytes = getattr(registered, f"{use}_key")
            if have != wanted:
                yield KeyFault(f"keys/{use}.key", f"{wanted.hex()}, the {use} key of {name}", got)
        elif have in owners:
            yield KeyFault(f"keys/{use}.key", f"a key of {name}'s own", got)


def _owners(validators: ValidatorSet) -> dict[bytes, tuple[str, str]]:
    """Return each validator's keys, with its name and the use."""
    return {getattr(each, f"{use}_key"): (each.name, use) for each in validators.validators for use in USES}


def _proposed(name: str, own: Mapping[str, bytes | None], ledger: StateReader, time_ms: int) -> bool:
    """Say whether the members are asked, or have agreed already, to register these very keys under this name."""
    actions = (proposal.action for _, proposal in under_way(ledger, time_ms))
    return any(
        isinstance(action, AddValidator | RekeyValidator)
        and action.name == name
        and all(getattr(action.keys, f"{use}_key") == own[use] for use in USES)
        for action in actions
    )
