"""Rules of the protocol broken by hand, one line each, to show that the enumeration finds such a fault.

A break replaces a line in the source of one function and puts the altered function in its place for a while. Where the
line is no longer there, `broken` says so instead of breaking nothing.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from primitives.errors import UsageError


@dataclass(frozen=True, slots=True)
class Break:
    """One rule broken: in `owner` (a module, or module:Class) the function `name` reads `new` where it read `old`."""

    rule: str
    owner: str
    name: str
    old: str
    new: str


BREAKS: Final[dict[str, Break]] = {
    "commit-on-old-commit": Break(
        "COMMIT may rest on a COMMIT of an earlier view",
        "consensus.ordering",
        "_vote",
        "parent_committed = slot.commit is not None",
        "parent_committed = slot.claim is not None and slot.claim.certificate.block_hash == block_hash",
    ),
    "no-vow": Break(
        "a VIEW-CHANGE does not end voting in the view below",
        "consensus.state:ReplicaState",
        "may_vote",
        "return self.may_vow and self.active and",
        "return self.may_vow and",
    ),
    "old-new-view": Break(
        "a NEW-VIEW of a view below the vowed one is accepted",
        "consensus.view_change",
        "on_new_view",
        "or message.view < state.view or",
        "or",
    ),
    "lowest-view": Break(
        "the choice takes the claim of the lowest view instead of the highest",
        "consensus.choice",
        "_best_claims",
        "claim.certificate.view > held.certificate.view",
        "claim.certificate.view < held.certificate.view",
    ),
    "any-base": Break(
        "the choice starts from the lowest delivered height instead of the highest",
        "consensus.choice",
        "choose",
        "base = max(",
        "base = min(",
    ),
    "no-claims": Break(
        "a VIEW-CHANGE leaves out what its sender committed to",
        "consensus.view_change",
        "start",
        "if state.in_window(height) and",
        "if False and",
    ),
    "small-quorum": Break(
        "one vote too few makes a quorum",
        "primitives.validators:ValidatorSet",
        "quorum",
        "// 2 + 1",
        "// 2",
    ),
    "signers-twice": Break(
        "a vote that comes again counts for another validator",
        "consensus.tally:Tally",
        "add",
        "self._votes.setdefault(validator, {})",
        "self._votes.setdefault(validator ^ (validator in self._votes), {})",
    ),
    "views-together": Break(
        "COMMITs of different views count together",
        "consensus.tally:Tally",
        "decided",
        "for key, count in self._counts.items() if count >= quorum",
        "for key in self._counts if sum(c for held, c in self._counts.items() if held[1] == key[1]) >= quorum",
    ),
    "unchosen": Break(
        "a fresh block may stand where the NEW-VIEW chose one",
        "consensus.ordering",
        "_refusal",
        "if chosen is not None:",
        "if False:",
    ),
}


@contextmanager
def broken(key: str) -> Iterator[Break]:
    """Break a rule for as long as the context lasts; raises `UsageError` where the line is not found."""
    each = BREAKS[key]
    module_name, _, class_name = each.owner.partition(":")
    module = sys.modules[module_name]
    owner: Any = getattr(module, class_name) if class_name else module  # Any: a module or a class
    held = inspect.getattr_static(owner, each.name)
    altered = _altered(each, held, module)
    owners = [owner] if class_name else [other for other in sys.modules.values() if vars(other).get(each.name) is held]
    for place in owners:
        setattr(place, each.name, altered)
    try:
        yield each
    finally:
        for place in owners:
            setattr(place, each.name, held)


def _altered(each: Break, held: Any, module: ModuleType) -> Any:  # Any: a function, or a property
    """Return the function or property with its line replaced, over its module's own names."""
    function = getattr(held, "fget", None) or getattr(held, "func", None) or held
    source = textwrap.dedent(inspect.getsource(function)).replace("@cached_property", "@property")
    if source.count(each.old) != 1:
        raise UsageError(
            "the line of a rule", where=each.owner, expected=f"once: {each.old}", got=source.count(each.old)
        )
    space: dict[str, Any] = {}  # Any: what is defined
    exec(source.replace(each.old, each.new), vars(module), space)  # noqa: S102  our own source
    return space[each.name]
