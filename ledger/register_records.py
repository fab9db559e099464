"""What the state holds of imported registers: the rows `register/<id>` and `certificate-import/<number>`.

A certificate that was imported is a `ledger.certificate_records.Certificate` like any other. That it was imported is
said by a row of its own, and by its record: in place of an application it names its place in the register.
"""

from __future__ import annotations

from typing import Final

from ledger.register_bodies import SourceFile
from ledger.state import StateGetter
from primitives.encoding import Record
from primitives.ids import EventId, Hash

PLACE_MARK: Final = "#"
"""Stands in no application's id, so that a place in a register never is one."""


class Register(Record):
    """A register that was opened: whose, what it holds, who signed it, until when rows come, and how many came."""

    id: str
    body: str
    root: Hash
    count: int
    source: SourceFile
    officers: tuple[bytes, ...]
    event_id: EventId
    opened_ms: int
    opened_height: int
    open_until_ms: int
    imported: int


class Imported(Record):
    """Beside a certificate: from which row of which register it came, by which event, and when.

    Nothing is said of the time before `time_ms`; the grant and its day are the register's word.
    """

    number: str
    register: str
    index: int
    event_id: EventId
    time_ms: int


def register_key(register: str) -> str:
    """Return the state key of a register."""
    return f"register/{register}"


def import_key(number: str) -> str:
    """Return the state key of what says that a certificate was imported."""
    return f"certificate-import/{number}"


def read_register(state: StateGetter, register: str) -> Register | None:
    """Return a register, or None."""
    return state.get(register_key(register), Register)


def read_imported(state: StateGetter, number: str) -> Imported | None:
    """Return from where a certificate was imported; None for one that was granted here."""
    return state.get(import_key(number), Imported)


def place_in_register(register: str, index: int) -> str:
    """Return what stands in an imported certificate's record for its application."""
    return f"{register}{PLACE_MARK}{index}"


def is_place(application: str) -> bool:
    """Say whether what a certificate names as its application is a place in a register."""
    return PLACE_MARK in application
