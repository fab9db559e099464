"""`chainnode cert mark …`: the certification mark's licence, uses and reports of misuse.

Who may do what: docs/certification.md. Not here: drawing a mark, and judging one that somebody met
(`chainnode.cli.certificate_scan`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.certificate_events import client_of, digest_of, reason_option, send, sending, time_of
from chainnode.cli.context import settings
from chainnode.cli.main import Group
from chainnode.cli.output import join, show, show_page, show_rows
from chainnode.cli.submit import member_of_settings
from primitives.errors import UsageError

if TYPE_CHECKING:
    from ledger.mark_bodies import MarkBody, MarkDocument

MEDIA = ("product", "packaging", "manual", "app", "web", "promotion")
MISUSES = (
    "not_certified",
    "not_licensed",
    "not_in_force",
    "beyond_scope",
    "promotion",
    "altered",
    "forged_code",
)
FINDINGS = ("confirmed", "resolved", "dismissed")

number_argument = click.argument("number")


@click.group(cls=Group)
def mark() -> None:
    """The certification mark: license it, declare uses, report misuse; draw it."""


@mark.command("license")
@number_argument
@click.option("--medium", "media", type=click.Choice(MEDIA), multiple=True, help="Where it may stand. Repeatable.")
@click.option("--until", help="The licence's end, RFC 3339. [default: the certificate's]")
@click.option("--terms", type=click.Path(path_type=Path), required=True, help="The agreement; it stays here.")
@sending
def license_(number: str, media: tuple[str, ...], until: str | None, terms: Path, wait: str, timeout_s: float) -> int:
    """License the holder of certificate NUMBER to use the mark, as its certification body."""
    from ledger.mark_bodies import LicenseMark, Medium

    if not media:
        raise UsageError("where may the mark stand?", expected="--medium for each place")
    body = LicenseMark(number, tuple(map(Medium, media)), time_of(until, "--until"), _document(terms))
    return _send(body, f"licence of the mark of {number}", wait, timeout_s)


@mark.command()
@number_argument
@click.option("--medium", type=click.Choice(MEDIA), required=True, help="Where it stands.")
@click.option("--covers", multiple=True, metavar="TEXT", help="An entry of the scope that it speaks of. Repeatable.")
@click.option("--artwork", type=click.Path(path_type=Path), required=True, help="What it looks like; it stays here.")
@sending
def use(number: str, medium: str, covers: tuple[str, ...], artwork: Path, wait: str, timeout_s: float) -> int:
    """Declare a use of the mark of certificate NUMBER, as its holder."""
    from ledger.mark_bodies import Medium, UseMark

    body = UseMark(number, Medium(medium), covers, _document(artwork))
    return _send(body, f"use of the mark of {number}", wait, timeout_s)


@mark.command()
@click.option("--number", help="The certificate's number that the mark names.")
@click.option("--holder", help="Or the member that uses it.")
@click.option("--product", help="Or the product on which it is.")
@click.option("--medium", type=click.Choice(MEDIA), required=True, help="Where it stands.")
@click.option("--misuse", type=click.Choice(MISUSES), required=True, help="What is wrong with it.")
@click.option(
    "--evidence",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="A picture or document; it stays here. Repeatable.",
)
@sending
def report(
    number: str | None,
    holder: str | None,
    product: str | None,
    medium: str,
    misuse: str,
    evidence: tuple[Path, ...],
    wait: str,
    timeout_s: float,
) -> int:
    """Report a misuse of the mark, as a bank, certification body, auditor or the regulator."""
    from ledger.mark_bodies import Medium, Misuse, ReportMisuse

    filed = tuple(_document(path) for path in evidence)
    body = ReportMisuse(number, holder, product, Medium(medium), Misuse(misuse), filed)
    return _send(body, f"report of misuse of {number or holder or product}", wait, timeout_s)


@mark.command()
@click.argument("report", type=click.IntRange(1))
@click.option("--finding", type=click.Choice(FINDINGS), required=True, help="What it was.")
@reason_option
@click.option("--evidence", type=click.Path(path_type=Path), multiple=True, help="A document; it stays here.")
@sending
def decide(report: int, finding: str, reason: str, evidence: tuple[Path, ...], wait: str, timeout_s: float) -> int:
    """Decide on REPORT of misuse, as the body in charge or the regulator, by a key that did not report."""
    from ledger.mark_bodies import DecideMisuse, MisuseFinding

    body = DecideMisuse(report, MisuseFinding(finding), reason, tuple(_document(path) for path in evidence))
    return _send(body, f"finding on report {report}", wait, timeout_s)


@mark.command()
@number_argument
@reason_option
@click.option("--report", type=click.IntRange(1), help="The confirmed report of misuse that it acts on.")
@sending
def withdraw(number: str, reason: str, report: int | None, wait: str, timeout_s: float) -> int:
    """Withdraw the licence of the mark of certificate NUMBER, as its certification body."""
    from ledger.mark_bodies import WithdrawMark

    return _send(WithdrawMark(number, reason, report), f"withdrawal of the mark of {number}", wait, timeout_s)


@mark.command("show")
@number_argument
def show_mark(number: str) -> None:
    """Show the mark of certificate NUMBER: its licence, what it is worth now, and the uses declared."""
    found = settings().client().call("cert_getMark", number=number)
    if settings().machine:
        show(found)
        return
    licence, uses = found["license"], found["uses"]
    rows = {name: found[name] for name in ("number", "standing", "mark_use", "mark", "time", "height")}
    if licence is not None:
        rows |= {name: licence[name] for name in ("count", "body", "start", "until")}
        rows |= {"media": join(licence["media"]), "terms": licence["terms"]["digest"], "uses": len(uses)}
        if licence["withdrawn"] is not None:
            rows |= {"withdrawn": licence["withdrawn"]["time"], "reason": licence["withdrawn"]["reason"]}
    show(rows)
    if uses:
        shown = [use | {"covers": join(use["covers"]), "artwork": use["artwork"]["digest"]} for use in uses]
        show_rows(shown, columns=("time", "medium", "covers", "artwork"))


@mark.command("events")
@number_argument
@click.option("--limit", type=click.IntRange(1, 100), default=30, show_default=True, help="The most to show.")
@click.option("--order", type=click.Choice(["asc", "desc"]), help="By the log. [default: asc]")
@click.option("--cursor", help="Where the page before ended.")
def mark_events(number: str, limit: int, order: str | None, cursor: str | None) -> None:
    """Show the events about the mark of certificate NUMBER: licences, uses, reports of misuse, findings."""
    given = {name: value for name, value in (("order", order), ("cursor", cursor)) if value is not None}
    found = settings().client().call("cert_markEvents", number=number, limit=limit, **given)
    rows = [event | {"applied": event["outcome"]["applied"]} for event in found["events"]]
    show_page(found, rows, ("time", "kind", "member", "applied", "height", "id"))


@mark.command()
@click.argument("report", type=click.IntRange(1))
def misuse(report: int) -> None:
    """Show REPORT of misuse; `cert mark reports` lists them."""
    show(settings().client().call("cert_getMisuse", report=report)["misuse"])


@mark.command()
@click.option("--number", help="About the mark of this certificate.")
@click.option("--member", help="By or about this member, or about a certificate that it holds.")
@click.option("--state", type=click.Choice(("undecided", *FINDINGS)), help="Undecided, or as it was found.")
@click.option("--limit", type=click.IntRange(1, 100), default=30, show_default=True, help="The most to show.")
@click.option("--order", type=click.Choice(["asc", "desc"]), help="By the report's number. [default: desc]")
@click.option("--cursor", help="Where the page before ended.")
def reports(**options: Any) -> None:  # Any: what click parsed
    """List reports of misuse that fit all of the filters, the newest first."""
    found = settings().client().call("cert_listMisuse", **{k: v for k, v in options.items() if v is not None})
    rows = [row | {"about": row["number"] or row["holder"] or row["product"]} for row in found["reports"]]
    show_page(found, rows, ("report", "about", "medium", "misuse", "reporter", "state", "time"))


def _document(path: Path) -> MarkDocument:
    from ledger.mark_bodies import MarkDocument

    digest, size = digest_of(path)
    return MarkDocument(digest, member_of_settings(), size)


def _send(body: MarkBody, said: str, wait: str, timeout_s: float) -> int:
    """Send an event about the mark. Raises `UsageError` on a chain whose rules do not have its kind."""
    from chainnode.decisions import rules_of
    from ledger.mark_bodies import check_mark_body
    from ledger.rules import RULES_SCHEME

    check_mark_body(body)
    client: Any = client_of(timeout_s)
    rules = rules_of(client)
    if rules < RULES_SCHEME:
        raise UsageError(
            "the chain's rules have no certification mark yet", expected=f"rules {RULES_SCHEME}", got=rules
        )
    return send(body, said, wait, timeout_s, client)
