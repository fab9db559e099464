"""`prove`, `verify`, `policy export`: answers that need no trust in the node that gave them.

`verify` opens no connection: it reads two files and computes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import event_id_of, settings
from chainnode.cli.main import Group
from chainnode.cli.output import join, say, show, show_verdict
from primitives.errors import InputError, ProofError, UsageError

if TYPE_CHECKING:
    from chainnode.cli.exits import VerificationFailed
    from primitives.notes import NoteKey

FILE_BYTES_MAX = 16 * 1024 * 1024
PROOF_BYTES_MAX = 256 * 1024 * 1024
"""A proof of completeness or of a history may have many pages."""
COVERED_WITHIN_S = 90.0
POLL_S = 0.1


witness_option = click.option(
    "--witness",
    "witnesses",
    multiple=True,
    metavar="NAME",
    help="An outside witness, by its key's name, that must have cosigned the checkpoint; repeatable.",
)


@click.command()
@click.argument("event_id")
@click.option(
    "-f", "--file", "target", type=click.Path(path_type=Path), help="Write the receipt here. [default: stdout]"
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, 3600),
    default=COVERED_WITHIN_S,
    show_default=True,
    help="Seconds to wait for a checkpoint.",
)
@click.option(
    "--from-epoch",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="The epoch of the policy it is for; later changes of validators go with it.",
)
@witness_option
def prove(event_id: str, target: Path | None, timeout_s: float, from_epoch: int, witnesses: tuple[str, ...]) -> None:
    """Fetch the receipt of EVENT_ID: event, proof and cosigned checkpoint (a .tlog-proof)."""
    text = fetch_receipt(event_id_of(event_id), timeout_s, from_epoch, witnesses)
    if target is None:
        click.echo(text, nl=False)
        return
    from chainnode.files import write_file

    write_file(target, text.encode())
    say(f"receipt written to {target}; verify it with `chainnode verify {quote(str(target))} --policy POLICY`")
    if settings().machine:
        show({"event_id": event_id, "file": str(target)})


def fetch_receipt(event_id: str, timeout_s: float, from_epoch: int = 0, witnesses: Sequence[str] = ()) -> str:
    """Return the text of a receipt, waiting until a checkpoint covers the event."""
    import time

    from chainnode.client import UNAVAILABLE, CallRefused

    client = settings().client()
    end = time.monotonic() + timeout_s
    params = {"event_id": event_id, "from_epoch": from_epoch} | demanded(witnesses)
    while True:
        try:
            return str(client.call("ledger_getProof", **params)["receipt"])
        except CallRefused as refused:
            if refused.code != UNAVAILABLE or time.monotonic() >= end:
                raise
        time.sleep(POLL_S)


def demanded(witnesses: Sequence[str]) -> dict[str, Any]:
    """Return the parameter that demands witnesses; none where none is demanded, as an older node takes it."""
    return {"witnesses": list(witnesses)} if witnesses else {}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), required=True, help="The trusted policy.")
@click.option("--certificate", "number", help="FILE must be a proof of this certificate's status or history.")
@click.option("--at", "moment", help="A status proof must speak for this time, RFC 3339. [default: the proof's]")
@click.option("--member", help="FILE must be a proof of completeness of this member.")
def verify(file: Path, policy_file: Path, number: str | None, moment: str | None, member: str | None) -> None:
    """Verify the proof in FILE (`-`: standard input) against a policy, offline. Status 3 where it does not hold.

    It may be a receipt, a certificate's status or absence, a certificate's whole history, a member's accreditation,
    or all events of a member.
    """
    if member is not None and (number is not None or moment is not None):
        raise UsageError("two kinds of proof at once", expected="--member, or --certificate with --at")
    if moment is not None:
        _check_time(moment)
    name = "standard input" if str(file) == "-" else str(file)
    policy = policy_text(policy_file)
    proof = file_text(file, size_max=PROOF_BYTES_MAX)
    try:
        say_verified = _verified(proof, policy, number, moment, member)
    except InputError as error:
        raise refused(name, error, error.hint or "do not rely on it") from None
    say_verified()


def policy_text(path: Path) -> str:
    """Return the text of a policy that can be used; status 3, and the policy's name, where it cannot."""
    from ledger.trust_policy import parse_policy

    text = file_text(path)
    try:
        parse_policy(text)
    except InputError as error:
        raise refused(str(path), error, "get the policy again from somebody whom you trust") from None
    return text


