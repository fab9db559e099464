"""`chainnode cert issue`, `revoke`, `approve` and `decide`: decisions that two officers sign.

By the third rules a grant and a revocation carry the signatures of two officers of the deciding member, beside that of
the key that submits (`--as`). Officers who sit together are named at once (--officer twice); else the decision goes as
a file from one to the next (--prepare FILE, `cert approve FILE`, `cert decide FILE`). By earlier rules there are none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.certificate_events import client_of, reason_option, send, sending, time_of
from chainnode.cli.context import settings
from chainnode.cli.output import say, show
from chainnode.cli.submit import member_of_settings
from primitives.errors import UsageError

if TYPE_CHECKING:
    from chainnode.client import NodeClient
    from chainnode.decisions import Prepared
    from ledger.certificate_bodies import Grant, Revoke

officers_option = click.option(
    "--officer",
    "officers",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="KEYFILE",
    help="Key of an officer of the deciding member; two of them sign.",
)
prepare_option = click.option(
    "--prepare",
    "target",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Send nothing, and write the decision to FILE for officers elsewhere (`cert approve FILE`).",
)
OFFICERS_ELSEWHERE = "name two with --officer, or write the decision for others with --prepare FILE"


@click.command()
@click.argument("application")
@click.option("--number", required=True, help="The certificate's number, such as FTP-2026-06-000123.")
@click.option("--from", "valid_from", help="Start of its validity, RFC 3339. [default: now]")
@click.option("--until", "valid_until", help="Its end, RFC 3339. [default: the longest permitted]")
@click.option("--months", type=int, help="Or its length in calendar months.")
@officers_option
@prepare_option
@sending
def issue(
    application: str,
    number: str,
    valid_from: str | None,
    valid_until: str | None,
    months: int | None,
    officers: tuple[Path, ...],
    target: Path | None,
    wait: str,
    timeout_s: float,
) -> int:
    """Grant the certificate of APPLICATION, as the decider (another key than the reviewer's), with two officers."""
    from ledger.certificate_bodies import Grant

    start, end = time_of(valid_from, "--from"), time_of(valid_until, "--until")
    body = Grant(application, number, start, end, months)
    return _decide(body, f"certificate {number}", officers, target, wait, timeout_s)


@click.command()
@click.argument("number")
@reason_option
@click.option("--invalid-from", help="It counts as invalid from an earlier time, RFC 3339. [default: now]")
@officers_option
@prepare_option
@sending
def revoke(
    number: str,
    reason: str,
    invalid_from: str | None,
    officers: tuple[Path, ...],
    target: Path | None,
    wait: str,
    timeout_s: float,
) -> int:
    """Revoke certificate NUMBER, as its certification body or the regulator, with two officers."""
    from ledger.certificate_bodies import Revoke

    body = Revoke(number, reason, time_of(invalid_from, "--invalid-from"))
    return _decide(body, f"revocation of {number}", officers, target, wait, timeout_s)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--officer", type=click.Path(path_type=Path), required=True, metavar="KEYFILE", help="Key of the officer who signs."
)
@click.option("--offline", is_flag=True, help="Ask no node whether the case is still what the decision is upon.")
@click.option("--dry-run", is_flag=True, help="Show what would be signed, and sign nothing.")
def approve(file: Path, officer: Path, offline: bool, dry_run: bool) -> None:
    """Sign the decision in FILE, after showing what it decides; the node is asked whether the case is still so."""
    from chainnode.decisions import check_case, read_decision, write_decision
    from chainnode.identity import read_key

    prepared = read_decision(file)
    key = read_key(officer, "officer")
    signed = prepared.signed(key)
    case = None if offline else check_case(settings().client(), prepared)
    if dry_run:
        say("nothing was signed")
    else:
        write_decision(file, signed, replace=True)
        after = "one more has to sign" if signed.missing else f"send it with `chainnode cert decide {file}`"
        say(f"signed by {key.public[:16]} of {key.member}: {after}")
    show(_shown(prepared if dry_run else signed, case))


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@sending
def decide(file: Path, wait: str, timeout_s: float) -> int:
    """Send the decision in FILE that two officers signed, as the member that decides (--as)."""
    from chainnode.decisions import check_case, read_decision

    prepared = read_decision(file)
    body = prepared.event()
    if member_of_settings() != prepared.member:
        raise UsageError("decision of another member", expected=prepared.member, got=member_of_settings())
    client = client_of(timeout_s)
    check_case(client, prepared)
    return send(body, f"{prepared.kind.rpartition('.')[2]} upon {prepared.subject}", wait, timeout_s, client)


def _decide(
    body: Grant | Revoke, what: str, officers: tuple[Path, ...], target: Path | None, wait: str, timeout_s: float
) -> int:
    """Send a decision with its officers' signatures, or write it down for them."""
    from chainnode.decisions import prepare, schema_for, write_decision
    from ledger.certificate_bodies import check_body

    check_body(body)
    member = member_of_settings()
    client = client_of(timeout_s)
    if schema_for(client, body) == 1:
        return _by_earlier_rules(client, body, what, officers, target, wait, timeout_s)
    prepared = _signed(prepare(client, member, body), officers)
    if target is not None:
        write_decision(target, prepared, replace=False)
        say(f"written to {target}: an officer signs it with `chainnode cert approve {target} --officer KEYFILE`")
        show(_shown(prepared, None))
        return 0
    if prepared.missing:
        raise UsageError("officers have to sign this decision", expected=2, got=len(officers), hint=OFFICERS_ELSEWHERE)
    return send(prepared.event(), what, wait, timeout_s, client)


def _signed(prepared: Prepared, officers: tuple[Path, ...]) -> Prepared:
    from chainnode.identity import read_key

    for path in officers:
        prepared = prepared.signed(read_key(path, "officer"))
    return prepared


def _by_earlier_rules(
    client: NodeClient,
    body: Grant | Revoke,
    what: str,
    officers: tuple[Path, ...],
    target: Path | None,
    wait: str,
    timeout_s: float,
) -> int:
    """Send a decision on a chain whose rules know no officers' signatures on it."""
    if target is not None:
        raise UsageError("the rules of this chain have no decisions for officers to sign", hint="leave --prepare out")
    if officers:
        say("by the rules of this chain officers do not sign decisions: it is sent without their signatures")
    return send(body, what, wait, timeout_s, client)


def _shown(prepared: Prepared, case: dict[str, Any] | None) -> dict[str, Any]:  # Any: JSON
    """Return what an officer has to know of a decision: all of it, and what the node says of the case."""
    shown: dict[str, Any] = {"decision": prepared.kind, "member": prepared.member, **prepared.body}
    if case is not None:
        unit = case["product"]
        shown |= {
            "product": f"{unit['name']} {unit['model']} {unit['version']}",
            "holder": f"{case['holder_name']} ({case['holder']})",
            "category": case["category"],
            "state": case["state"],
        }
    shown |= {"upon_events": prepared.upon.count, "upon_hash": prepared.upon.hash, "chain_id": prepared.chain_id}
    return shown | {"signed_by": [row.officer for row in prepared.approvals], "missing": prepared.missing}


COMMANDS = (issue, revoke, approve, decide)
