"""Where the fields of payment statements lie: many at once, by the forms that their canonical bytes take.

A canonical statement's form is fixed by few bytes: the MessagePack heads, and with them the lengths of what follows. Of
two entries with the same heads every field lies at the same place. So an entry of each form is walked once, and all
others of its length are held against its heads by numpy; nothing is decoded entry by entry. Here: forms and places.
Not here: what columns are made of them (`statements`), and the rules (`ledger.payments`): that a statement keeps them
was judged before it was ordered. Bytes that are no statement of schema 1 are refused, never read past their end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chainnode.analysis.columns import Bytes, Places
from ledger.events import REFERENCE_SIZE
from ledger.payments import (
    COMMITMENT_SIZE,
    PAYMENT_STATEMENT,
    SALT_SIZE,
    TOKEN_SIZE,
    UETR_SIZE,
    AgentRole,
    Channel,
    Side,
    Status,
    TokenField,
)
from primitives.errors import ProofError

LAYOUTS_KEPT: Final = 4_096
"""Forms remembered; a chain of fifty banks has some hundreds. Beyond it all are learnt anew.

Within one call, entries of further forms are walked one by one: a member that never states two of one form would else
have each entry held against all before it.
"""

PROBES: Final = 6
BODY_FIELDS: Final = 19
SCHEMA: Final = 1
AGENTS: Final = tuple(role.name.lower() for role in AgentRole)
TOKENS: Final = tuple(f"token_{field.name.lower()}" for field in TokenField)
FIELDS: Final = (
    *("member", "reference", "expires", "side", "message_type", "status", "reason", "amount", "currency"),
    *("amount_commitment", "settlement_date", *AGENTS, "channel", "uetr", "reference_commitment", "pair_key"),
    *(*TOKENS, "fields_root", "terminal_certificate", "source_digest", "message_time"),
)
NUMBER: Final = {name: number for number, name in enumerate(FIELDS)}
_ENUMERATIONS: Final = {"side": Side, "status": Status, "channel": Channel}
_INTEGERS: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}


@dataclass(frozen=True, slots=True)
class Layout:
    """One form: the places and values of its heads, and of each field (in the order of FIELDS) place and size.

    Places count from the entry's beginning. A field that is absent has size 0; a small integer has size 1 and is its
    own head, which may be more than `values` by `spans`; of all other heads that is 0. Those at `probes`, which are
    `probed`, are looked at first: what has another form differs in these few nearly always, since a difference shifts
    all that follows.
    """

    heads: Places
    values: Bytes
    spans: Bytes
    probes: Places
    probed: Bytes
    starts: NDArray[np.int32]
    sizes: NDArray[np.int32]


class _Walk:
    """Walks one entry, noting what its form depends on. Raises ProofError where it is no statement."""

    def __init__(self, entry: bytes) -> None:
        self.entry, self.place = entry, 0
        self.heads: list[int] = []
        self.small: list[tuple[int, int, int]] = []
        self.starts = [0] * len(FIELDS)
        self.sizes = [0] * len(FIELDS)

    def head(self, *expected: int) -> int:
        """Take a byte on which the form depends; any where none are named."""
        if self.place >= len(self.entry):
            raise self.error("ends early")
        found = self.entry[self.place]
        if expected and found not in expected:
            raise self.error(f"byte {found:02x} at {self.place}")
        self.heads.append(self.place)
        self.place += 1
        return found

    def field(self, name: str | None, size: int) -> None:
        """Take a value of so many bytes."""
        if self.place + size > len(self.entry):
            raise self.error("ends early")
        if name is not None:
            self.starts[NUMBER[name]], self.sizes[NUMBER[name]] = self.place, size
        self.place += size

    def text(self, name: str, size_max: int) -> None:
        """Take a string."""
        found = self.head()
        if found == 0xD9:
            size = self.head()
        elif found & 0xE0 == 0xA0:
            size = found & 0x1F
        else:
            raise self.error(f"no text in {name}")
        if size > size_max:
            raise self.error(f"{name} of {size} bytes")
        self.field(name, size)

    def binary(self, name: str | None, *sizes: int) -> int:
        """Take bytes of one of these sizes."""
        self.head(0xC4)
        size = self.head(*sizes)
        self.field(name, size)
        return size

    def integer(self, name: str, high: int = 0x7F, low: int = 0) -> None:
        """Take a whole number; a small one is its own head."""
        if self.place >= len(self.entry):
            raise self.error("ends early")
        found = self.entry[self.place]
        if found in _INTEGERS:
            self.head()
            self.field(name, _INTEGERS[found])
            return
        if not low <= found <= high:
            raise self.error(f"{name} out of range")
        self.small.append((self.place, low, high))
        self.field(name, 1)

    def error(self, got: str) -> ProofError:
        """Return the error for an entry that is not what it should be."""
        return ProofError("entry is not a payment statement that is known here", expected="schema 1", got=got)


def layout_of(entry: bytes) -> Layout:
    """Return the form of a statement's entry (kind byte, then the event). Raises ProofError where it is none."""
    walk = _Walk(entry)
    walk.head(PAYMENT_STATEMENT)
    walk.head(0x96)
    walk.text("member", 64)
    walk.binary("reference", REFERENCE_SIZE)
    walk.integer("expires")
    walk.head(PAYMENT_STATEMENT)
    walk.head(SCHEMA)
    walk.field(None, 2 if walk.head(0xC4, 0xC5) == 0xC5 else 1)  # the body's size: it ends where the entry does
    walk.head(0xDC)
    walk.head(0)
    walk.head(BODY_FIELDS)
    walk.binary(None, SALT_SIZE)
    for name in FIELDS[NUMBER["side"] :]:
        _field(walk, name)
    if walk.place != len(entry):
        raise walk.error("goes on")
    heads = np.array(walk.heads, np.int64)
    values = np.frombuffer(entry, np.uint8)[heads]
    small = np.array(walk.small, np.int64).reshape(-1, 3)
    probes = np.linspace(0, len(heads) - 1, PROBES).astype(np.int64)
    return Layout(
        np.concatenate([heads, small[:, 0]]),
        np.concatenate([values, small[:, 1].astype(np.uint8)]),
        np.concatenate([np.zeros_like(values), (small[:, 2] - small[:, 1]).astype(np.uint8)]),
        heads[probes],
        values[probes],
        np.array(walk.starts, np.int32),
        np.array(walk.sizes, np.int32),
    )


