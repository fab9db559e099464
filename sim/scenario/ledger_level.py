"""Values and expectations of the ledger: the life of a certificate, what became of events, receipts, keys.

Bank 0 is the certification body too, with three desks (keys), bank 1 the laboratory, bank 2 the inspector; bank 3
applies. So the rules of domain §3 are kept, and only what the file says breaks one.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

from ledger.batches import ParsedBatch, build_batch
from ledger.catalogue import PUBLISHED_CATALOGUES, EvidenceKind
from ledger.certificate_bodies import (
    Accept,
    Apply,
    Body,
    Evidence,
    Grant,
    Product,
    Restore,
    Review,
    SiteCheck,
    Suspend,
    TypeTest,
)
from ledger.events import Event
from ledger.genesis import GenesisSource
from ledger.handovers import spans_of
from ledger.members import Role
from ledger.outcomes import Outcome
from ledger.receipts import make_receipt, verify
from ledger.registry import KINDS_BY_NAME
from ledger.trust_policy import policy_text
from primitives.encoding import encode
from primitives.errors import SignatureError
from primitives.ids import ZERO_HASH, Hash, TimeMs
from primitives.keys import check_public_key
from primitives.keys import verify as verify_ed25519
from primitives.validators import Validator, ValidatorSet
from sim.scenario.altered import DEGENERATE, IDENTITY
from sim.scenario.batches import keep
from sim.scenario.stage import Stage
from sim.scenario.vocabulary import expectation, statement, value
from sim.scenario.words import Match, ScenarioError
from sim.workload import EVENT_LIFETIME_MS, bank_of, key_of

APPLICATION: Final = f"{bank_of(3)}.0001"
NUMBER: Final = "FTP-2026-06-000001"
CATEGORY: Final = 6
PRODUCT: Final = Product("Counter terminal", "CT-1", "2.0")
DESKS: Final = ("source", "reviewer", "decider")
ROLES: Final = {
    0: (Role.BANK, Role.CERTIFICATION_BODY),
    1: (Role.BANK, Role.LABORATORY),
    2: (Role.BANK, Role.INSPECTOR),
}


@statement(
    "certificates", "bank 0 is the certification body as well, 1 the laboratory, 2 the inspector; bank 3 applies"
)
def _certificates(stage: Stage, found: Match) -> None:
    genesis = stage.setting.genesis
    members = []
    for index, member in enumerate(genesis.members):
        roles = ROLES.get(index, (Role.BANK,))
        sources = tuple(GenesisSource(key_of(member.id, desk).public, roles) for desk in DESKS)
        members.append(msgspec.structs.replace(member, roles=roles, sources=sources))
    stage.set(found, genesis=msgspec.structs.replace(genesis, members=tuple(members), catalogues=PUBLISHED_CATALOGUES))


def _piece(kind: EvidenceKind, text: str = "") -> Evidence:
    return Evidence(kind, sha256(f"{kind} {text}".encode()).digest(), bank_of(0), 1_000)


def _road() -> list[tuple[int, str, str, Body]]:
    """Return who says what, from an application to a certificate: bank, desk, kind, body."""
    return [
        (
            3,
            "source",
            "apply",
            Apply(APPLICATION, "Bank 3", PRODUCT, CATEGORY, (_piece(EvidenceKind.TECHNICAL_DOCUMENTS),)),
        ),
        (0, "source", "accept", Accept(APPLICATION)),
        (1, "source", "type_test", TypeTest(APPLICATION, True, (_piece(EvidenceKind.TYPE_EXAMINATION),))),
        (2, "source", "site_check", SiteCheck(APPLICATION, True, (_piece(EvidenceKind.SITE_CHECK),))),
        (0, "reviewer", "review", Review(APPLICATION, (_piece(EvidenceKind.REVIEW_REPORT),))),
        (0, "decider", "grant", Grant(APPLICATION, NUMBER, None, None, None)),
    ]


def stateful_batch(stage: Stage, node: int, desk: str, kind: str, body: object) -> ParsedBatch:
    """Return the next batch of a bank's desk, of one event that changes the state; each has a reference of its own."""
    member = bank_of(node)
    number = stage.numbers.get(-1, 0)
    stage.numbers[-1] = number + 1
    reference = sha256(f"reference {number}".encode()).digest()[:16]
    spec = KINDS_BY_NAME[kind]
    expires_ms = TimeMs(stage.now_ms + EVENT_LIFETIME_MS)
    event = encode(Event(member, reference, expires_ms, spec.kind, 1, encode(body)))
    source = stage.world.gateways.sources[node]
    if desk == DESKS[0]:
        batch = keep(stage, source.batch_of([event], stage.now_ms))
    else:
        before = stage.notes.get(f"desk {node} {desk}")
        held = before if isinstance(before, ParsedBatch) else None
        raw = build_batch(
            [event],
            chain_id=stage.world.chain_id,
            member=member,
            key=key_of(member, desk),
            number=0 if held is None else held.header.number + 1,
            previous=ZERO_HASH if held is None else Hash(held.hash),
            time_ms=stage.now_ms,
        )
        batch = keep(stage, raw)
        stage.notes[f"desk {node} {desk}"] = batch
    assert isinstance(batch, ParsedBatch), "it is well-formed"
    return batch


