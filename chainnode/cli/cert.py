"""`chainnode cert`: a certificate's life, one command for each of its events, and reading it.

Who acts is who signs: `--as KEYFILE` for laboratories, inspectors, the certification body and the regulator; a bank may
also act through its own node with --home.
"""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

import click

from chainnode.cli import (
    certificate_decisions,
    certificate_inspections,
    certificate_lists,
    certificate_scan,
    certificate_scheme,
)
from chainnode.cli.certificate_credentials import credential, credential_key, status_list
from chainnode.cli.certificate_deadlines import deadlines
from chainnode.cli.certificate_decisions import issue
from chainnode.cli.certificate_events import (
    checked_holder_id,
    client_of,
    evidence_of,
    evidence_option,
    new_serial,
    reason_option,
    scope_option,
    send,
    sending,
    serial_option,
    time_of,
)
from chainnode.cli.certificate_evidence import verify_evidence
from chainnode.cli.certificate_import import import_
from chainnode.cli.certificate_interop import bundle, offline_status
from chainnode.cli.certificate_proofs import PROVED_WITHIN_S, proved_status
from chainnode.cli.certificate_scheme import shown_certificate
from chainnode.cli.context import settings
from chainnode.cli.main import Group
from chainnode.cli.output import say, show, show_page
from chainnode.cli.proofs import demanded, witness_option
from chainnode.cli.submit import member_of_settings
from primitives.errors import UsageError

from_epoch_option = click.option(
    "--from-epoch", type=click.IntRange(0), default=0, help="The epoch of the policy that a proof is for."
)


@click.group(cls=Group)
def cert() -> None:
    """Certificates: apply, examine, decide, suspend, revoke; show and prove."""


@cert.command("apply")
@click.option("--product", required=True, help="Name of the product.")
@click.option("--model", required=True, help="Its model.")
@click.option("--version", required=True, help="Its version.")
@click.option("--category", type=int, required=True, help="Number of its category in the catalogue.")
@click.option("--holder-name", required=True, help="The organisation that would hold the certificate.")
@click.option("--holder-id", help="Its USCC (GB 32100) or LEI (ISO 17442); comes with --scope.")
@scope_option
@serial_option
@evidence_option
@sending
def apply_(
    product: str,
    model: str,
    version: str,
    category: int,
    holder_name: str,
    holder_id: str | None,
    scope: tuple[str, ...],
    serial: str | None,
    evidence: tuple[str, ...],
    wait: str,
    timeout_s: float,
) -> int:
    """Apply for a product's certificate; FILEs of --evidence are technical documents."""
    from ledger.certificate_bodies import Apply, ApplyScoped, Product

    application = f"{member_of_settings()}.{serial or new_serial()}"
    filed = evidence_of(evidence, "technical_documents")
    unit = Product(product, model, version)
    client = client_of(timeout_s)
    body = Apply(application, holder_name, unit, category, filed)
    if holder_id is not None or scope:
        checked = checked_holder_id(holder_id, scope, client)
        body = ApplyScoped(application, holder_name, unit, category, filed, checked, scope)
    say(f"application {application}")
    return send(body, f"application {application}", wait, timeout_s, client)


@cert.command()
@click.argument("application")
@sending
def accept(application: str, wait: str, timeout_s: float) -> int:
    """Accept APPLICATION, as the certification body that becomes responsible for it."""
    from ledger.certificate_bodies import Accept

    return send(Accept(application), f"accepting {application}", wait, timeout_s)


