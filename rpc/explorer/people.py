"""Who is who: members and the validators of each epoch, by name, as pages need them beside what they show."""

from __future__ import annotations

from functools import lru_cache

from ledger.committed_state import CommittedState
from ledger.members import Member, read_member, read_members, read_validators_of
from primitives.ids import Epoch
from primitives.validators import ValidatorSet
from rpc.ports import Services

SETS_KEPT = 64


def state_of(services: Services) -> CommittedState:
    """Return the newest committed state."""
    return CommittedState(services.reads.store)


def members_of(services: Services) -> list[Member]:
    """Return all members, ascending by id."""
    return read_members(state_of(services))


def member_of(services: Services, name: str) -> Member | None:
    """Return a member by its id, or None."""
    return read_member(state_of(services), name)


class Signers:
    """The validators of epochs, by index: an epoch's set never changes."""

    def __init__(self, services: Services) -> None:
        self._state = state_of(services)
        self._of = lru_cache(SETS_KEPT)(lambda epoch: read_validators_of(self._state, Epoch(epoch)))

    def set_of(self, epoch: int) -> ValidatorSet | None:
        """Return an epoch's set; None where the state holds none."""
        return self._of(epoch)

    def name(self, epoch: int, index: int) -> str:
        """Return a validator's name, or its number where the set is not known."""
        found = self._of(epoch)
        return found.validators[index].name if found is not None and index < found.n else f"#{index}"

    def member(self, epoch: int, index: int) -> str | None:
        """Return a validator's member, None where the set is not known."""
        found = self._of(epoch)
        return found.validators[index].member if found is not None and index < found.n else None
