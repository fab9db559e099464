"""Random draws from streams of their own, by name: what one purpose draws leaves all others as they were.

A run that lacks one fault or one batch thereby stays otherwise as it was, as far as it can: that is what makes a
failing run shrinkable.
"""

from __future__ import annotations

from random import Random


def below(random: Random, bound: int) -> int:
    """Return what `random.randrange(bound)` returns, by the same draws; several are drawn for every message."""
    bits = bound.bit_length()
    drawn = random.getrandbits(bits)
    while drawn >= bound:
        drawn = random.getrandbits(bits)
    return drawn


class Streams:
    """The streams of one seed; one name is one stream, the same in every process and Python version."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._links: dict[tuple[int, int], Random] = {}
        self._named: dict[str, Random] = {}

    def of(self, name: str) -> Random:
        """Return the stream of a purpose."""
        if name not in self._named:
            self._named[name] = Random(f"{self._seed} {name}")  # noqa: S311  a simulation must be repeatable
        return self._named[name]

    def link(self, sender: int, receiver: int) -> Random:
        """Return the stream of one direction between two nodes."""
        found = self._links.get((sender, receiver))
        if found is None:
            name = f"{self._seed} link {sender} {receiver}"
            found = self._links[sender, receiver] = Random(name)  # noqa: S311  as above
        return found
