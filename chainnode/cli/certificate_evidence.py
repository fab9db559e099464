"""`chainnode cert verify-evidence`: documents against the digests that the ledger holds of them.

The documents stay with who keeps them; whoever is handed one learns here whether it is the one that was filed. Not
here: hashing and matching (`chainnode.evidence_check`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.certificate_interop import policy_option, proved_now, timeout_option
from chainnode.cli.context import settings
from chainnode.cli.output import progress, say, show, show_rows
from chainnode.cli.proofs import fetch_receipt, file_text, policy_text, refused
from primitives.errors import InputError, UsageError

if TYPE_CHECKING:
    from chainnode.evidence_check import Checked, Piece
    from ledger.certificate_records import Certificate

_COLUMNS = ("file", "result", "kind", "custodian", "size_bytes", "filed", "passed", "proved")


@click.command("verify-evidence")
@click.argument("subject")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@policy_option
@click.option(
    "--proof",
    "proof_file",
    type=click.Path(path_type=Path),
    help="With --policy: take the record from this status proof and ask no node.",
)
@click.option("--all", "whole", is_flag=True, help="Every document on record has to be among the FILEs.")
@timeout_option
def verify_evidence(
    subject: str,
    files: tuple[Path, ...],
    policy_file: Path | None,
    proof_file: Path | None,
    whole: bool,
    timeout_s: float,
) -> int:
    """Hold FILEs against the evidence of certificate or application SUBJECT; of a directory all that lies in it.

    With --policy the record is proved first, else the node is believed. Status 3 where a file is none of the documents
    on record, 6 where there is no such record, no document on it, or no file.
    """
    from chainnode.cli.exits import Missing
    from chainnode.evidence_check import check_file, files_of, missing_of

    pieces, subjects = _on_record(subject, policy_file, proof_file, timeout_s)
    if not pieces:
        raise Missing("no evidence on record", where=subject)
    found = files_of(files)
    absent = [path for path in found if not path.exists()]
    if absent or not found:
        raise Missing("no file to hold against the record", where=str((absent or list(files))[0]))
    with progress("hashing", sum(path.stat().st_size for path in found)) as bar:
        checked = [check_file(path, pieces, bar.advance) for path in found]
    if policy_file is not None and proof_file is None:
        checked = [_proved(each, subjects, policy_file, timeout_s) for each in checked]
    missing = missing_of(pieces, checked)
    _show(subject, checked, missing)
    return _status(checked, missing if whole else [])


def _on_record(
    subject: str, policy_file: Path | None, proof_file: Path | None, timeout_s: float
) -> tuple[list[Piece], tuple[str, ...]]:
    """Return the evidence of a subject, and by which names its events call it."""
    from ledger.certificate_bodies import APPLICATION_ID_PATTERN, NUMBER_PATTERN

    is_number = re.search(NUMBER_PATTERN, subject) is not None
    if not is_number and re.search(APPLICATION_ID_PATTERN, subject) is None:
        raise UsageError(
            "neither a certificate nor an application",
            expected="such as FTP-2026-06-000123 or bank-a.0001",
            got=subject,
        )
    if proof_file is not None:
        if policy_file is None or not is_number:
            raise UsageError("a proof is of a certificate and under a policy", expected="NUMBER --proof F --policy P")
        return _of_proof(subject, proof_file, policy_file)
    if not is_number:
        return _told(settings().client().call("cert_getApplication", application=subject)["application"]), (subject,)
    return _of_certificate(subject, policy_file, timeout_s)


def _of_certificate(number: str, policy_file: Path | None, timeout_s: float) -> tuple[list[Piece], tuple[str, ...]]:
    """Return a certificate's evidence: that of its proved record, where a policy asks for it, and what came since."""
    from chainnode.cli.exits import Missing
    from chainnode.interop.stapled import certificate_in

    proved: list[Piece] = []
    if policy_file is not None:
        certificate = certificate_in(proved_now(number, policy_text(policy_file), timeout_s)[1].verdict)
        if certificate is None:
            raise Missing("no such certificate", where=number)
        proved = _of_record(certificate)
    found = settings().client().call("cert_get", number=number)
    record = found["certificate"]
    told = _told(record, found["scheme"])
    known = {(piece.digest, piece.event_id) for piece in proved}
    pieces = proved + [piece for piece in told if (piece.digest, piece.event_id) not in known]
    return pieces, (number, record["application"])