@cert.command()
@click.argument("application")
@click.option("--type-test", "kind", flag_value="type_test", help="A laboratory's finding on the type.")
@click.option("--site-check", "kind", flag_value="site_check", help="An inspector's finding on the site.")
@click.option("--failed", is_flag=True, help="The finding is negative.")
@evidence_option
@sending
def evidence(
    application: str, kind: str | None, failed: bool, evidence: tuple[str, ...], wait: str, timeout_s: float
) -> int:
    """File the finding on APPLICATION: by default what the key's role suggests."""
    from ledger.certificate_bodies import SiteCheck, TypeTest

    if kind is None:
        role = settings().require_key().role if settings().as_key is not None else ""
        kind = {"laboratory": "type_test", "inspector": "site_check"}.get(role)
    if kind == "type_test":
        filed = evidence_of(evidence, "type_examination")
        return send(TypeTest(application, not failed, filed), f"type test of {application}", wait, timeout_s)
    if kind == "site_check":
        filed = evidence_of(evidence, "site_check")
        return send(SiteCheck(application, not failed, filed), f"site check of {application}", wait, timeout_s)
    raise UsageError("which finding is it?", expected="--type-test or --site-check")


@cert.command()
@click.argument("application")
@evidence_option
@sending
def review(application: str, evidence: tuple[str, ...], wait: str, timeout_s: float) -> int:
    """Say that APPLICATION was reviewed, as the certification body's reviewer."""
    from ledger.certificate_bodies import Review

    filed = evidence_of(evidence, "review_report")
    return send(Review(application, filed), f"review of {application}", wait, timeout_s)


@cert.command()
@click.argument("application")
@reason_option
@sending
def refuse(application: str, reason: str, wait: str, timeout_s: float) -> int:
    """Refuse APPLICATION, as the decider."""
    from ledger.certificate_bodies import Refuse

    return send(Refuse(application, reason), f"refusing {application}", wait, timeout_s)


@cert.command()
@click.argument("number")
@serial_option
@evidence_option
@sending
def renew(number: str, serial: str | None, evidence: tuple[str, ...], wait: str, timeout_s: float) -> int:
    """Apply for the successor of certificate NUMBER, as its holder."""
    from ledger.certificate_bodies import Renew

    application = f"{member_of_settings()}.{serial or new_serial()}"
    filed = evidence_of(evidence, "technical_documents")
    say(f"application {application}")
    return send(Renew(application, number, filed), f"renewal of {number}", wait, timeout_s)


@cert.command()
@click.argument("number")
@reason_option
@click.option("--days", type=int, help="For so many days. [default: the longest permitted]")
@click.option("--until", help="Or until a time, RFC 3339.")
@sending
def suspend(number: str, reason: str, days: int | None, until: str | None, wait: str, timeout_s: float) -> int:
    """Suspend certificate NUMBER."""
    from ledger.certificate_bodies import Suspend

    body = Suspend(number, reason, time_of(until, "--until"), days)
    return send(body, f"suspension of {number}", wait, timeout_s)


@cert.command()
@click.argument("number")
@evidence_option
@sending
def restore(number: str, evidence: tuple[str, ...], wait: str, timeout_s: float) -> int:
    """End the suspension of certificate NUMBER, with evidence of what was corrected."""
    from ledger.certificate_bodies import Restore

    filed = evidence_of(evidence, "corrective_action")
    return send(Restore(number, filed), f"restoring of {number}", wait, timeout_s)


@cert.command()
@click.argument("number")
@evidence_option
@sending
def cancel(number: str, evidence: tuple[str, ...], wait: str, timeout_s: float) -> int:
    """Cancel certificate NUMBER at its holder's request, which is the evidence."""
    from ledger.certificate_bodies import Cancel

    filed = evidence_of(evidence, "holder_request")
    return send(Cancel(number, filed), f"cancellation of {number}", wait, timeout_s)


@cert.command("show")
@click.argument("number")
def show_certificate(number: str) -> None:
    """Show certificate NUMBER as the ledger holds it, and what the scheme keeps beside it."""
    found = settings().client().call("cert_get", number=number)
    show(found if settings().machine else shown_certificate(found))


