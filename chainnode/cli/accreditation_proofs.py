"""What a status proof about an accreditation proves: for which categories a member's word counted at a time.

Not here: the proof itself (`ledger.status_proofs`), what terms are worth (`ledger.accreditations`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import settings
from chainnode.cli.output import join, show, show_rows, show_verdict
from primitives.errors import ProofError

if TYPE_CHECKING:
    from ledger.accreditations import Accreditation
    from ledger.status_proofs import StatusVerdict

TERM_COLUMNS = ("status", "categories", "standard", "valid_from", "ends", "reason")


def is_of_accreditation(verdict: StatusVerdict) -> bool:
    """Say whether what is proved is of an accreditation; what it is worth, `accreditation_row` says."""
    from ledger.accreditations import ACCREDITATION_PREFIX

    return verdict.key.startswith(ACCREDITATION_PREFIX.encode())


def accreditation_row(verdict: StatusVerdict, moment: str | None) -> dict[str, Any]:
    """Return what a status proof of an accreditation proves; ProofError where that is nothing, or not for this time."""
    from ledger.accreditations import ACCREDITATION_PREFIX, AccreditedRole, TermStatus
    from ledger.status_proofs import check_covers
    from ledger.times import format_time, parse_time

    member, _, role = verdict.key.decode(errors="replace").removeprefix(ACCREDITATION_PREFIX).rpartition("/")
    if role not in set(AccreditedRole) or not member:
        raise ProofError("status proof of another thing than an accreditation", got=verdict.key)
    default_ms = verdict.last_ms if verdict.is_newest else int(verdict.time_ms)
    at_ms = default_ms if moment is None else int(parse_time(moment, where="--at"))
    check_covers(verdict, at_ms)
    found = _record(verdict, member, role)
    terms = () if found is None else found.terms
    valid = [term for term in terms if term.status_at(at_ms) is TermStatus.VALID]
    categories = sorted({category for term in valid for category in term.categories})
    when = format_time(at_ms)
    sentence = f"{member} was not accredited as {role} at {when}"
    if categories:
        sentence = f"{member} was accredited as {role} for categories {join(categories)} at {when}"
    return {
        "verified": True,
        "sentence": f"{sentence}, by block {verdict.height}",
        "member": member,
        "role": role,
        "accredited": bool(valid),
        "categories": categories,
        "terms": [
            {
                "status": term.status_at(at_ms).value,
                "categories": list(term.categories),
                "standard": term.standard,
                "valid_from": format_time(term.valid_from_ms),
                "valid_until": format_time(term.valid_until_ms),
                "ends": format_time(term.end_ms),
                "reason": term.reason,
            }
            for term in terms
        ],
        "time": when,
        "proved_from": format_time(verdict.time_ms),
        "proved_until": format_time(verdict.last_ms),
        "chain_id": verdict.chain_id.hex(),
        "height": int(verdict.height),
        "cosigners": list(verdict.cosigners),
        "cosigned": {"by": len(verdict.cosigners), "of": verdict.witnesses, "epoch": verdict.epoch},
    }


def _record(verdict: StatusVerdict, member: str, role: str) -> Accreditation | None:
    from ledger.accreditations import Accreditation
    from ledger.proof_steps import RECORD, step
    from ledger.state import STATE_VALUE_SIZE_MAX
    from primitives.encoding import decode

    if verdict.value is None:
        return None
    with step(RECORD):
        found = decode(Accreditation, verdict.value, size_max=STATE_VALUE_SIZE_MAX)
    if (found.member, found.role) != (member, role):
        raise ProofError(
            "row of another accreditation", expected=f"{member}/{role}", got=f"{found.member}/{found.role}"
        )
    return found


def told(row: dict[str, Any]) -> None:
    """Print what is proved: the sentence, who cosigned it, the terms, and the rest as a table."""
    if settings().machine:
        show(row)
        return
    cosigned = row["cosigned"]
    show_verdict(row["sentence"])
    click.echo(f"cosigned by {cosigned['by']} of {cosigned['of']}: {join(row['cosigners'])}")
    hidden = ("verified", "sentence", "cosigned", "cosigners", "terms")
    show({name: value for name, value in row.items() if name not in hidden})
    if row["terms"]:
        show_rows([term | {"categories": join(term["categories"])} for term in row["terms"]], columns=TERM_COLUMNS)
