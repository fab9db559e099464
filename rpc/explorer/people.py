"""Who is who: members and the validators of each epoch, by name, as pages need them beside what they show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ledger.committed_state import CommittedState
from ledger.members import MEMBER_ID_PATTERN, Member, read_member, read_members, read_validators_of
from primitives.ids import Epoch
from primitives.validators import ValidatorSet
from rpc.explorer.asking import Asked
from rpc.ports import Check, Ending, NodeStatus, PeerStatus, Services, Version

SETS_KEPT = 64
_MEMBER_ID = re.compile(MEMBER_ID_PATTERN)


def state_of(services: Services) -> CommittedState:
    """Return the newest committed state."""
    return CommittedState(services.reads.store)


def members_of(services: Services) -> list[Member]:
    """Return all members, ascending by id."""
    return read_members(state_of(services))


def member_of(services: Services, name: str) -> Member | None:
    """Return a member by its id, or None, also of what is no id."""
    return read_member(state_of(services), name) if _MEMBER_ID.search(name) else None


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


@dataclass(frozen=True, slots=True)
class Moment:
    """What the node said at one moment of its loop, as the port that methods ask, which may then run in a thread."""

    said: NodeStatus
    linked: tuple[PeerStatus, ...]
    checks: tuple[bool, tuple[Check, ...]]
    running: Version
    ends: tuple[Ending, ...]

    def status(self) -> NodeStatus:
        """Return the node's position and role, as it was."""
        return self.said

    def peers(self) -> Sequence[PeerStatus]:
        """Return the peers, as they were."""
        return self.linked

    def ready(self) -> tuple[bool, Sequence[Check]]:
        """Return the readiness, as it was."""
        return self.checks

    def version(self) -> Version:
        """Return what runs."""
        return self.running

    def endings(self) -> Sequence[Ending]:
        """Return when certificates end, as they were seen."""
        return self.ends


def at_this_moment(asked: Asked) -> Services:
    """Return the services with the node as it is now: what is asked of it in a thread then needs its loop no more."""
    node = asked.services.node

    def look() -> Moment:
        is_ready, checks = node.ready()
        return Moment(
            node.status(), tuple(node.peers()), (is_ready, tuple(checks)), node.version(), tuple(node.endings())
        )

    return replace(asked.services, node=asked.on_loop(look))