def _check_time(text: str) -> None:
    """Raise UsageError where --at is no time: that is said of the command, not of the proof."""
    from ledger.times import parse_time

    try:
        parse_time(text, where="--at")
    except InputError as error:
        raise UsageError(error.what, where=error.where, expected=error.expected, got=error.got) from None


def _verified(
    proof: str, policy: str, number: str | None, moment: str | None, member: str | None
) -> Callable[[], None]:
    """Verify a proof of any kind and return what prints it; ProofError where it is not what the options ask for."""
    from chainnode.cli import accreditation_proofs, audit, certificate_proofs
    from ledger.certificate_history import CertificateHistory
    from ledger.completeness import Completeness
    from ledger.proof_kinds import kind_of
    from ledger.receipts import Receipt
    from ledger.status_proofs import StatusProof, verify_status

    kind = kind_of(proof)
    wanted = _wanted(number, moment, member)
    if wanted is not None and kind.__name__ not in wanted:
        raise ProofError("proof of another kind", expected=" or ".join(wanted), got=kind.__name__)
    if kind is StatusProof:
        verdict = verify_status(proof, policy) if number is None else None
        if verdict is not None and accreditation_proofs.is_of_accreditation(verdict):
            return partial(accreditation_proofs.told, accreditation_proofs.accreditation_row(verdict, moment))
        return partial(certificate_proofs.told, certificate_proofs.status_row(proof, policy, number, moment))
    if kind is CertificateHistory:
        return partial(certificate_proofs.told, certificate_proofs.history_row(proof, policy, number))
    if kind is Completeness:
        return partial(audit.told, audit.completeness_row(proof, policy, member))
    assert kind is Receipt, "kind_of knows four kinds"
    return partial(_told_receipt, _receipt_row(proof, policy))


def _wanted(number: str | None, moment: str | None, member: str | None) -> tuple[str, ...] | None:
    """Return the kinds of proof that the options of `verify` are about, by their records; None for any."""
    if member is not None:
        return ("Completeness",)
    if moment is not None:
        return ("StatusProof",)
    return None if number is None else ("StatusProof", "CertificateHistory")


def _told_receipt(row: dict[str, Any]) -> None:
    if settings().machine:
        show(row)
        return
    cosigned = row["cosigned"]
    show_verdict(row.pop("sentence"))
    click.echo(f"cosigned by {cosigned['by']} of {cosigned['of']}: {join(row['cosigners'])}")
    show({name: value for name, value in row.items() if name not in ("verified", "cosigned", "cosigners", "outcome")})


def refused(name: str, error: InputError, hint: str) -> VerificationFailed:
    """Return an error of what a file holds, with the file's name."""
    from chainnode.cli.exits import VerificationFailed

    where = f"{name}{': ' + error.where if error.where else ''}"
    return VerificationFailed(error.what, where=where, expected=error.expected, got=error.got, hint=hint)


def file_text(path: Path, size_max: int = FILE_BYTES_MAX) -> str:
    """Return the text of a file, or of standard input for `-`; status 3 where it is not text."""
    from chainnode.cli.exits import VerificationFailed
    from chainnode.files import read_file

    if str(path) == "-":
        data = sys.stdin.buffer.read(size_max + 1)
        if len(data) > size_max:
            raise InputError("input too large", where="standard input", expected=f"at most {size_max} bytes")
    else:
        data = read_file(path, size_max=size_max)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise VerificationFailed("not text", where=str(path), expected="UTF-8", got=f"byte {error.start}") from None


