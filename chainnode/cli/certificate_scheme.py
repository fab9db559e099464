"""`chainnode cert surveil`, `apply-change`, `extend`, `reduce`, `reissue`, `appeal` and `decide-appeal`.

The part of a certificate's life that came with the third rules. Who may do what stands in the table of
docs/domain.md; a chain of earlier rules is told of before anything is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.certificate_events import (
    client_of,
    evidence_of,
    evidence_option,
    finding,
    new_serial,
    reason_option,
    scope_option,
    send,
    sending,
    serial_option,
    time_of,
)
from chainnode.cli.context import settings
from chainnode.cli.output import say, show
from chainnode.cli.submit import member_of_settings
from primitives.errors import UsageError

if TYPE_CHECKING:
    from ledger.certificate_bodies import SchemeBody


def _send(body: SchemeBody, what: str, wait: str, timeout_s: float) -> int:
    """Send an event of the scheme. Raises `UsageError` on a chain whose rules do not have its kind."""
    from chainnode.decisions import rules_of
    from ledger.rules import RULES_SCHEME

    client = client_of(timeout_s)
    rules = rules_of(client)
    if rules < RULES_SCHEME:
        raise UsageError(
            f"the chain's rules have no {what.partition(' ')[0]} yet",
            expected=f"rules {RULES_SCHEME}",
            got=rules,
            hint="the members vote for them with `chainnode rules propose`",
        )
    return send(body, what, wait, timeout_s, client)


@click.command()
@click.argument("number")
@finding
def surveil(
    number: str,
    passed: bool | None,
    grave: bool,
    findings: tuple[str, ...],
    correct_by: str | None,
    evidence: tuple[str, ...],
    wait: str,
    timeout_s: float,
) -> int:
    """Record surveillance of certificate NUMBER, as its certification body or an inspector."""
    from ledger.certificate_bodies import Surveil

    if passed is None:
        raise UsageError("what did the surveillance find?", expected="--passed or --failed")
    filed = evidence_of(evidence, "site_check")
    body = Surveil(number, passed, grave, findings, time_of(correct_by, "--correct-by"), filed)
    return _send(body, f"surveillance of {number}", wait, timeout_s)


@click.command("apply-change")
@click.argument("number")
@scope_option
@serial_option
@evidence_option
@sending
def apply_change(
    number: str, scope: tuple[str, ...], serial: str | None, evidence: tuple[str, ...], wait: str, timeout_s: float
) -> int:
    """Apply, as its holder, for a wider scope of certificate NUMBER: all entries of it, old and new, by --scope."""
    from ledger.certificate_bodies import ApplyChange

    if not scope:
        raise UsageError("which scope is asked for?", expected="--scope TEXT for each of its entries")
    application = f"{member_of_settings()}.{serial or new_serial()}"
    filed = evidence_of(evidence, "technical_documents")
    say(f"application {application}")
    return _send(ApplyChange(application, number, scope, filed), f"change of {number}", wait, timeout_s)


@click.command()
@click.argument("application")
@click.argument("number")
@sending
def extend(application: str, number: str, wait: str, timeout_s: float) -> int:
    """Give certificate NUMBER the scope that the reviewed APPLICATION for a change asks for, as the decider."""
    from ledger.certificate_bodies import Extend

    return _send(Extend(application, number), f"extension of {number}", wait, timeout_s)


@click.command()
@click.argument("number")
@reason_option
@click.option("--remove", "removes", multiple=True, metavar="TEXT", help="An entry that the scope loses. Repeatable.")
@evidence_option
@sending
def reduce(
    number: str, reason: str, removes: tuple[str, ...], evidence: tuple[str, ...], wait: str, timeout_s: float
) -> int:
    """Take entries off the scope of certificate NUMBER; the holder's request or a finding is the evidence."""
    from ledger.certificate_bodies import Reduce

    if not removes:
        raise UsageError("what does the scope lose?", expected="--remove TEXT for each entry")
    filed = evidence_of(evidence, "holder_request")
    return _send(Reduce(number, reason, removes, filed), f"reduction of {number}", wait, timeout_s)


