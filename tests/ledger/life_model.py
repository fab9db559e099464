"""A certificate's life by the scheme, modelled from the domain page alone: no table, record or check of the ledger.

The model knows who may do what when, and what then is; it says yes or no to an event and goes on. Days are counted in
milliseconds from the chain's clock. Source: docs/domain.md, sections 2 and 3, and docs/certification.md.
"""

from __future__ import annotations

import calendar
import datetime
from dataclasses import dataclass, field

DAY = 86_400_000
APPEAL_DAYS = 60
SUSPENSION_DAYS_MAX = 180
CORRECTION_DAYS_MAX = 90
RENEWAL_DAYS = 180
MONTHS_MAX = 36
CATEGORIES = range(1, 15)

ROLES = {
    "bank-a": {"bank"},
    "bank-b": {"bank"},
    "cb": {"body"},
    "cb-other": {"body"},
    "lab": {"laboratory"},
    "ins": {"inspector"},
    "regulator": {"regulator"},
    "conglomerate": {"bank", "body", "laboratory", "inspector"},
}

Key = tuple[str, str]
"""A member and one of its desks, which has a key of its own."""


def months_later(time: int, months: int) -> int:
    """Return the same day of a later month, or that month's last."""
    moment = datetime.datetime.fromtimestamp(time / 1_000, datetime.UTC)
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return round(moment.replace(year=year, month=month + 1, day=day).timestamp() * 1_000)


@dataclass
class Negative:
    """A decision against the holder: by which key, until when it can be appealed, and what undoing it gives back."""

    what: str
    by: Key
    until: int
    undo: dict[str, object]
    appealed: bool = False


@dataclass
class Asked:
    """An application: for a first certificate, a successor, or another scope."""

    holder: str
    category: int
    scope: tuple[str, ...]
    kind: str
    of: str = ""
    state: str = "applied"
    body: str = ""
    reviewer: Key | None = None
    sound: bool = True
    negative: Negative | None = None
    took_part: set[Key] = field(default_factory=set)


@dataclass
class Held:
    """A certificate."""

    holder: str
    category: int
    body: str
    scope: tuple[str, ...]
    start: int
    end: int
    state: str = "active"
    version: int = 1
    issues: int = 1
    suspended_until: int | None = None
    successor: str = ""
    negative: Negative | None = None
    rulings: int = 1
    took_part: set[Key] = field(default_factory=set)