def _receipt_row(text: str, policy: str) -> dict[str, Any]:
    """Return what a receipt proves; ProofError where it does not."""
    from ledger.event_json import body_to_json
    from ledger.receipts import verify as verify_receipt
    from ledger.registry import KINDS
    from ledger.times import format_time

    verdict = verify_receipt(text, policy)
    event = verdict.event
    spec = KINDS.get(event.kind)
    kind = spec.name if spec else str(event.kind)
    word = "applied" if verdict.applied else f"rejected ({verdict.rule}: {verdict.detail})"
    return {
        "verified": True,
        "sentence": f"{kind} of {verdict.member}, {word}, in block {verdict.height} of {format_time(verdict.time_ms)}",
        "event_id": verdict.event_id.hex(),
        "outcome": {"applied": verdict.applied, "rule": verdict.rule or None, "detail": verdict.detail or None},
        "kind": kind,
        "member": verdict.member,
        "source": verdict.source.hex(),
        "chain_id": verdict.chain_id.hex(),
        "height": verdict.height,
        "time": format_time(verdict.time_ms),
        "log_size": verdict.log_size,
        "cosigners": list(verdict.cosigners),
        "cosigned": {
            "by": len(verdict.cosigners),
            "of": verdict.witnesses,
            "epoch": verdict.epoch,
            "first": format_time(verdict.cosigned_first_s * 1_000),
            "last": format_time(verdict.cosigned_last_s * 1_000),
        },
        "body": body_to_json(event.kind, event.schema, event.body),
    }


def _witness(entry: str) -> tuple[str, NoteKey]:
    """Return name and key of NAME=VKEY."""
    from primitives.notes import parse_vkey

    name, found, vkey = entry.partition("=")
    if not found or "+" in name:
        raise UsageError(
            "not a witness", expected="NAME=VKEY, the VKEY as `chainnode witness init` prints it", got=entry
        )
    try:
        return name, parse_vkey(vkey)
    except InputError as error:
        raise UsageError(error.what, where=f"--witness {name}", expected=error.expected, got=error.got) from None


@click.group(cls=Group)
def policy() -> None:
    """What verifying needs to know: log keys, cosigners, quorum."""


@policy.command()
@click.option("-f", "--file", "target", type=click.Path(path_type=Path), help="Write it here. [default: stdout]")
@click.option("--genesis", type=click.Path(path_type=Path), help="Make it from this genesis, asking no node.")
@click.option(
    "--witness",
    "entries",
    multiple=True,
    metavar="NAME=VKEY",
    help="Demand this outside witness beside the validators; repeatable. NAME is any word that the policy has not.",
)
@click.option(
    "--require-witnesses",
    "threshold",
    default="all",
    show_default=True,
    metavar="all|any|N",
    help="How many of the witnesses must have cosigned.",
)
def export(target: Path | None, genesis: Path | None, entries: tuple[str, ...], threshold: str) -> None:
    """Export the policy of the present validators, in C2SP's tlog-policy form.

    Get it from somebody whom you trust, once: what is verified is only as good as the policy.
    """
    if not entries and threshold != "all":
        raise UsageError("no witness to demand", expected="--witness NAME=VKEY with --require-witnesses")
    witnesses = dict(map(_witness, entries))
    if len(witnesses) != len(entries):
        raise UsageError("a witness's name is given twice", expected="another NAME for each --witness")
    if genesis is not None:
        from chainnode.founding import read_genesis
        from ledger.handovers import first_span
        from ledger.trust_policy import policy_text

        chain = read_genesis(genesis)
        text = policy_text(chain, (first_span(chain),))
    else:
        text = settings().client().get("/policy").decode()
    if witnesses:
        from ledger.policy_witnesses import with_witnesses
        from ledger.trust_policy import parse_policy

        parse_policy(text)  # what follows is the caller's fault
        try:
            text = with_witnesses(text, witnesses, threshold)
        except InputError as error:
            raise UsageError(error.what, where="the witnesses", expected=error.expected, got=error.got) from None
    if target is None:
        click.echo(text, nl=False)
        return
    from chainnode.files import write_file

    write_file(target, text.encode())
    say(f"policy written to {target}")
