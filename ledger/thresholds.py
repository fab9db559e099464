"""How many of the members with a validator decide on an action: by its type, as the state has it.

Here: the shares, those that a chain begins with, how low each type's may be set, and the row `thresholds`. What changes
who decides is decided by two thirds, whatever the row says; so is the policy, by which blocks are judged. Not here:
counting votes (`ledger.governance_records`). Source: decision records 10 and 17.

Of m members f = floor((m-1)/3) may be malicious or gone. Every share is more than f, so those pass nothing alone, and
none is more than m - f, so they cannot keep the others from passing anything.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import Final, assert_never

from ledger.state import StateReader, Transaction
from primitives.encoding import Record

THRESHOLDS_KEY: Final = "thresholds"


class Share(enum.StrEnum):
    """More than so much of the members with a validator."""

    THIRD = "third"
    MAJORITY = "majority"
    TWO_THIRDS = "two_thirds"


_ORDER: Final = (Share.THIRD, Share.MAJORITY, Share.TWO_THIRDS)
LOWEST: Final = MappingProxyType(
    {
        "add_catalogue": Share.MAJORITY,
        "remove_source": Share.THIRD,
        "set_roles": Share.MAJORITY,
        "set_source_roles": Share.MAJORITY,
    }
)
"""How low the share of a type may be set; every other type's is two thirds for good."""
FIRST: Final = MappingProxyType({"add_catalogue": Share.MAJORITY})
"""What a chain begins with where it is less than two thirds."""


class Threshold(Record):
    """The share that decides on actions of a type."""

    action: str
    share: Share


class Thresholds(Record):
    """The row `thresholds`: what was set otherwise than a chain begins with, ascending by type."""

    set: tuple[Threshold, ...] = ()

    def share_of(self, action: str) -> Share:
        """Return the share that decides on actions of a type."""
        if action not in LOWEST:
            return Share.TWO_THIRDS
        found = next((item.share for item in self.set if item.action == action), None)
        return found or FIRST.get(action, Share.TWO_THIRDS)


def read_thresholds(state: StateReader) -> Thresholds:
    """Return the shares in force."""
    return state.get(THRESHOLDS_KEY, Thresholds) or Thresholds()


def put_threshold(state: Transaction, action: str, share: Share) -> None:
    """Set the share of a type."""
    others = [item for item in read_thresholds(state).set if item.action != action]
    state.put(THRESHOLDS_KEY, Thresholds(tuple(sorted((*others, Threshold(action, share)), key=lambda i: i.action))))


def is_below(share: Share, lowest: Share) -> bool:
    """Say whether a share is less than another."""
    return _ORDER.index(share) < _ORDER.index(lowest)


def passes(voters_count: int, approvals: int, share: Share = Share.TWO_THIRDS) -> bool:
    """Say whether votes decide a proposal: more than the share of the voters.

    Of m voters, f = floor((m-1)/3) may be malicious or gone. f votes pass nothing, as 3f < m; and f cannot keep
    the others from passing it, as m >= 3f+1 gives 3(m-f) > 2m.
    """
    match share:
        case Share.TWO_THIRDS:
            return 3 * approvals > 2 * voters_count
        case Share.MAJORITY:
            return 2 * approvals > voters_count
        case Share.THIRD:
            return 3 * approvals > voters_count
        case _:
            assert_never(share)


def votes_needed(voters_count: int, share: Share = Share.TWO_THIRDS) -> int:
    """Return the smallest number of approvals that passes a proposal."""
    match share:
        case Share.TWO_THIRDS:
            return 2 * voters_count // 3 + 1
        case Share.MAJORITY:
            return voters_count // 2 + 1
        case Share.THIRD:
            return voters_count // 3 + 1
        case _:
            assert_never(share)