@click.command()
@click.argument("number")
@reason_option
@evidence_option
@sending
def reissue(number: str, reason: str, evidence: tuple[str, ...], wait: str, timeout_s: float) -> int:
    """Issue the lost or damaged certificate NUMBER again, at its holder's request, which is the evidence."""
    from ledger.certificate_bodies import Reissue

    filed = evidence_of(evidence, "holder_request")
    return _send(Reissue(number, reason, filed), f"reissue of {number}", wait, timeout_s)


@click.command()
@click.argument("subject")
@reason_option
@evidence_option
@sending
def appeal(subject: str, reason: str, evidence: tuple[str, ...], wait: str, timeout_s: float) -> int:
    """Appeal, as the holder, against the newest decision on SUBJECT: a refused application, or a certificate."""
    from ledger.certificate_bodies import Appeal

    filed = evidence_of(evidence, "holder_request")
    return _send(Appeal(subject, reason, filed), f"appeal about {subject}", wait, timeout_s)


@click.command("decide-appeal")
@click.argument("subject")
@click.option("--upheld/--dismissed", default=None, help="Upheld returns to what was before the decision.")
@evidence_option
@sending
def decide_appeal(subject: str, upheld: bool | None, evidence: tuple[str, ...], wait: str, timeout_s: float) -> int:
    """Decide the appeal about SUBJECT, by a key that neither reviewed nor decided, or as the regulator."""
    from ledger.certificate_bodies import DecideAppeal

    if upheld is None:
        raise UsageError("how is the appeal decided?", expected="--upheld or --dismissed")
    filed = evidence_of(evidence, "review_report")
    return _send(DecideAppeal(subject, upheld, filed), f"decision on the appeal about {subject}", wait, timeout_s)


@click.command("application")
@click.argument("application")
def application_(application: str) -> None:
    """Show APPLICATION as the ledger holds it, also one for a change or a renewal."""
    found = settings().client().call("cert_getApplication", application=application)
    show(found if settings().machine else shown_application(found["application"]))


def shown_application(found: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Return what a person reads of an application."""
    product, history = found["product"], found["history"]
    return {
        **{name: value for name, value in found.items() if name not in ("product", "evidence", "history", "decision")},
        "product": f"{product['name']} {product['model']} {product['version']}",
        "evidence": [f"{item['kind']} by {item['member']}" for item in found["evidence"]],
        **decision_rows(found["decision"]),
        "events": history["count"],
        "changed": history["changed"],
    }


def shown_certificate(found: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Return what a person reads of a certificate: its record, and what the scheme keeps beside it."""
    record, scheme, status = found["certificate"], found["scheme"], found["status"]
    product, seen = record["product"], scheme["surveillance"]
    left_out = ("product", "evidence", "corrections", "history", "suspension", "revocation", "appeal_until")
    shown = {name: value for name, value in record.items() if name not in left_out}
    shown |= {
        "product": f"{product['name']} {product['model']} {product['version']}",
        "status": status["status"],
        "status_zh": status["status_zh"],
    }
    for name in ("suspension", "revocation"):
        shown |= {f"{name}.{key}": value for key, value in (record[name] or {}).items()}
    shown |= {"holder_id": scheme["holder_id"], "scope": scheme["scope"], "issues": scheme["issues"]}
    if seen is not None:
        keys = ("time", "member", "passed", "grave", "findings", "correct_by")
        shown |= {f"surveillance.{key}": seen[key] for key in keys}
    shown |= decision_rows(scheme["decision"])
    if (imported := found.get("imported")) is not None:
        shown["imported"] = f"row {imported['index']} of {imported['register']} at {imported['time']}"
    shown["evidence"] = [
        f"{item['kind']} by {item['member']}"
        for item in (*record["evidence"], *record["corrections"], *scheme["evidence"])
    ]
    return shown | {"events": record["history"]["count"], "changed": record["history"]["changed"]}


def decision_rows(decision: dict[str, Any] | None) -> dict[str, Any]:  # Any: JSON
    """Return what a person reads of a decision that is open to appeal."""
    keys = ("what", "member", "time", "appeal_until", "appealed")
    return {} if decision is None else {f"decision.{key}": decision[key] for key in keys}


COMMANDS = (surveil, apply_change, extend, reduce, reissue, appeal, decide_appeal, application_)
