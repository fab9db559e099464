"""`chainnode cert`: a certificate's life, one command for each of its events, and reading it.

Who acts is who signs: `--as KEYFILE` for laboratories, inspectors, the certification body and the regulator; a bank may
also act through its own node with --home.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.certificate_credentials import credential, credential_key, status_list
from chainnode.cli.certificate_interop import bundle, offline_status
from chainnode.cli.certificate_proofs import PROVED_WITHIN_S, proved_status
from chainnode.cli.context import settings
from chainnode.cli.main import Group
from chainnode.cli.output import records, say, show, show_page
from chainnode.cli.proofs import demanded, witness_option
from chainnode.cli.submit import member_of_settings, open_door, send_all, timeout_option, wait_option
from primitives.errors import InputError, UsageError

if TYPE_CHECKING:
    from ledger.certificate_bodies import Body, Evidence, Product

evidence_option = click.option(
    "--evidence",
    "evidence",
    multiple=True,
    metavar="KIND=FILE",
    help="A document, by its kind: its SHA-256 and size are filed, the document stays here. Repeatable.",
)
from_epoch_option = click.option(
    "--from-epoch", type=click.IntRange(0), default=0, help="The epoch of the policy that a proof is for."
)
reason_option = click.option("--reason", required=True, help="A word such as security_flaw; no free text.")


@click.group(cls=Group)
def cert() -> None:
    """Certificates: apply, examine, decide, suspend, revoke; show and prove."""


def _evidence(items: tuple[str, ...], default: str) -> tuple[Evidence, ...]:
    """Return the evidence of options `KIND=FILE` or `FILE`, which is of the default kind."""
    from ledger.catalogue import EvidenceKind
    from ledger.certificate_bodies import Evidence

    member = member_of_settings()
    found = []
    for item in items:
        kind, named, name = item.partition("=")
        if not named:
            kind, name = default, item
        if kind not in set(EvidenceKind):
            raise UsageError("unknown kind of evidence", where=item, expected=" or ".join(EvidenceKind), got=kind)
        digest, size = _digest(Path(name))
        found.append(Evidence(EvidenceKind(kind), digest, member, size))
    return tuple(found)


def _digest(path: Path) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        size = path.stat().st_size
    except OSError as error:
        raise InputError("document cannot be read", where=str(path), got=error.strerror or error) from None
    if not size:
        raise InputError("document is empty", where=str(path))
    return digest, size


def _time(text: str | None, name: str) -> int | None:
    from ledger.times import parse_time

    return None if text is None else int(parse_time(text, where=name))


def _send(body: Body, what: str, wait: str, timeout_s: float) -> int:
    """Submit one event of a certificate's life; status 1 unless it was applied."""
    from chainnode.submission import NewEvent
    from ledger.certificates import ROWS, SCHEMA
    from primitives.encoding import decode, encode
    from primitives.errors import EncodingError

    data = encode(body)
    try:
        decode(type(body), data, size_max=len(data))
    except EncodingError as error:
        raise UsageError(f"{what} cannot be sent so", got=error.got) from None
    client = settings().client(timeout_s=timeout_s, token=True)
    # Chosen here, so that a call that is sent twice is one event.
    event = NewEvent(ROWS[type(body)].kind, SCHEMA, data, what, reference=secrets.token_bytes(16))
    with records(None) as out, open_door(client) as door:
        return send_all(client, door, [event], out, wait=wait, timeout_s=timeout_s)


def _product(name: str, model: str, version: str) -> Product:
    from ledger.certificate_bodies import Product

    return Product(name, model, version)


def _serial() -> str:
    return secrets.token_hex(4).upper()