def _field(walk: _Walk, name: str) -> None:
    """Walk over one field of the body; agents and tokens are walked with the first of their names."""
    match name:
        case "side" | "status" | "channel":
            walk.integer(name, max(_ENUMERATIONS[name]), min(_ENUMERATIONS[name]))
        case "message_type" | "reason" | "currency" | "terminal_certificate":
            walk.text(name, 40)
        case "amount" if walk.entry[walk.place : walk.place + 1] == b"\xc0":
            walk.head()
        case "amount" | "settlement_date" | "message_time":
            walk.integer(name)
        case "amount_commitment" | "pair_key":
            walk.binary(name, 0, COMMITMENT_SIZE)
        case "uetr":
            walk.binary(name, 0, UETR_SIZE)
        case "reference_commitment" | "fields_root" | "source_digest":
            walk.binary(name, COMMITMENT_SIZE)
        case _ if name == AGENTS[0]:
            for _ in range(walk.head(*range(0x90, 0x90 + len(AGENTS) + 1)) & 0xF):
                walk.head(0x93)
                role = walk.head(*AgentRole)
                walk.head()
                walk.text(AgentRole(role).name.lower(), 20)
        case _ if name == TOKENS[0]:
            for _ in range(walk.head(*range(0x90, 0x90 + len(TOKENS) + 1)) & 0xF):
                walk.head(0x92)
                field = walk.head(*TokenField)
                walk.binary(f"token_{TokenField(field).name.lower()}", TOKEN_SIZE)


@dataclass(frozen=True, slots=True)
class Located:
    """Where the fields of entries lie: entry i begins at `starts[i]` and has form `form[i]`."""

    starts: Places
    form: Places
    offsets: Places
    sizes: NDArray[np.int32]

    def at(self, name: str) -> tuple[Places, NDArray[np.int32]]:
        """Return a field's place and size in each entry; size 0 where it is absent."""
        number = NUMBER[name]
        return self.offsets[number].take(self.form) + self.starts, self.sizes[number].take(self.form)

    def part(self, start: int, count: int) -> Located:
        """Return the same of `count` entries from `start` on."""
        stop = start + count
        return Located(self.starts[start:stop], self.form[start:stop], self.offsets, self.sizes)


class Layouts:
    """The forms that were seen so far, by the length of their entries, those met most first."""

    def __init__(self) -> None:
        self._all: list[Layout] = []
        self._met: list[int] = []
        self._by_length: dict[int, list[int]] = {}

    def locate(self, data: Bytes, starts: Places, lengths: Places) -> Located:
        """Return where the fields of statements lie, whose entries begin at `starts` in `data`.

        Raises ProofError, naming the entry's number, where one is no statement.
        """
        if len(self._all) > LAYOUTS_KEPT:
            self._all.clear()
            self._met.clear()
            self._by_length.clear()
        form = np.zeros(len(starts), np.int64)
        order = np.argsort(lengths, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
            if rows.size:
                self._locate(data, starts, int(lengths[rows[0]]), rows, form)
        offsets = np.stack([layout.starts for layout in self._all] or [_NOWHERE], axis=1).astype(np.int64)
        sizes = np.stack([layout.sizes for layout in self._all] or [_NOWHERE], axis=1)
        return Located(starts, form, offsets, sizes)

    def _locate(self, data: Bytes, starts: Places, length: int, rows: Places, form: Places) -> None:
        """Note the forms of entries of one length."""
        known = self._by_length.setdefault(length, [])
        known.sort(key=lambda number: -self._met[number])
        for number in known:
            if not rows.size:
                return
            rows = self._settle(number, data, starts, rows, form)
        while rows.size:
            begin = int(starts[rows[0]])
            try:
                layout = layout_of(data[begin : begin + length].tobytes())
            except ProofError as error:
                where = f"entry {int(rows[0])}"
                raise ProofError(error.what, where=where, expected=error.expected, got=error.got) from None
            number = len(self._all)
            self._all.append(layout)
            self._met.append(0)
            if number < LAYOUTS_KEPT:
                known.append(number)
                rows = self._settle(number, data, starts, rows, form)
            else:
                form[rows[0]] = number
                rows = rows[1:]

    def _settle(self, number: int, data: Bytes, starts: Places, rows: Places, form: Places) -> Places:
        """Note the form of those entries that have it; return the others."""
        layout = self._all[number]
        begins = starts[rows][:, None]
        fits: NDArray[np.bool_] = (data.take(begins + layout.probes) == layout.probed).all(axis=1)
        near = np.flatnonzero(fits)
        if near.size:
            more = data.take(begins[near] + layout.heads) - layout.values  # what is less wraps round, beyond any span
            fits[near] = (more <= layout.spans).all(axis=1)
        found = rows[fits]
        form[found] = number
        self._met[number] += len(found)
        left: Places = rows[~fits]
        return left


_NOWHERE: Final = np.zeros(len(FIELDS), np.int32)
