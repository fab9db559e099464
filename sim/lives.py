"""Certificates' lives in a simulated consortium by the third rules: who says what, as far as a life has come.

A life is of one product: each of its steps looks at what the holder's own node holds of it and says the event that
leads on, mostly; now and then another one, by a bank that has no part in it, which ends as a rule that it broke. So
batches that are lost, late or ordered otherwise than they were said only slow a life down. What must hold is what holds
of any event: honest nodes come to the same state. Everything is derived from the seed and the life's number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from random import Random
from typing import Final

from ledger.catalogue import EvidenceKind
from ledger.certificate_bodies import (
    Accept,
    Appeal,
    ApplyChange,
    ApplyScoped,
    Approval,
    Body,
    Cancel,
    DecideAppeal,
    Evidence,
    Extend,
    Grant,
    GrantSigned,
    Product,
    Reduce,
    Refuse,
    Reissue,
    Renew,
    Restore,
    Review,
    Revoke,
    RevokeSigned,
    SiteCheck,
    Surveil,
    Suspend,
    TypeTest,
)
from ledger.certificate_records import Application, Certificate, State, read_application, read_certificate
from ledger.events import Event
from ledger.inspection_bodies import DrawBody
from ledger.registry import KINDS
from ledger.scheme_checks import decided_upon, statement_upon
from ledger.scheme_records import CertificateScheme, Decision, read_application_scheme, read_certificate_scheme
from ledger.state import StateView
from primitives.encoding import encode
from primitives.ids import Hash, TimeMs
from sim.cluster import Cluster
from sim.draws import Draws, plan_windows
from sim.workload import CLERK, DECIDER, EVENT_LIFETIME_MS, OFFICER, SOURCE, START_MS, bank_of, key_of, reference_of

CATEGORY: Final = 6
SCOPE: Final = ("contact", "contactless")
WIDER: Final = (*SCOPE, "barcode")
HOLDER_ID: Final = "HWUPKR0MPOU8FGXBT394"
STEPS: Final = 40
ASTRAY: Final = 0.2
"""How many steps say something that leads nowhere."""

SUPERVISED: Final = 0.3
"""How many steps are those of the life's draw (`sim.draws`)."""
MONTHS: Final = 5
"""A certificate's term: shorter than the window to renew it."""

_PLACES: Final = {type_: (spec.kind, schema) for spec in KINDS.values() for schema, type_ in spec.schemas.items()}
ON_ACTIVE: Final = ("suspend", "surveil", "reduce", "reissue", "change", "revoke", "cancel")
SUCCESSORS: Final = 500_000
"""What is added to a certificate's serial for the one that supersedes it."""
_WAY: Final = {
    State.APPLIED: "accept",
    State.ACCEPTED: "test",
    State.TYPE_TESTED: "check",
    State.SITE_CHECKED: "review",
}


@dataclass(frozen=True, slots=True)
class Life:
    """A product of a bank: from when on, and how often, something is said of it, and how many times."""

    at_ms: int
    holder: int
    every_ms: int
    steps: int


@dataclass(frozen=True, slots=True)
class _Said:
    bank: int
    key: str
    body: Body | DrawBody


def life_line(life: Life) -> str:
    """Return a life as a line of a scenario."""
    return f"life {life.at_ms} of {life.holder} every {life.every_ms} steps {life.steps}"