@cert.command("apply")
@click.option("--product", required=True, help="Name of the product.")
@click.option("--model", required=True, help="Its model.")
@click.option("--version", required=True, help="Its version.")
@click.option("--category", type=int, required=True, help="Number of its category in the catalogue.")
@click.option("--holder-name", required=True, help="The organisation that would hold the certificate.")
@click.option("--serial", help="Last part of the application's id. [default: random]")
@evidence_option
@wait_option
@timeout_option
def apply_(
    product: str,
    model: str,
    version: str,
    category: int,
    holder_name: str,
    serial: str | None,
    evidence: tuple[str, ...],
    wait: str,
    timeout_s: float,
) -> int:
    """Apply for a product's certificate; FILEs of --evidence are technical documents."""
    from ledger.certificate_bodies import Apply

    application = f"{member_of_settings()}.{serial or _serial()}"
    filed = _evidence(evidence, "technical_documents")
    say(f"application {application}")
    unit = _product(product, model, version)
    return _send(Apply(application, holder_name, unit, category, filed), f"application {application}", wait, timeout_s)


@cert.command()
@click.argument("application")
@wait_option
@timeout_option
def accept(application: str, wait: str, timeout_s: float) -> int:
    """Accept APPLICATION, as the certification body that becomes responsible for it."""
    from ledger.certificate_bodies import Accept

    return _send(Accept(application), f"accepting {application}", wait, timeout_s)


@cert.command()
@click.argument("application")
@click.option("--type-test", "kind", flag_value="type_test", help="A laboratory's finding on the type.")
@click.option("--site-check", "kind", flag_value="site_check", help="An inspector's finding on the site.")
@click.option("--failed", is_flag=True, help="The finding is negative.")
@evidence_option
@wait_option
@timeout_option
def evidence(
    application: str, kind: str | None, failed: bool, evidence: tuple[str, ...], wait: str, timeout_s: float
) -> int:
    """File the finding on APPLICATION: by default what the key's role suggests."""
    from ledger.certificate_bodies import SiteCheck, TypeTest

    if kind is None:
        role = settings().require_key().role if settings().as_key is not None else ""
        kind = {"laboratory": "type_test", "inspector": "site_check"}.get(role)
    if kind == "type_test":
        filed = _evidence(evidence, "type_examination")
        return _send(TypeTest(application, not failed, filed), f"type test of {application}", wait, timeout_s)
    if kind == "site_check":
        filed = _evidence(evidence, "site_check")
        return _send(SiteCheck(application, not failed, filed), f"site check of {application}", wait, timeout_s)
    raise UsageError("which finding is it?", expected="--type-test or --site-check")


@cert.command()
@click.argument("application")
@evidence_option
@wait_option
@timeout_option
def review(application: str, evidence: tuple[str, ...], wait: str, timeout_s: float) -> int:
    """Say that APPLICATION was reviewed, as the certification body's reviewer."""
    from ledger.certificate_bodies import Review

    filed = _evidence(evidence, "review_report")
    return _send(Review(application, filed), f"review of {application}", wait, timeout_s)


@cert.command()
@click.argument("application")
@click.option("--number", required=True, help="The certificate's number, such as FTP-2026-06-000123.")
@click.option("--from", "valid_from", help="Start of its validity, RFC 3339. [default: now]")
@click.option("--until", "valid_until", help="Its end, RFC 3339. [default: the longest permitted]")
@click.option("--months", type=int, help="Or its length in calendar months.")
@wait_option
@timeout_option
def issue(
    application: str,
    number: str,
    valid_from: str | None,
    valid_until: str | None,
    months: int | None,
    wait: str,
    timeout_s: float,
) -> int:
    """Grant the certificate of APPLICATION, as the decider (another key than the reviewer's)."""
    from ledger.certificate_bodies import Grant

    start, end = _time(valid_from, "--from"), _time(valid_until, "--until")
    return _send(Grant(application, number, start, end, months), f"certificate {number}", wait, timeout_s)


cert.add_command(issue, "grant")


@cert.command()
@click.argument("application")
@reason_option
@wait_option
@timeout_option
def refuse(application: str, reason: str, wait: str, timeout_s: float) -> int:
    """Refuse APPLICATION, as the decider."""
    from ledger.certificate_bodies import Refuse

    return _send(Refuse(application, reason), f"refusing {application}", wait, timeout_s)


