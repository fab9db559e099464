"""Whether order can still return: from some state on the malicious fall silent and the honest do their best.

What they can use is what they hold: their own votes, claims and delivered blocks, and certificates that a NEW-VIEW
showed them. Votes that only malicious validators could add are not counted on. Not here: time-outs, whose length is the
simulator's matter; this asks whether a way exists at all.
"""

from __future__ import annotations

from sim.model.actions import NAMES, Model
from sim.model.protocol import vow_refused
from sim.model.states import NO_CLAIM, Local, State


def stuck(model: Model, state: State) -> str | None:
    """Return why no fair continuation commits anything above what is delivered; None where one does."""
    view = model.bounds.views  # one that nobody has entered
    state = _caught_up(model, state)
    for index, local in enumerate(state.locals):
        if local.known > len(local.chain):
            return f"{NAMES[index]} knows that height {local.known} is certified, and cannot deliver it"
        if vow_refused(local, view) is not None:
            return f"{NAMES[index]} may not vow"
        state = model.vow(state, index, view)
    height = max(len(local.chain) for local in state.locals) + 1
    if height > model.bounds.heights:
        return None  # the model ends here
    choice = model.chosen_of([local.vows[view] for local in state.locals])
    fresh = model.children(choice.base_block)[0]
    block = choice.blocks[0] if choice.blocks else fresh
    for index in range(len(state.locals)):
        state = model.enter(state, index, view, choice)
    for index in range(len(state.locals)):
        if not model.may_prepare(state, index, view, block):
            return f"{NAMES[index]} cannot prepare {model.name(block)}"
        state = model.prepare(state, index, view, block)
    for index in range(len(state.locals)):
        certificate = model.may_commit(state, index, view, block)
        if certificate is None:
            return f"{NAMES[index]} cannot commit {model.name(block)}"
        state = model.commit(state, index, view, block, certificate)
    return None if state.certified[height - 1].block else f"nothing is certified at height {height}"


def _caught_up(model: Model, state: State) -> State:
    """Return the state once the honest have given each other what they hold."""
    blocks = [top.block for top in state.certified]
    highest = max(len(local.chain) for local in state.locals)
    for known in sorted(local.known for local in state.locals):
        if model.rules.gapless_base or known == highest + 1:  # else a NEW-VIEW showed this certificate and none below
            highest = max(highest, known)
    return state._replace(locals=tuple(_delivered(local, blocks[:highest]) for local in state.locals))


def _delivered(local: Local, blocks: list[int]) -> Local:
    """Return a validator that delivered these blocks."""
    chain = (*local.chain, *blocks[len(local.chain) :])
    claimed = tuple(NO_CLAIM if place < len(chain) else claim for place, claim in enumerate(local.claimed))
    return local._replace(chain=chain, claimed=claimed)
