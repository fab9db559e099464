"""`audit`: answers about a member or a certificate with the proof that nothing is missing.

Here: fetching the pages of a proof and what they prove together. Not here: their verification (`ledger.completeness`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.audit_export import export
from chainnode.cli.audit_sql import sql
from chainnode.cli.audit_watch import watch
from chainnode.cli.certificate_proofs import history_pages
from chainnode.cli.context import settings
from chainnode.cli.entry import entry, verify_entry
from chainnode.cli.main import Group
from chainnode.cli.mirror import fork, mirror
from chainnode.cli.output import join, progress, say, show, show_verdict
from chainnode.cli.proofs import demanded, witness_option
from primitives.errors import InputError, ProofError, UsageError

if TYPE_CHECKING:
    from ledger.completeness import CompleteVerdict

HEADING = "c2sp.org/tlog-proof@v1\n"
PAGES_MAX = 100_000


@click.group(cls=Group)
def audit() -> None:
    """Holding the consortium to one history: proofs of completeness, mirrors of the log, forks, a daemon."""


audit.add_command(mirror)
audit.add_command(fork)
audit.add_command(watch)
audit.add_command(entry)
audit.add_command(verify_entry)
audit.add_command(export)
audit.add_command(sql)


@audit.command()
@click.option("--member", help="Whose events.")
@click.option("--certificate", "number", help="Or which certificate's history, as of --to.")
@click.option("--from", "start", default="earliest", show_default=True, help="First height, or a time (RFC 3339).")
@click.option("--to", "stop", default="latest", show_default=True, help="Last height, or a time.")
@click.option("-f", "--file", "target", type=click.Path(path_type=Path), help="Write the proof here. [default: stdout]")
@click.option("--from-epoch", type=click.IntRange(0), default=0, help="The epoch of the policy it is for.")
@witness_option
def completeness(
    member: str | None,
    number: str | None,
    start: str,
    stop: str,
    target: Path | None,
    from_epoch: int,
    witnesses: tuple[str, ...],
) -> None:
    """Fetch all that a member submitted in a range, with the proof that nothing is missing.

    `latest` is as far as a stable checkpoint reaches. Verify with `chainnode verify FILE --policy POLICY --member ID`.
    With --certificate instead of --member it is a certificate's whole history, for `verify` with --certificate.
    """
    if (member is None) == (number is None) or (number is not None and start != "earliest"):
        raise UsageError("whose events", expected="--member with --from and --to, or --certificate with --to")
    if member is not None:
        pages = "".join(_pages(member, place_of(start), place_of(stop), from_epoch, witnesses))
        whose = f"--member {quote(member)}"
    else:
        assert number is not None, "one of both is given"
        pages = "".join(history_pages(number, place_of(stop), from_epoch, witnesses))
        whose = f"--certificate {quote(number)}"
    written(pages, target, whose, {"member": member, "certificate": number})


def written(pages: str, target: Path | None, whose: str, row: dict[str, Any]) -> None:
    """Write the pages of a proof to a file, or to stdout, and say how to verify them."""
    if target is None:
        click.echo(pages, nl=False)
        return
    from chainnode.files import write_file

    write_file(target, pages.encode())
    say(f"proof written to {target}; verify it with `chainnode verify {quote(str(target))} --policy POLICY {whose}`")
    if settings().machine:
        show(
            {
                **{name: value for name, value in row.items() if value is not None},
                "file": str(target),
                "pages": pages.count(HEADING),
            }
        )


def place_of(text: str) -> int | str:
    """Return a height, or the word or time that stands for one."""
    return int(text) if text.isascii() and text.isdigit() else text


def _pages(member: str, start: int | str, stop: int | str, from_epoch: int, witnesses: Sequence[str]) -> Iterator[str]:
    """Yield the proofs of a range, page by page; the end of the range is that of the first answer."""
    client = settings().client()
    with progress(f"events of {member}", None) as bar:
        for _ in range(PAGES_MAX):
            params = {"member": member, "from": start, "to": stop, "from_epoch": from_epoch}
            params |= demanded(witnesses)
            page = client.call("audit_completeness", **params)
            yield str(page["proof"])
            if page["next"] is None:
                return
            start, stop = page["next"], page["covered"] if stop == "latest" else stop
            bar.advance()
    raise ProofError("more pages than a proof may have", expected=f"at most {PAGES_MAX}")


def completeness_row(text: str, policy: str, member: str | None) -> dict[str, Any]:
    """Return what the pages of a proof of completeness prove together; ProofError where they do not.

    Without a `member` they are of whichever one the first page is of.
    """
    from ledger.times import format_time

    verdicts = list(_verified(text, policy, member))
    member = verdicts[0].member
    first, last = verdicts[0], verdicts[-1]
    events = [event for verdict in verdicts for event in verdict.events]
    applied = sum(event.outcome.applied for event in events)
    until = None if last.until_ms is None else format_time(last.until_ms)
    heights = f"blocks {first.from_height} to {last.to_height}"
    return {
        "verified": True,
        "sentence": f"{member} submitted {len(events)} events in {heights}, {applied} of them applied, and no others",
        "member": member,
        "from_height": first.from_height,
        "to_height": last.to_height,
        "from": format_time(first.from_ms),
        "until": until,
        "events": len(events),
        "applied": applied,
        "batches": sum(verdict.batch_count for verdict in verdicts),
        "event_ids": [event.event_id.hex() for event in events],
        "chain_id": first.chain_id.hex(),
        "log_size": last.log_size,
        "cosigners": list(last.cosigners),
        "cosigned": {"by": len(last.cosigners), "of": last.witnesses, "epoch": last.epoch},
    }


def _verified(text: str, policy: str, member: str | None) -> Iterator[CompleteVerdict]:
    """Yield the verdict of each page; they must be of this member, of one log, and follow each other."""
    from ledger.completeness import verify_completeness
    from ledger.proof_kinds import pages_of

    pages = pages_of(text)
    expected: int | None = None
    origin = None
    with progress("verifying", len(pages)) as bar:
        for number, page in enumerate(pages, 1):
            try:
                verdict = verify_completeness(page, policy)
            except InputError as error:
                where = f"page {number}{': ' + error.where if error.where else ''}"
                raise ProofError(error.what, where=where, expected=error.expected, got=error.got) from None
            member = member or verdict.member
            if verdict.member != member:
                raise ProofError("proof of another member", where=f"page {number}", expected=member, got=verdict.member)
            if origin not in (None, verdict.origin) or expected not in (None, verdict.from_height):
                raise ProofError(
                    "pages do not follow each other",
                    where=f"page {number}",
                    expected=f"from height {expected} of {origin}",
                    got=f"from height {verdict.from_height} of {verdict.origin}",
                )
            expected, origin = verdict.to_height + 1, verdict.origin
            bar.advance()
            yield verdict


def told(row: dict[str, Any]) -> None:
    """Print what a proof of completeness proves."""
    if settings().machine:
        show(row)
        return
    cosigned = row["cosigned"]
    show_verdict(row["sentence"])
    click.echo(f"cosigned by {cosigned['by']} of {cosigned['of']}: {join(row['cosigners'])}")
    hidden = ("verified", "sentence", "cosigned", "cosigners", "event_ids")
    show({name: value for name, value in row.items() if name not in hidden})