@statement("grant the certificate", "six events, from the application to the grant, each committed before the next")
def _grant(stage: Stage, found: Match) -> None:
    world = stage.world
    for node, desk, kind, body in _road():
        batch = stateful_batch(stage, node, desk, f"certificate.{kind}", body)
        world.gateways.hand_in(node, batch.raw)
        world.run_until(world.now_ms + 1_000)
        if (got := _outcome(stage, batch, 0)) != "applied":
            raise ScenarioError(found.line.number, f"the event {kind}", "applied", got)


@value("batch from NODE that suspends|restores the certificate", "one event of the certificate's life")
def _life(stage: Stage, found: Match) -> ParsedBatch:
    node = stage.node(found, "from")
    if found.word("that") == "suspends":
        return stateful_batch(
            stage, node, DESKS[0], "certificate.suspend", Suspend(NUMBER, "inspection_failed", None, 30)
        )
    correction = (_piece(EvidenceKind.CORRECTIVE_ACTION),)
    return stateful_batch(stage, node, DESKS[0], "certificate.restore", Restore(NUMBER, correction))


@value("batch from NODE repeating NAME", "the next batch of a bank's source, with the very events of an earlier one")
def _repeating(stage: Stage, found: Match) -> object:
    node = stage.node(found, "from")
    events = list(stage.value(found, found.word("repeating"), ParsedBatch).event_bytes)
    return keep(stage, stage.world.gateways.sources[node].batch_of(events, stage.now_ms))


# --- outcomes and receipts


def _outcomes(stage: Stage, batch: ParsedBatch, node: int) -> list[Outcome]:
    core = stage.world.core(node)
    if core is None:
        return []
    found = []
    for event_id in batch.ids:
        places = [
            place
            for place in core.reader.positions(event_id)
            if core.reader.batch_evidence(place.height, place.index).header.hash() == batch.hash
        ]
        found += [core.reader.outcome(place.height, place.index) for place in places]
    return found


def _outcome(stage: Stage, batch: ParsedBatch, node: int) -> str:
    found = _outcomes(stage, batch, node)
    return ", ".join(dict.fromkeys(outcome.rule or "applied" for outcome in found)) or "not ordered"


@expectation(
    "outcome of NAME on NODES is TEXT", "what became of the events of a batch: `applied`, or the rule that they broke"
)
def _outcome_is(stage: Stage, found: Match) -> tuple[bool, str]:
    batch = stage.value(found, found.word("of"), ParsedBatch)
    seen = [(node, _outcome(stage, batch, node)) for node in stage.nodes(found, "on")]
    return all(got == found.text("is") for _, got in seen), ", ".join(f"{node}: {got}" for node, got in seen)


@expectation(
    "receipt of NAME from NODE says TEXT",
    "the receipt of a batch's first event verifies offline and says this (`applied`, or `rejected: RULE`)",
)
def _receipt(stage: Stage, found: Match) -> tuple[bool, str]:
    batch = stage.value(found, found.word("of"), ParsedBatch)
    core = stage.world.core(stage.node(found, "from"))
    text = None if core is None else make_receipt(core.reader, batch.ids[0])
    if core is None or text is None:
        return False, "there is no receipt yet"
    policy = policy_text(stage.world.genesis, spans_of(core.reader, stage.epoch()))
    verdict = verify(text, policy)
    got = "applied" if verdict.applied else f"rejected: {verdict.rule}"
    return got == found.text("says"), f"{got}, of {verdict.member}, at height {verdict.height}"


# --- keys


@expectation(
    "degenerate keys are refused",
    "neither keys nor validator sets take the neutral point, and the one verifier takes no signature of it",
)
def _degenerate(stage: Stage, found: Match) -> tuple[bool, str]:
    del found
    taken = []
    if verify_ed25519(IDENTITY, b"anything at all", DEGENERATE):
        taken.append("the verifier")
    try:
        check_public_key(IDENTITY)
        taken.append("a key's registration")
    except SignatureError:
        pass
    first, *rest = stage.validators().validators
    changed = Validator(first.name, first.member, IDENTITY, first.cosign_key, first.log_key)
    try:
        ValidatorSet(stage.epoch(), (changed, *rest)).check()
        taken.append("a validator set")
    except SignatureError:
        pass
    return not taken, f"taken by {' and '.join(taken)}" if taken else "refused by key, validator set and verifier"
