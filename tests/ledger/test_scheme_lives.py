"""Random lives by the third rules, on the ledger and on a model beside it that was written from the domain page."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from ledger.catalogue import EvidenceKind as K
from ledger.certificate_bodies import (
    Accept,
    Appeal,
    ApplyChange,
    ApplyScoped,
    Body,
    Cancel,
    DecideAppeal,
    Evidence,
    Extend,
    Grant,
    Reduce,
    Refuse,
    Reissue,
    Renew,
    Restore,
    Review,
    Revoke,
    SiteCheck,
    Surveil,
    Suspend,
    TypeTest,
)
from ledger.certificate_records import Certificate, state_at, status_at
from ledger.certificates import ROWS
from ledger.scheme_events import SCHEME_ROWS
from ledger.scheme_records import read_application_scheme, read_certificate_scheme
from tests.ledger.certificate_fixtures import PRODUCT, piece
from tests.ledger.life_model import DAY, ROLES, Asked, Held, Key, Life
from tests.ledger.scheme_fixtures import LEI, Scheme

SERIALS = ("bank-a.1", "bank-a.2", "bank-a.3", "bank-a.4", "bank-a.5", "conglomerate.1")
NUMBERS = ("FTP-2026-06-000001", "FTP-2026-06-000002", "FTP-2026-05-000003")
ENTRIES = ("contact", "contactless", "barcode")
SCOPES = (ENTRIES[:1], ENTRIES[:2], ENTRIES)
DESKS = ("first", "reviewer", "decider", "panel")

desks = st.sampled_from(DESKS)
scopes = st.sampled_from(SCOPES)
anybody = st.tuples(st.sampled_from(sorted(ROLES)), desks)
is_rare = st.integers(0, 9).map(lambda n: n == 7)
picks = st.integers(0, 99)
"""Which of several: one that fits where there is one, but now and then any."""
strangers = st.integers(0, 9).flatmap(lambda n: anybody if n == 7 else st.none())
"""Mostly None: then the right one does it."""

WALKED: Counter[str] = Counter()


def pick(fitting: Iterable[str], names: Sequence[str], number: int) -> str:
    """Return one of the names."""
    found = sorted(fitting)
    return found[number % len(found)] if found and number % 10 != 7 else names[number % len(names)]


def certificates(*states: str) -> Callable[[Any], Any]:
    """Admit a rule where a certificate is in one of these states now, and every now and then at any time."""
    return precondition(
        lambda self: self.said % 8 == 3 or any(self.model.worth(name) in states for name in self.model.held)
    )


def applications(*states: str, change: bool) -> Callable[[Any], Any]:
    """Admit a rule where an application, for a change or not, is in one of these states; and every now and then."""
    return precondition(
        lambda self: (
            self.said % 8 == 3
            or any(it.state in states and (it.kind == "change") is change for it in self.model.asked.values())
        )
    )


def appeals(*, pending: bool) -> Callable[[Any], Any]:
    """Admit a rule where there is a decision that is appealed against, or one that is not; and every now and then."""
    return precondition(lambda self: self.said % 8 == 3 or any(self.decisions(appealed=pending)))


class Walk(RuleBasedStateMachine):
    """Each rule says an event to both; they must agree on whether it is admitted, and then on what there is."""

    @initialize(serial=st.sampled_from(SERIALS), months=st.sampled_from([0, 3, 5, 36]), scope=scopes)
    def begin(self, serial: str, months: int, scope: tuple[str, ...]) -> None:
        """Begin with a reviewed application, with its certificate, or with nothing."""
        self.ledger = Scheme()
        self.model = Life(self.ledger.now_ms)
        self.said = 0
        if months == 36 and len(scope) == 3:
            return
        self.apply(SERIALS.index(serial), 6, scope, None, wrong=False)
        self._to_review(serial)
        if months:
            self._grant(serial, NUMBERS[0], months, None, eyes=True)

    def _to_review(self, serial: str) -> None:
        while (at := self._next(serial)) is not None:
            self._step(at, serial, passed=True, stranger=None)

    def _next(self, serial: str) -> int | None:
        found = self.model.asked.get(serial)
        steps = ("applied", "accepted", "type_tested", "site_checked")
        return steps.index(found.state) if found is not None and found.state in steps else None

    def held(self, number: int, *states: str) -> str:
        """Return a certificate in one of these states now, mostly."""
        model = self.model
        return pick((name for name in model.held if model.worth(name) in states), NUMBERS, number)

    def asked(self, number: int, *states: str, change: bool | None = None) -> str:
        """Return an application in one of these states, mostly."""
        fitting = (
            name
            for name, found in self.model.asked.items()
            if found.state in states and change in (None, found.kind == "change")
        )
        return pick(fitting, SERIALS, number)

    def new_serial(self, who: Key, number: int) -> str:
        """Return an application's id of a member, mostly a new one."""
        own = [serial for serial in SERIALS if serial.startswith(f"{who[0]}.")] or [f"{who[0]}.1"]
        return pick((serial for serial in own if serial not in self.model.asked), own, number)

    def evidence(self, kind: K) -> tuple[Evidence, ...]:
        return (piece(kind, f"{self.said}"),)

    def say(self, who: Key, body: Body, admitted: bool) -> None:
        """Hold what the ledger makes of an event against the model's word."""
        self.said += 1
        before = dict(self.ledger.view.changes)
        broken = self.ledger.submit(who[0], body, who[1])
        assert (broken == "") == admitted, f"{who} {body}: the ledger says {broken or 'yes'}, the model {admitted}"
        assert admitted or self.ledger.view.changes == before
        WALKED[f"{type(body).__name__}{'' if admitted else ' refused'}"] += 1

    def body_of(self, name: str, desk: str) -> Key:
        """Return a key of the certification body that an application or a certificate is with."""
        found = self.model.held.get(name) or self.model.asked.get(name)
        return (found.body if found is not None and found.body else "cb", desk)

    def holder_of(self, name: str) -> Key:
        found = self.model.held.get(name) or self.model.asked.get(name)
        if found is not None:
            return (found.holder, "first")
        return (name.partition(".")[0] if "." in name else "bank-a", "first")

    def signed(self, body: Grant | Revoke, who: Key, eyes: bool) -> Body:
        """Return a decision with officers' signatures where there is something to decide on."""
        there = body.application in self.model.asked if isinstance(body, Grant) else body.number in self.model.held
        return self.ledger.signed(body, who[0]) if eyes and there else body

    # -- time

    @rule(days=st.sampled_from([0, 0, 1, 1, 20, 61, 200, 1_000]), more=st.integers(1, 1_000))
    def time_passes(self, days: int, more: int) -> None:
        self.ledger.now_ms += days * DAY // (4 if days > 100 else 1) + more
        self.model.now = self.ledger.now_ms

    # -- applications

    @rule(number=picks, category=st.sampled_from([6, 6, 6, 5, 99]), scope=scopes, stranger=strangers, wrong=is_rare)
    def apply(self, number: int, category: int, scope: tuple[str, ...], stranger: Key | None, wrong: bool) -> None:
        serial = SERIALS[number % len(SERIALS)]
        who = stranger or self.holder_of(serial)
        holder_id = LEI[:-1] + "5" if wrong else LEI
        body = ApplyScoped(serial, "Holder", PRODUCT, category, self.evidence(K.TECHNICAL_DOCUMENTS), holder_id, scope)
        self.say(who, body, self.model.apply(who, serial, category, scope, not wrong))

    @rule(number=picks, passed=is_rare.map(lambda rare: not rare), stranger=strangers, astray=is_rare)
    def step(self, number: int, passed: bool, stranger: Key | None, astray: bool) -> None:
        """The next event of an application's way, or now and then another one."""
        serial = self.asked(number, "applied", "accepted", "type_tested", "site_checked")
        at = self._next(serial) or 0
        self._step((at + 1) % 4 if astray else at, serial, passed, stranger)

    @applications("applied", "accepted", "type_tested", "site_checked", change=True)
    @rule(number=picks)
    def change_goes_on_to_the_review(self, number: int) -> None:
        self._to_review(self.asked(number, "applied", "accepted", "type_tested", "site_checked", change=True))

    @rule(number=picks)
    def go_on_to_the_review(self, number: int) -> None:
        self._to_review(self.asked(number, "applied", "accepted", "type_tested", "site_checked"))

    def _step(self, at: int, serial: str, passed: bool, stranger: Key | None) -> None:
        model = self.model
        if at == 0:
            home = model.held[model.asked[serial].of].body if self._is_change(serial) else "cb"
            who = stranger or (home, "first")
            self.say(who, Accept(serial), model.accept(who, serial))
        elif at == 1:
            who = stranger or ("lab", "first")
            body: Body = TypeTest(serial, passed, self.evidence(K.TYPE_EXAMINATION))
            self.say(who, body, model.examine(who, serial, passed, on_site=False))
        elif at == 2:
            who = stranger or ("ins", "first")
            body = SiteCheck(serial, passed, self.evidence(K.SITE_CHECK))
            self.say(who, body, model.examine(who, serial, passed, on_site=True))
        else:
            who = stranger or self.body_of(serial, "reviewer")
            self.say(who, Review(serial, self.evidence(K.REVIEW_REPORT)), model.review(who, serial))

    def _is_change(self, serial: str) -> bool:
        found = self.model.asked.get(serial)
        return found is not None and found.kind == "change"

    @applications("reviewed", change=False)
    @rule(
        number=picks,
        other=picks,
        months=st.sampled_from([3, 12, 36, 36, 37]),
        stranger=strangers,
        eyes=is_rare.map(lambda rare: not rare),
    )
    def grant(self, number: int, other: int, months: int, stranger: Key | None, eyes: bool) -> None:
        serial = self.asked(number, "reviewed", change=False)
        free = (name for name in NUMBERS[:2] if name not in self.model.held)
        self._grant(serial, pick(free, NUMBERS, other), months, stranger, eyes)

    def _grant(self, serial: str, number: str, months: int, stranger: Key | None, eyes: bool) -> None:
        who = stranger or self.body_of(serial, "decider")
        body = self.signed(Grant(serial, number, None, None, months), who, eyes)
        self.say(who, body, self.model.grant(who, serial, number, months, eyes))

    @precondition(lambda self: self.said % 4 == 3)
    @rule(number=picks, stranger=strangers)
    def refuse(self, number: int, stranger: Key | None) -> None:
        serial = self.asked(number, "reviewed")
        who = stranger or self.body_of(serial, "decider")
        self.say(who, Refuse(serial, "nonconformity"), self.model.refuse(who, serial))

    # -- certificates; most rules wait for one in the right state, so that walks do not spend their steps on nothing

    @certificates("active")
    @rule(place=picks, days=st.sampled_from([1, 30, 180, 181]), stranger=strangers)
    def suspend(self, place: int, days: int, stranger: Key | None) -> None:
        number = self.held(place, "active")
        who = stranger or self.body_of(number, "first")
        self.say(who, Suspend(number, "found", None, days), self.model.suspend(who, number, days))

    @certificates("suspended")
    @rule(place=picks, stranger=strangers)
    def restore(self, place: int, stranger: Key | None) -> None:
        number = self.held(place, "suspended")
        who = stranger or self.body_of(number, "first")
        self.say(who, Restore(number, self.evidence(K.CORRECTIVE_ACTION)), self.model.restore(who, number))

    @certificates("active", "suspended")
    @rule(
        place=picks,
        back=st.sampled_from([None, 0, 1, 30 * DAY, -1]),
        stranger=strangers,
        eyes=is_rare.map(lambda rare: not rare),
        regulator=st.booleans(),
    )
    def revoke(self, place: int, back: int | None, stranger: Key | None, eyes: bool, regulator: bool) -> None:
        number = self.held(place, "active", "suspended")
        who = stranger or (("regulator", "first") if regulator else self.body_of(number, "first"))
        since = None if back is None else self.model.now - back
        body = self.signed(Revoke(number, "found", since), who, eyes)
        self.say(who, body, self.model.revoke(who, number, since, eyes))

    @certificates("active", "suspended")
    @rule(place=picks, stranger=strangers, sure=is_rare)
    def cancel(self, place: int, stranger: Key | None, sure: bool) -> None:
        number = self.held(place, "active", "suspended")
        if sure:
            who = stranger or self.body_of(number, "first")
            self.say(who, Cancel(number, self.evidence(K.HOLDER_REQUEST)), self.model.cancel(who, number))

    @certificates("active", "suspended")
    @rule(
        place=picks,
        passed=st.booleans(),
        grave=st.booleans(),
        days=st.sampled_from([None, 0, 30, 180, 181]),
        stranger=strangers,
    )
    def surveil(self, place: int, passed: bool, grave: bool, days: int | None, stranger: Key | None) -> None:
        number = self.held(place, "active", "suspended")
        who = stranger or ("ins", "first")
        until = None if passed or days is None else self.model.now + days * DAY
        findings = () if passed else ("seal_broken",)
        body = Surveil(number, passed, grave and not passed, findings, until, self.evidence(K.SITE_CHECK))
        self.say(who, body, self.model.surveil(who, number, passed, grave, days))

    @certificates("active", "suspended")
    @rule(place=picks, entry=st.sampled_from(ENTRIES), stranger=strangers)
    def reduce(self, place: int, entry: str, stranger: Key | None) -> None:
        number = self.held(place, "active", "suspended")
        who = stranger or self.body_of(number, "first")
        body = Reduce(number, "found", (entry,), self.evidence(K.SITE_CHECK))
        self.say(who, body, self.model.reduce(who, number, entry))

    @certificates("active")
    @rule(place=picks, stranger=strangers)
    def reissue(self, place: int, stranger: Key | None) -> None:
        number = self.held(place, "active")
        who = stranger or self.body_of(number, "first")
        self.say(who, Reissue(number, "lost", self.evidence(K.HOLDER_REQUEST)), self.model.reissue(who, number))

    @certificates("active")
    @rule(place=picks, scope=scopes, stranger=strangers)
    def apply_change(self, place: int, scope: tuple[str, ...], stranger: Key | None) -> None:
        number = self.held(place, "active")
        who = stranger or self.holder_of(number)
        serial = self.new_serial(who, place)
        scope = scope if place % 4 == 3 else ENTRIES
        body = ApplyChange(serial, number, scope, self.evidence(K.TECHNICAL_DOCUMENTS))
        self.say(who, body, self.model.change(who, serial, number, scope))

    @applications("reviewed", change=True)
    @rule(place=picks, stranger=strangers)
    def extend(self, place: int, stranger: Key | None) -> None:
        number = self.held(place, "active")
        serial = self.asked(place, "reviewed", change=True)
        asked = self.model.asked.get(serial)
        if asked is not None and asked.of in self.model.held and place % 9:
            number = asked.of
        who = stranger or self.body_of(serial, "decider")
        self.say(who, Extend(serial, number), self.model.extend(who, serial, number))

    @certificates("active")
    @rule(place=picks, stranger=strangers)
    def renew(self, place: int, stranger: Key | None) -> None:
        number = self.held(place, "active")
        who = stranger or self.holder_of(number)
        serial = self.new_serial(who, place)
        self.say(
            who, Renew(serial, number, self.evidence(K.TECHNICAL_DOCUMENTS)), self.model.renew(who, serial, number)
        )

    # -- appeals

    def _subject(self, number: int, appealed: bool) -> str:
        return pick(self.decisions(appealed), SERIALS + NUMBERS, number)

    def decisions(self, appealed: bool) -> Iterator[str]:
        """Yield what decisions are about that are appealed against, or that are not."""
        for name, found in (*self.model.asked.items(), *self.model.held.items()):
            if found.negative is not None and found.negative.appealed is appealed:
                yield name

    @appeals(pending=False)
    @rule(number=picks, stranger=strangers)
    def appeal(self, number: int, stranger: Key | None) -> None:
        subject = self._subject(number, appealed=False)
        who = stranger or self.holder_of(subject)
        body = Appeal(subject, "disagrees", self.evidence(K.HOLDER_REQUEST))
        self.say(who, body, self.model.appeal(who, subject))

    @appeals(pending=True)
    @rule(number=picks, upheld=st.booleans(), stranger=strangers, desk=desks, regulator=is_rare)
    def decide_appeal(self, number: int, upheld: bool, stranger: Key | None, desk: str, regulator: bool) -> None:
        subject = self._subject(number, appealed=True)
        who = stranger or (("regulator", desk) if regulator else self.body_of(subject, desk))
        body = DecideAppeal(subject, upheld, self.evidence(K.REVIEW_REPORT))
        self.say(who, body, self.model.decide(who, subject, upheld))

    # -- what must be the same

    @invariant()
    def they_agree(self) -> None:
        view, now = self.ledger.view, self.ledger.now_ms
        assert sum(1 for _ in view.scan("certificate/", Certificate)) == len(self.model.held)
        for serial, asked in self.model.asked.items():
            self._agrees_on_application(serial, asked)
        for number, held in self.model.held.items():
            record, beside = self.ledger.certificate(number), read_certificate_scheme(view, number)
            assert state_at(record, now) == self.model.worth(number)
            assert (record.holder, record.body, record.category) == (held.holder, held.body, held.category)
            assert (record.valid_from_ms, record.valid_until_ms) == (held.start, held.end)
            assert (record.version, beside.issues, beside.scope) == (held.version, held.issues, held.scope)
            assert (record.suspension.until_ms if record.suspension else None) == held.suspended_until
            assert record.successor == (held.successor or None)
            assert beside.rulings.count == held.rulings
            assert set(beside.officers) == {self.ledger.context(*key).source for key in held.took_part}
            self._agrees_on_decision(beside.decision, held.negative, held)
            status = status_at(record, now)
            assert status.valid == (self.model.worth(number) == "active")
            assert status.revocation_due == (
                self.model.worth(number) == "suspended" and now >= (held.suspended_until or 0)
            )

    def _agrees_on_application(self, serial: str, asked: Asked) -> None:
        record, beside = self.ledger.application(serial), read_application_scheme(self.ledger.view, serial)
        assert (record.state, record.body or "") == (asked.state, asked.body)
        assert (beside.scope, beside.changes) == (asked.scope, asked.of if asked.kind == "change" else None)
        self._agrees_on_decision(beside.decision, asked.negative, asked)

    @staticmethod
    def _agrees_on_decision(present, modelled, of: Asked | Held) -> None:  # type: ignore[no-untyped-def]  # records
        if modelled is None:
            assert present is None, of
            return
        assert present is not None, of
        assert (present.what, present.appeal_until_ms) == (modelled.what, modelled.until)
        assert (present.appealed is not None) == modelled.appealed


