"""Which events are about which certificates and applications, over all kinds that are: for indexes and histories.

Not here: what the events do. A kind that concerns certificates and lives in a module of its own is added to both.
"""

from __future__ import annotations

from typing import TypeAlias

from ledger.certificate_bodies import Body, subjects_of
from ledger.certificates import CERTIFICATE_BODIES
from ledger.register_bodies import Import, OpenRegister, RegisterBody, register_subjects
from ledger.registers import REGISTER_BODIES
from primitives.encoding import Record

SubjectBody: TypeAlias = Body | RegisterBody
SUBJECT_BODIES: dict[tuple[int, int], type[Record]] = {**CERTIFICATE_BODIES, **REGISTER_BODIES}
"""The type of body that a kind and schema have."""


def all_subjects(body: SubjectBody) -> tuple[str, ...]:
    """Return what an event is about: application ids, certificate numbers, registers, as its body names them."""
    if isinstance(body, OpenRegister | Import):
        return register_subjects(body)
    return subjects_of(body)