@cert.command()
@click.argument("number")
@click.option("--limit", type=click.IntRange(1, 100), default=30, show_default=True, help="At most so many.")
@click.option("--cursor", help="Go on where an earlier answer ended.")
@click.option("--proof", "target", type=click.Path(path_type=Path), help="Write the proof of all that made it so.")
@click.option("--at", "moment", default="latest", help="With --proof: as of this time (RFC 3339) or height.")
@from_epoch_option
@witness_option
def history(
    number: str,
    limit: int,
    cursor: str | None,
    target: Path | None,
    moment: str,
    from_epoch: int,
    witnesses: tuple[str, ...],
) -> None:
    """Show the events about certificate NUMBER, rejected ones too, from its application on.

    With --proof: those that made it what it is, with the proof that none is left out.
    """
    if target is not None:
        from chainnode.cli.audit import place_of, written
        from chainnode.cli.certificate_proofs import history_pages

        pages = "".join(history_pages(number, place_of(moment), from_epoch, witnesses))
        written(pages, target, f"--certificate {quote(number)}", {"certificate": number})
        return
    if moment != "latest" or from_epoch or witnesses:
        raise UsageError(
            "options of a proof without one", expected="--proof FILE with --at, --from-epoch and --witness"
        )
    page = {} if cursor is None else {"cursor": cursor}
    found = settings().client().call("cert_history", number=number, limit=limit, **page)
    rows = [{**row, "applied": row["outcome"]["applied"]} for row in found["events"]]
    show_page(found, rows, ("time", "kind", "member", "applied", "height", "id"))


@cert.command()
@click.argument("number")
@click.option("--at", "moment", help="At this time (RFC 3339) or height. [default: now]")
@click.option("--proof", "target", type=click.Path(path_type=Path), help="Write the status proof to this file.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, 3600),
    default=PROVED_WITHIN_S,
    show_default=True,
    help="Seconds to wait for a checkpoint that proves it.",
)
@from_epoch_option
@witness_option
@click.option("--offline", "bundle_file", type=click.Path(path_type=Path), help="Ask this bundle and no node.")
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="With --offline: the trusted policy.")
@click.option("--fresh", metavar="TIME", help="With --offline: the oldest proof to rely on. [default: 24h]")
def status(
    number: str,
    moment: str | None,
    target: Path | None,
    timeout_s: float,
    from_epoch: int,
    witnesses: tuple[str, ...],
    bundle_file: Path | None,
    policy_file: Path | None,
    fresh: str | None,
) -> int:
    """Show what certificate NUMBER is worth, now or at a time or height. Status 6 where there is none.

    With --offline: by a bundle, without a network. Then status 0 says valid, 10 suspended, 11 revoked, 12 cancelled,
    13 expired, 14 not yet valid, 3 that the bundle does not hold or is stale.
    """
    if bundle_file is not None:
        if policy_file is None or target is not None or from_epoch or witnesses:
            raise UsageError("options of a bundle", expected="--offline BUNDLE --policy POLICY with --fresh and --at")
        return offline_status(number, bundle_file, policy_file, fresh, moment)
    if policy_file is not None or fresh is not None:
        raise UsageError("options of a bundle without one", expected="--offline BUNDLE with --policy and --fresh")
    params: dict[str, Any] = {"number": number, "from_epoch": from_epoch} | demanded(witnesses)
    if moment is not None:
        params["at"] = int(moment) if moment.isascii() and moment.isdigit() else moment
    if target is None:
        found = settings().client().call("cert_getStatus", **params)
    else:
        from chainnode.files import write_file

        found = proved_status(params, timeout_s)
        write_file(target, found["proof"].encode())
        at = f" --at {found['time']}" if "time" in found else ""
        command = f"chainnode verify {quote(str(target))} --policy POLICY --certificate {quote(number)}{at}"
        say(f"status proof written to {target}; verify it with `{command}`")
    show(found if settings().machine else {name: value for name, value in found.items() if name != "proof"})
    return 0 if found["exists"] else 6


cert.add_command(issue, "grant")
for command in (
    *certificate_decisions.COMMANDS,
    *certificate_lists.COMMANDS,
    *certificate_scheme.COMMANDS,
    deadlines,
    *certificate_scan.COMMANDS,
    certificate_inspections.inspection,
    bundle,
    credential,
    status_list,
    credential_key,
    import_,
    verify_evidence,
):
    cert.add_command(command)
