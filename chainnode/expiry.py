"""What of this consortium's links ends by itself, and when: TLS certificates of nodes and listeners, and root CAs.

Keys of validators, sources and officers have no end; certificates of products are on the chain
(`ledger.deadlines`). Here: reading ends out of certificates, and the words of a warning. A file is read anew
each time, since an operator replaces it while the node runs. Not here: making certificates (`p2p.certificates`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509

from ledger.deadline_index import EndsReader
from ledger.deadline_reading import count_deadlines
from ledger.deadlines import LASTING, LISTED, NOTICES, DueKind
from ledger.member_index import read_old_ca
from ledger.members import read_members
from ledger.state import StateReader
from rpc.ports import Ending

DAY_MS: Final = 86_400_000
WARN_DAYS: Final = 30
"""An end that is nearer is told in the status and worth an alert: time for a vote, where one is needed."""
AHEAD_DAYS: Final = 90
"""How far ahead what falls due is counted."""
ALARM_DAYS: Final = (30, 7, 1, 0)
"""How near an end is when it is told in the log, once each: a warning, then errors; 0 when it has come."""
FILE_BYTES_MAX: Final = 64 * 1024
_MEND: Final = {
    "node_certificate": "`chainnode keys renew-tls`",
    "rpc_certificate": "put another one in its place and start the node again",
    "root_ca": "`chainnode keys rotate-ca` and have it approved",
}


@lru_cache(maxsize=4_096)
def end_of(pem: bytes) -> int | None:
    """Return when the first of the certificates in a PEM ends, in milliseconds; None where it cannot be read."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError:
        return None
    return min(int(item.not_valid_after_utc.timestamp() * 1_000) for item in found)


def file_ending(kind: str, name: str, member: str, path: Path) -> list[Ending]:
    """Return when the certificate in a file ends; nothing where there is no such file or it is none."""
    try:
        with path.open("rb") as file:
            pem = file.read(FILE_BYTES_MAX)
    except OSError:
        return []
    ends_ms = end_of(pem)
    return [] if ends_ms is None else [Ending(kind, name, member, ends_ms, path.name)]


def ca_endings(state: StateReader) -> list[Ending]:
    """Return when the members' root CAs end, also those before the present ones while they count."""
    found = []
    for member in read_members(state):
        held = ((member.ca_certificate, "chain"), (read_old_ca(state, member.id), "chain, the one before"))
        for pem, where in held:
            ends_ms = None if member.excluded or not pem else end_of(pem.encode())
            if ends_ms is not None:
                found.append(Ending("root_ca", member.id, member.id, ends_ms, where))
    return found


def deadlines_by_kind(ends: EndsReader, now_ms: int) -> dict[DueKind, int]:
    """Return how much is so of each kind; of what is over with its moment, how much will be within AHEAD_DAYS."""
    height = ends.height()
    return {
        kind: 0
        if height is None
        else count_deadlines(ends, kind, now_ms, height=height, within_days=0 if kind in LASTING else AHEAD_DAYS)
        for kind in (*NOTICES, *LISTED)
    }


def band_of(item: Ending, now_ms: int) -> int | None:
    """Return the nearest of ALARM_DAYS within which something ends, None where it ends later than all of them."""
    left_ms = item.ends_ms - now_ms
    return min((days for days in ALARM_DAYS if left_ms <= days * DAY_MS), default=None)


def count_by_band(endings: Iterable[Ending], now_ms: int) -> dict[int, int]:
    """Return how many end within each of ALARM_DAYS; 0 of those that have ended."""
    left = [item.ends_ms - now_ms for item in endings]
    return {days: sum(each <= days * DAY_MS for each in left) for days in ALARM_DAYS}


@dataclass(slots=True)
class Alarms:
    """Which ends were told already, so that each is told once when it comes into a nearer band and not every time."""

    told: dict[tuple[str, str, str], tuple[int, int]] = field(default_factory=dict)

    def due(self, endings: Iterable[Ending], now_ms: int) -> list[tuple[Ending, int]]:
        """Return what came into a nearer band since it was told, the first to end first; a renewal begins anew."""
        found: list[tuple[Ending, int]] = []
        present: dict[tuple[str, str, str], tuple[int, int]] = {}
        for item in sorted(endings, key=lambda item: item.ends_ms):
            band, key = band_of(item, now_ms), (item.kind, item.name, item.where)
            if band is None or key in present:
                continue
            before = self.told.get(key)
            if before is None or before[0] != item.ends_ms or band < before[1]:
                found.append((item, band))
            present[key] = (item.ends_ms, band)
        self.told = present
        return found


def own_warnings(endings: Iterable[Ending], node: str, member: str, now_ms: int) -> list[str]:
    """Return a sentence for each certificate of this node and its member that ends within WARN_DAYS, or has ended."""
    return [
        warning_of(item, now_ms)
        for item in endings
        if item.ends_ms - now_ms < WARN_DAYS * DAY_MS
        and item.member == member
        and (item.kind == "root_ca" or item.name == node)
    ]


def warning_of(item: Ending, now_ms: int) -> str:
    """Return what ends when, and what to do about it."""
    days = (item.ends_ms - now_ms) // DAY_MS
    what = f"{item.kind.replace('_', ' ')} of {item.name} ({item.where})"
    when = f"ends in {days} days" if item.ends_ms > now_ms else "has ended"
    return f"the {what} {when}: {_MEND[item.kind]}"