@dataclass
class Life:
    """All applications and certificates, and the clock. Each method is an event: whether it is admitted."""

    now: int
    asked: dict[str, Asked] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)

    # -- an application's way

    def apply(self, who: Key, serial: str, category: int, scope: tuple[str, ...], right_id: bool) -> bool:
        if "bank" not in ROLES[who[0]] or serial in self.asked or not serial.startswith(f"{who[0]}."):
            return False
        if category not in CATEGORIES or not right_id:
            return False
        self.asked[serial] = Asked(who[0], category, scope, "first")
        return True

    def accept(self, who: Key, serial: str) -> bool:
        found = self.asked.get(serial)
        if found is None or found.state != "applied" or "body" not in ROLES[who[0]] or who[0] == found.holder:
            return False
        if found.kind == "change" and self.held[found.of].body != who[0]:
            return False
        found.body, found.state = who[0], "accepted"
        return True

    def examine(self, who: Key, serial: str, passed: bool, on_site: bool) -> bool:
        before, after = ("type_tested", "site_checked") if on_site else ("accepted", "type_tested")
        found = self.asked.get(serial)
        role = "inspector" if on_site else "laboratory"
        if found is None or found.state != before or role not in ROLES[who[0]] or who[0] == found.holder:
            return False
        found.state, found.sound = after, found.sound and passed
        return True

    def review(self, who: Key, serial: str) -> bool:
        found = self.asked.get(serial)
        if found is None or found.state != "site_checked" or found.body != who[0]:
            return False
        found.state, found.reviewer = "reviewed", who
        found.took_part.add(who)
        return True

    def _may_decide(self, who: Key, serial: str) -> Asked | None:
        found = self.asked.get(serial)
        right = found is not None and found.state == "reviewed" and found.body == who[0] and found.reviewer != who
        return found if right else None

    def grant(self, who: Key, serial: str, number: str, months: int, eyes: bool) -> bool:
        found = self._may_decide(who, serial)
        if found is None or number in self.held or not found.sound or found.kind == "change" or not eyes:
            return False
        if int(number.split("-")[2]) != found.category or months > MONTHS_MAX:
            return False
        if found.kind == "renewal":
            before = self.held[found.of]
            if before.successor or self.worth(found.of) not in ("active", "expired"):
                return False
            before.successor = number
        found.state = "granted"
        self.held[number] = Held(
            found.holder,
            found.category,
            found.body,
            found.scope,
            self.now,
            months_later(self.now, months),
            took_part=found.took_part | {who},
        )
        return True

    def refuse(self, who: Key, serial: str) -> bool:
        found = self._may_decide(who, serial)
        if found is None:
            return False
        found.negative = Negative("refusal", who, self.now + APPEAL_DAYS * DAY, {"state": "reviewed"})
        found.state = "refused"
        found.took_part.add(who)
        return True

    def extend(self, who: Key, serial: str, number: str) -> bool:
        found, holds = self._may_decide(who, serial), self.held.get(number)
        if found is None or holds is None or found.of != number or found.kind != "change" or not found.sound:
            return False
        if self.worth(number) != "active" or not set(holds.scope) < set(found.scope) or self._pending(holds):
            return False
        holds.scope, holds.version, found.state = found.scope, holds.version + 1, "granted"
        self._ruled(holds, who, *found.took_part)
        if holds.negative is not None and holds.negative.what == "reduction":
            holds.negative = None
        return True

    # -- a certificate in use

    def worth(self, number: str) -> str:
        """Return the state of a certificate now; its end needs no event."""
        found = self.held[number]
        in_use = found.state in ("active", "suspended")
        return "expired" if in_use and self.now >= found.end else found.state

    def _mine(self, who: Key, number: str, *states: str) -> Held | None:
        found = self.held.get(number)
        right = found is not None and found.body == who[0] and self.worth(number) in states
        return found if right else None

    @staticmethod
    def _pending(found: Held) -> bool:
        return found.negative is not None and found.negative.appealed

    def _against(self, what: str, who: Key, found: Held, **undo: object) -> None:
        found.negative = Negative(what, who, self.now + APPEAL_DAYS * DAY, undo)
        self._ruled(found, who)

    @staticmethod
    def _ruled(found: Held, *who: Key) -> None:
        found.rulings += 1
        found.took_part.update(who)

    def suspend(self, who: Key, number: str, days: int) -> bool:
        found = self._mine(who, number, "active")
        if found is None or days > SUSPENSION_DAYS_MAX or self._pending(found):
            return False
        self._suspended(who, found, self.now + days * DAY)
        return True

    def _suspended(self, who: Key, found: Held, until: int) -> None:
        self._against("suspension", who, found, state=found.state, suspended_until=found.suspended_until)
        found.state, found.suspended_until = "suspended", until

    def restore(self, who: Key, number: str) -> bool:
        found = self._mine(who, number, "suspended")
        if found is None or found.suspended_until is None or self.now >= found.suspended_until:
            return False
        found.state, found.suspended_until = "active", None
        self._ruled(found, who)
        if found.negative is not None and found.negative.what == "suspension":
            found.negative = None
        return True

    def revoke(self, who: Key, number: str, since: int | None, eyes: bool) -> bool:
        found = self.held.get(number)
        if found is None or not eyes or self.worth(number) not in ("active", "suspended"):
            return False
        if found.body != who[0] and "regulator" not in ROLES[who[0]]:
            return False
        if since is not None and not found.start <= since <= self.now:
            return False
        self._against("revocation", who, found, state=found.state, suspended_until=found.suspended_until)
        found.state, found.suspended_until = "revoked", None
        return True

    def cancel(self, who: Key, number: str) -> bool:
        found = self._mine(who, number, "active", "suspended")
        if found is None:
            return False
        found.state, found.suspended_until = "cancelled", None
        return True

    def surveil(self, who: Key, number: str, passed: bool, grave: bool, correct_days: int | None) -> bool:
        found = self.held.get(number)
        if found is None or self.worth(number) not in ("active", "suspended"):
            return False
        inspects = "inspector" in ROLES[who[0]] and who[0] != found.holder
        if not inspects and found.body != who[0]:
            return False
        if not passed and correct_days is not None and not 0 < correct_days <= CORRECTION_DAYS_MAX:
            return False
        if grave and not passed and found.state == "active":
            days = SUSPENSION_DAYS_MAX if correct_days is None else correct_days
            self._suspended(who, found, self.now + days * DAY)
        return True

    def reduce(self, who: Key, number: str, entry: str) -> bool:
        found = self._mine(who, number, "active", "suspended")
        if found is None or entry not in found.scope or found.scope == (entry,) or self._pending(found):
            return False
        self._against("reduction", who, found, scope=found.scope)
        found.scope, found.version = tuple(e for e in found.scope if e != entry), found.version + 1
        return True

    def reissue(self, who: Key, number: str) -> bool:
        found = self._mine(who, number, "active")
        if found is None:
            return False
        found.issues += 1
        return True

    # -- the holder

    def change(self, who: Key, serial: str, number: str, scope: tuple[str, ...]) -> bool:
        found = self.held.get(number)
        if found is None or serial in self.asked or self.worth(number) != "active" or found.holder != who[0]:
            return False
        if not set(found.scope) < set(scope):
            return False
        self.asked[serial] = Asked(who[0], found.category, scope, "change", number)
        return True

    def renew(self, who: Key, serial: str, number: str) -> bool:
        found = self.held.get(number)
        if found is None or serial in self.asked or self.worth(number) != "active" or found.holder != who[0]:
            return False
        if found.successor or self.now < found.end - RENEWAL_DAYS * DAY:
            return False
        self.asked[serial] = Asked(who[0], found.category, found.scope, "renewal", number)
        return True

    def _of_appeal(self, subject: str) -> Asked | Held | None:
        """Return what an appeal is about."""
        return self.held.get(subject) or self.asked.get(subject)

    def appeal(self, who: Key, subject: str) -> bool:
        found = self._of_appeal(subject)
        if found is None or found.holder != who[0] or found.negative is None:
            return False
        if isinstance(found, Held) and self.worth(subject) not in ("active", "suspended", "revoked"):
            return False
        if found.negative.appealed or self.now >= found.negative.until:
            return False
        found.negative.appealed = True
        return True

    def decide(self, who: Key, subject: str, upheld: bool) -> bool:
        found = self._of_appeal(subject)
        if found is None or found.negative is None or not found.negative.appealed:
            return False
        if isinstance(found, Held) and self.worth(subject) == "cancelled":
            return False
        by = found.negative.by
        above = found.negative.what == "revocation" and by[0] != found.body
        own = found.body == who[0] and not above
        if who in found.took_part or not (own or "regulator" in ROLES[who[0]]):
            return False
        negative, found.negative = found.negative, None
        if isinstance(found, Held):
            found.rulings += 1
        if upheld:
            for name, value in negative.undo.items():
                setattr(found, name, value)
            if negative.what == "reduction" and isinstance(found, Held):
                found.version += 1
        return True