def draw_lives(random: Random, chaos_ms: int, banks: int) -> tuple[Life, ...]:
    """Return a few lives in order of time."""
    lives = []
    for _ in range(random.randint(1, 3)):
        life = Life(random.randrange(chaos_ms // 4), random.randrange(banks), random.choice((200, 400, 800)), STEPS)
        lives.append(until(life, chaos_ms))
    return tuple(sorted(lives, key=lambda life: life.at_ms))


def until(life: Life, end_ms: int) -> Life:
    """Return a life that began before a time without the steps from that on."""
    return replace(life, steps=min(life.steps, (end_ms - life.at_ms - 1) // life.every_ms + 1))


def plan_lives(cluster: Cluster, lives: Iterable[Life], seed: int) -> None:
    """Put the steps of lives in a cluster's queue, and the vote that their draws need."""
    lives = tuple(lives)
    if lives:
        plan_windows(cluster)
    for number, life in enumerate(lives, 1):
        for step in range(life.steps):
            at_ms = START_MS + life.at_ms + step * life.every_ms
            random = Random(f"life {seed} {number} {step}")  # noqa: S311  repeatable
            cluster.schedule(at_ms, partial(live, cluster, life.holder, number, step, random))


def live(cluster: Cluster, holder: int, number: int, step: int, random: Random) -> None:
    """Say what leads a life on, as the holder's node knows it; nothing where it does not run, or the life is over."""
    core = cluster.nodes[cluster.gateways.node_of(holder)].core
    if core is None:
        return
    chain = core.chain
    state = chain.state_after(chain.tip_hash)
    case = _Case(holder, number, step, len(cluster.gateways.sources), random, state)
    if random.random() < SUPERVISED:
        said = case.inspected(cluster.chain_id, cluster.now_ms)
    else:
        said = case.astray() if random.random() < ASTRAY else case.next()
    if said is not None:
        said = case.signed(cluster.chain_id, said)
        cluster.gateways.say(said.bank, said.key, _event(bank_of(said.bank), said.body, cluster.now_ms))


def _event(member: str, body: Body | DrawBody, now_ms: TimeMs) -> bytes:
    data = encode(body)
    reference = reference_of(data + encode(int(now_ms)))
    return encode(Event(member, reference, now_ms + EVENT_LIFETIME_MS, *_PLACES[type(body)], data))


class _Case:
    """One life at one step: who its parties are, and what a node's state holds of it."""

    def __init__(self, holder: int, number: int, step: int, banks: int, random: Random, state: StateView) -> None:
        self._holder, self._body, self._laboratory, self._inspector = ((holder + place) % banks for place in range(4))
        self._banks, self._random, self._state = banks, random, state
        self._name = f"{number} {step}"
        self._application = f"{bank_of(holder)}.{number}"
        self._change = f"{bank_of(holder)}.{number}-change"
        self._renewal = f"{bank_of(holder)}.{number}-renewal"
        self._number = f"FTP-2026-{CATEGORY:02d}-{number:06d}"
        self._successor = f"FTP-2026-{CATEGORY:02d}-{number + SUCCESSORS:06d}"
        self._life = number

    def next(self) -> _Said | None:
        """Return what leads on."""
        certificate = read_certificate(self._state, self._number)
        if certificate is not None:
            return self._of_certificate(certificate)
        application = read_application(self._state, self._application)
        return self._say("apply") if application is None else self._of_application(application)

    def inspected(self, chain_id: Hash, now_ms: TimeMs) -> _Said | None:
        """Return what leads the life's draw on."""
        name = f"draw{self._life}"
        draws = Draws(self._body, self._inspector, self._banks, name, CATEGORY, chain_id, now_ms, self._state)
        word = draws.next(self._random, self._name)
        return None if word is None else _Said(word[0], SOURCE, word[1])

    def astray(self) -> _Said:
        """Return anything, by anybody."""
        said = self._say(self._random.choice(sorted(_EVENTS)))
        return _Said(self._random.randrange(self._banks), self._random.choice((SOURCE, DECIDER)), said.body)

    def _of_application(self, application: Application) -> _Said | None:
        match application.state:
            case State.REVIEWED:
                return self._say(self._random.choice(("refuse", "grant", "grant")))
            case State.REFUSED:
                decision = read_application_scheme(self._state, self._application).decision
                return self._appeal(self._application, decision)
            case _:
                return self._on_its_way(application)

    def _on_its_way(self, application: Application) -> _Said | None:
        name = _WAY.get(application.state)
        return None if name is None else self._say(name, application.id)

    def _of_certificate(self, certificate: Certificate) -> _Said | None:
        decision = read_certificate_scheme(self._state, self._number).decision
        change = read_application(self._state, self._change)
        match certificate.state:
            case State.ACTIVE if change is not None and change.state in _WAY:
                return self._on_its_way(change)
            case State.ACTIVE if change is not None and change.state is State.REVIEWED:
                return self._say("extend")
            case State.ACTIVE if self._random.random() < 0.5 and (way := self._renewed(certificate)) is not None:
                return way
            case State.ACTIVE:
                return self._say(self._random.choice(ON_ACTIVE))
            case State.SUSPENDED if self._random.random() < 0.5:
                return self._say("restore")
            case State.SUSPENDED | State.REVOKED:
                return self._appeal(self._number, decision)
            case _:
                return None

    def _renewed(self, certificate: Certificate) -> _Said | None:
        """Return what leads a renewal on; None where it has come to its end."""
        renewal = read_application(self._state, self._renewal)
        if renewal is None:
            return self._say("renew")
        if renewal.state is State.REVIEWED and certificate.successor is None:
            return self._say("grant successor")
        return self._on_its_way(renewal)

    def _appeal(self, subject: str, decision: Decision | None) -> _Said | None:
        """Return the holder's appeal, or what the regulator decides on it; None where nothing can be done."""
        if decision is None:
            return None
        if decision.appealed is None:
            return self._say("appeal", subject)
        return self._say("decide", subject)

    def _say(self, name: str, subject: str = "") -> _Said:
        party, key, make = _EVENTS[name]
        return _Said(getattr(self, party), key, make(self, subject))

    def signed(self, chain_id: Hash, said: _Said) -> _Said:
        """Return a decision with the signatures of two officers upon the present record, or with none that count."""
        body = said.body
        if isinstance(body, Grant):
            subject: Application | CertificateScheme | None = read_application(self._state, body.application)
        elif isinstance(body, Revoke):
            subject = read_certificate_scheme(self._state, body.number)
        else:
            return said
        keys = [key_of(bank_of(said.bank), use) for use in (OFFICER, CLERK)]
        kind = _PLACES[type(body)][0]
        statement = b"" if subject is None else statement_upon(chain_id, kind, body, decided_upon(subject))
        approvals = tuple(Approval(key.public, key.sign(statement)) for key in keys)
        if isinstance(body, Grant):
            terms = (body.valid_from_ms, body.valid_until_ms, body.valid_months)
            return _Said(said.bank, said.key, GrantSigned(body.application, body.number, *terms, approvals))
        return _Said(said.bank, said.key, RevokeSigned(body.number, body.reason, body.invalid_from_ms, approvals))

    # -- what the table below makes bodies of

    def evidence(self, kind: EvidenceKind) -> tuple[Evidence, ...]:
        """Return a document that nobody has filed yet, kept by the holder."""
        digest = sha256(f"{kind} {self._name}".encode()).digest()
        return (Evidence(kind, digest, bank_of(self._holder), 1_000),)

    @property
    def application(self) -> str:
        """The id of the application."""
        return self._application

    @property
    def change(self) -> str:
        """The id of the application for a change."""
        return self._change

    @property
    def renewal(self) -> str:
        """The id of the application for a renewal."""
        return self._renewal

    @property
    def number(self) -> str:
        """The certificate's number."""
        return self._number

    @property
    def successor(self) -> str:
        """The number of what supersedes the certificate."""
        return self._successor


_K = EvidenceKind
_Make = Callable[[_Case, str], Body]
_EVENTS: Final[dict[str, tuple[str, str, _Make]]] = {
    "apply": (
        "_holder",
        SOURCE,
        lambda case, _: ApplyScoped(
            case.application,
            "Holder",
            Product("Terminal", "T", "1"),
            CATEGORY,
            case.evidence(_K.TECHNICAL_DOCUMENTS),
            HOLDER_ID,
            SCOPE,
        ),
    ),
    "accept": ("_body", SOURCE, lambda case, of: Accept(of or case.application)),
    "test": (
        "_laboratory",
        SOURCE,
        lambda case, of: TypeTest(of or case.application, True, case.evidence(_K.TYPE_EXAMINATION)),
    ),
    "check": (
        "_inspector",
        SOURCE,
        lambda case, of: SiteCheck(of or case.application, True, case.evidence(_K.SITE_CHECK)),
    ),
    "review": ("_body", SOURCE, lambda case, of: Review(of or case.application, case.evidence(_K.REVIEW_REPORT))),
    "grant": ("_body", DECIDER, lambda case, _: Grant(case.application, case.number, None, None, MONTHS)),
    "grant successor": ("_body", DECIDER, lambda case, _: Grant(case.renewal, case.successor, None, None, MONTHS)),
    "renew": (
        "_holder",
        SOURCE,
        lambda case, _: Renew(case.renewal, case.number, case.evidence(_K.TECHNICAL_DOCUMENTS)),
    ),
    "cancel": ("_body", SOURCE, lambda case, _: Cancel(case.number, case.evidence(_K.HOLDER_REQUEST))),
    "refuse": ("_body", DECIDER, lambda case, _: Refuse(case.application, "nonconformity")),
    "suspend": ("_body", SOURCE, lambda case, _: Suspend(case.number, "found", None, 30)),
    "restore": ("_body", SOURCE, lambda case, _: Restore(case.number, case.evidence(_K.CORRECTIVE_ACTION))),
    "revoke": ("_body", SOURCE, lambda case, _: Revoke(case.number, "found", None)),
    "surveil": (
        "_inspector",
        SOURCE,
        lambda case, _: Surveil(case.number, False, True, ("seal_broken",), None, case.evidence(_K.SITE_CHECK)),
    ),
    "change": (
        "_holder",
        SOURCE,
        lambda case, _: ApplyChange(case.change, case.number, WIDER, case.evidence(_K.TECHNICAL_DOCUMENTS)),
    ),
    "extend": ("_body", DECIDER, lambda case, _: Extend(case.change, case.number)),
    "reduce": ("_body", SOURCE, lambda case, _: Reduce(case.number, "found", SCOPE[1:], case.evidence(_K.SITE_CHECK))),
    "reissue": ("_body", SOURCE, lambda case, _: Reissue(case.number, "lost", case.evidence(_K.HOLDER_REQUEST))),
    "appeal": (
        "_holder",
        SOURCE,
        lambda case, of: Appeal(of or case.number, "disagrees", case.evidence(_K.HOLDER_REQUEST)),
    ),
    "decide": (
        "_laboratory",
        SOURCE,
        lambda case, of: DecideAppeal(of or case.number, True, case.evidence(_K.REVIEW_REPORT)),
    ),
}
"""Of each event who says it, by which key, and its body; an appeal is decided by a bank that is a regulator as well."""