@cert.command()
@click.argument("number")
@click.option("--serial", help="Last part of the new application's id. [default: random]")
@evidence_option
@wait_option
@timeout_option
def renew(number: str, serial: str | None, evidence: tuple[str, ...], wait: str, timeout_s: float) -> int:
    """Apply for the successor of certificate NUMBER, as its holder."""
    from ledger.certificate_bodies import Renew

    application = f"{member_of_settings()}.{serial or _serial()}"
    filed = _evidence(evidence, "technical_documents")
    say(f"application {application}")
    return _send(Renew(application, number, filed), f"renewal of {number}", wait, timeout_s)


@cert.command()
@click.argument("number")
@reason_option
@click.option("--days", type=int, help="For so many days. [default: the longest permitted]")
@click.option("--until", help="Or until a time, RFC 3339.")
@wait_option
@timeout_option
def suspend(number: str, reason: str, days: int | None, until: str | None, wait: str, timeout_s: float) -> int:
    """Suspend certificate NUMBER."""
    from ledger.certificate_bodies import Suspend

    body = Suspend(number, reason, _time(until, "--until"), days)
    return _send(body, f"suspension of {number}", wait, timeout_s)


@cert.command()
@click.argument("number")
@evidence_option
@wait_option
@timeout_option
def restore(number: str, evidence: tuple[str, ...], wait: str, timeout_s: float) -> int:
    """End the suspension of certificate NUMBER, with evidence of what was corrected."""
    from ledger.certificate_bodies import Restore

    filed = _evidence(evidence, "corrective_action")
    return _send(Restore(number, filed), f"restoring of {number}", wait, timeout_s)


@cert.command()
@click.argument("number")
@reason_option
@click.option("--invalid-from", help="It counts as invalid from an earlier time, RFC 3339. [default: now]")
@wait_option
@timeout_option
def revoke(number: str, reason: str, invalid_from: str | None, wait: str, timeout_s: float) -> int:
    """Revoke certificate NUMBER, as its certification body or the regulator."""
    from ledger.certificate_bodies import Revoke

    body = Revoke(number, reason, _time(invalid_from, "--invalid-from"))
    return _send(body, f"revocation of {number}", wait, timeout_s)


@cert.command()
@click.argument("number")
@evidence_option
@wait_option
@timeout_option
def cancel(number: str, evidence: tuple[str, ...], wait: str, timeout_s: float) -> int:
    """Cancel certificate NUMBER at its holder's request, which is the evidence."""
    from ledger.certificate_bodies import Cancel

    filed = _evidence(evidence, "holder_request")
    return _send(Cancel(number, filed), f"cancellation of {number}", wait, timeout_s)


@cert.command("show")
@click.argument("number")
def show_certificate(number: str) -> None:
    """Show certificate NUMBER as the ledger holds it."""
    show(settings().client().call("cert_get", number=number))


@cert.command("list")
@click.option("--holder", help="Those of this member.")
@click.option("--order", type=click.Choice(["asc", "desc"]), default="asc", show_default=True, help="By number.")
@click.option("--limit", type=click.IntRange(1, 100), default=30, show_default=True, help="At most so many.")
@click.option("--cursor", help="Go on where an earlier answer ended.")
def list_(holder: str | None, order: str, limit: int, cursor: str | None) -> None:
    """List certificates by number."""
    filters = {name: value for name, value in (("holder", holder), ("cursor", cursor)) if value is not None}
    found = settings().client().call("cert_list", limit=limit, order=order, **filters)
    rows = [
        {**row, "status": row["status"]["status"], "product": row["product"]["name"]} for row in found["certificates"]
    ]
    show_page(found, rows, ("number", "holder", "category", "product", "status", "valid_until"))


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


for command in (bundle, credential, status_list, credential_key):
    cert.add_command(command)