TestLives = Walk.TestCase
TestLives.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)


WALKS, STEPS = 80, 80
VALUES: dict[str, Callable[[Random], object]] = {
    "serial": lambda random: random.choice(SERIALS),
    "scope": lambda random: random.choice(SCOPES),
    "entry": lambda random: random.choice(ENTRIES),
    "desk": lambda random: random.choice(DESKS),
    "stranger": lambda random: (random.choice(sorted(ROLES)), random.choice(DESKS)) if random.random() < 0.1 else None,
    "months": lambda random: random.choice((3, 5, 36, 36, 36)),
    "category": lambda random: random.choice((6, 6, 6, 5, 99)),
    "days": lambda random: random.choice((1, 1, 20, 61)),
    "back": lambda random: random.choice((None, 0, 1, 30 * DAY, -1)),
    "more": lambda random: random.randrange(1, 1_000),
    "eyes": lambda random: random.random() < 0.9,
    "wrong": lambda random: random.random() < 0.1,
    "astray": lambda random: random.random() < 0.3,
    "bool": lambda random: random.random() < 0.5,
    "int": lambda random: random.randrange(100),
}
"""Arguments of the rules by their name, or else by their type."""


def said_by(machine: Walk, name: str, random: Random) -> None:
    """Let a rule say something drawn."""
    given = inspect.signature(getattr(Walk, name)).parameters
    values = {key: VALUES.get(key) or VALUES[str(it.annotation)] for key, it in given.items() if key != "self"}
    getattr(machine, name)(**{key: draw(random) for key, draw in values.items()})


def test_walks_that_are_always_the_same_meet_every_event_admitted_and_refused() -> None:
    """Otherwise agreeing would be cheap."""
    WALKED.clear()
    names = [name for name, it in vars(Walk).items() if hasattr(it, "hypothesis_stateful_rule")]
    assert len(names) > 15
    for number in range(WALKS):
        random, machine = Random(number), Walk()
        said_by(machine, "begin", random)
        for _ in range(STEPS):
            said_by(machine, random.choice(names), random)
            machine.they_agree()
    events = {type_.__name__ for type_ in (*ROWS, *SCHEME_ROWS)} - {"Apply", "Grant", "Revoke"}
    assert {name for name in events if not WALKED[name] or not WALKED[f"{name} refused"]} == set(), WALKED