def _of_proof(number: str, proof_file: Path, policy_file: Path) -> tuple[list[Piece], tuple[str, ...]]:
    """Return the evidence of the record that a status proof proves, whatever its age."""
    from chainnode.cli.exits import Missing
    from chainnode.interop.stapled import certificate_in, read_stapled_status

    text, policy = file_text(proof_file), policy_text(policy_file)
    try:
        verdict = read_stapled_status(text, policy, number, None, 0).verdict
    except InputError as error:
        raise refused(str(proof_file), error, error.hint or "do not rely on it") from None
    certificate = certificate_in(verdict)
    if certificate is None:
        raise Missing("no such certificate", where=number)
    return _of_record(certificate), (number, certificate.application)


def _of_record(certificate: Certificate) -> list[Piece]:
    from chainnode.evidence_check import piece_of_record

    return [piece_of_record(filed) for filed in (*certificate.evidence, *certificate.corrections)]


def _told(*records: dict[str, Any]) -> list[Piece]:  # Any: JSON of a node
    from chainnode.evidence_check import piece_of_json

    found = [piece_of_json(row) for each in records for row in (*each["evidence"], *each.get("corrections", ()))]
    return list(dict.fromkeys(found))


def _proved(checked: Checked, subjects: tuple[str, ...], policy_file: Path, timeout_s: float) -> Checked:
    """Return a file with the pieces that it is, each proved by the receipt of the event that filed it, if not yet.

    Status 3 where a receipt does not hold: the node told of a document that nobody filed.
    """
    if all(piece.proved for piece in checked.pieces):
        return checked
    pieces = [
        piece if piece.proved else _by_receipt(piece, subjects, policy_file, timeout_s) for piece in checked.pieces
    ]
    return replace(checked, pieces=tuple(pieces))


def _by_receipt(piece: Piece, subjects: tuple[str, ...], policy_file: Path, timeout_s: float) -> Piece:
    from chainnode.evidence_check import check_in_event
    from ledger.receipts import verify
    from primitives.errors import ProofError

    try:
        verdict = verify(fetch_receipt(piece.event_id, timeout_s), policy_text(policy_file))
        if verdict.event_id.hex() != piece.event_id or not verdict.applied:
            raise ProofError("the receipt of another event", expected=piece.event_id, got=verdict.event_id)
        check_in_event(piece, verdict.event, subjects)
    except InputError as error:
        raise refused(f"evidence {piece.digest[:16]}", error, error.hint or "do not rely on the node") from None
    return replace(piece, proved=True)


def _show(subject: str, checked: list[Checked], missing: list[Piece]) -> None:
    from dataclasses import asdict

    if settings().output == "json":
        rows = [{**asdict(each), "standing": each.standing.value} for each in checked]
        show({"subject": subject, "files": rows, "missing": [asdict(piece) for piece in missing]})
        return
    if settings().output == "jsonl":
        show_rows([{**asdict(each), "standing": each.standing.value} for each in checked])
        return
    rows = []
    for each in checked:
        row = {"file": each.path, "result": each.standing.value.replace("_", " "), "size_bytes": each.size_bytes}
        for piece in each.pieces:
            told = {"kind": piece.kind, "custodian": piece.custodian, "filed": piece.time, "passed": piece.passed}
            rows.append({**row, **told, "proved": piece.proved})
        if not each.pieces:
            rows.append(row)
        if each.note:
            say(f"{each.path}: {each.note}")
    show_rows(rows, columns=_COLUMNS)
    for piece in missing:
        say(f"not among the files: {piece.kind} of {piece.size_bytes} bytes, kept by {piece.custodian}")


def _status(checked: list[Checked], missing: list[Piece]) -> int:
    from chainnode.cli.exits import Exit
    from chainnode.evidence_check import Standing

    standings = {each.standing for each in checked}
    if missing or standings & {Standing.NOT_ON_RECORD, Standing.SIZE_DIFFERS}:
        return Exit.VERIFICATION_FAILED
    return Exit.ERROR if Standing.UNREADABLE in standings else Exit.OK
